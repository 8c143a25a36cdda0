//! A subscriber for shells and desktops: prints the events that it subscribed to, runs a program for them, or shows them
//! as desktop notifications.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use argh::{ArgsInfo, FromArgs};
use log::{error, warn};
#[cfg(unix)]
use resq::base::readiness::{State, Supervisor};
use resq::{
    base::backoff::Backoff,
    cli::{self, Exit, Failure, Output, Program},
    client::{Consumer, Delivery, Event, Gap, Peer, Start, Subscriber, Subscription},
    config::Config,
    output::{exec, line},
    wire::MAX_UNACKED,
};

const PROGRAM: Program = Program {
    name: "resq-client",
    takes: &["client", "broker.token"],
    handles_signals: false,
    commit: option_env!("RESQ_COMMIT"),
};

/// Subscribe to events of resqd and print them, one per line.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    note = "A lost connection is made again, and no durable event is missed. Only the first connection must succeed.",
    error_code(0, "--count events arrived, or the reader of standard output went away"),
    error_code(1, "failed"),
    error_code(2, "wrong usage or settings, or a state that resqd does not allow"),
    error_code(3, "cannot reach resqd, or it refused the login"),
    error_code(4, "--timeout expired")
)]
struct Args {
    /// states to subscribe to, as one or more words; a * at the end matches any rest
    #[argh(option, arg_name = "STATE")]
    sub: Vec<String>,
    /// begin after this number of the event log, at a time (2026-11-25T10:00:00Z) or an age ago (2h), instead of with the
    /// next event
    #[argh(option, arg_name = "WHEN", default = "Start::Now", from_str_fn(cli::since))]
    since: Start,
    /// durable events from a position that the server keeps under this name; --since counts only the first time
    #[argh(option, arg_name = "NAME")]
    consumer: Option<String>,
    /// how many events the consumer may be sent ahead of what is done (default 1000)
    #[argh(option, arg_name = "N", default = "1_000", from_str_fn(window))]
    max_unacked: u16,
    /// what a consumer does when --exec fails: retry with growing pauses (the default), or skip the event
    #[argh(option, arg_name = "WHAT", default = "OnFailure::Retry", from_str_fn(on_failure))]
    on_failure: OnFailure,
    /// durable events only: those written by a committed transaction
    #[argh(switch)]
    durable: bool,
    /// exit after this many events
    #[argh(option, arg_name = "N")]
    count: Option<NonZeroU64>,
    /// exit after this many seconds
    #[argh(option, arg_name = "S", from_str_fn(seconds))]
    timeout: Option<Duration>,
    /// print each event as one line of JSON
    #[argh(switch)]
    json: bool,
    /// also show each event as a desktop notification
    #[argh(switch)]
    toast: bool,
    /// run this program for each durable event, one at a time
    #[argh(option, arg_name = "PROGRAM")]
    exec: Option<PathBuf>,
    /// name of this client in the log of resqd
    #[argh(option, arg_name = "NAME", default = "PROGRAM.name.into()")]
    name: String,
}

fn main() -> ExitCode {
    cli::run(&PROGRAM, listen)
}

/// What a consumer does when the program fails.
#[derive(Clone, Copy, PartialEq)]
enum OnFailure {
    Retry,
    Skip,
}

/// How long resqd may take to take the last acknowledgement.
const FINISH: Duration = Duration::from_secs(10);

fn window(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_UNACKED).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_UNACKED}"))
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "retry" => Ok(OnFailure::Retry),
        "skip" => Ok(OnFailure::Skip),
        _ => Err("expected retry or skip".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected a number of seconds, not below 0".into())
}

fn listen(args: Args, config: Config, out: &mut Output) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(Exit::Usage, message));
    if args.sub.is_empty() {
        return wrong("missing option: --sub STATE…; --sub '*' subscribes to every state".into());
    }
    if let Some(path) = args.exec.as_deref().filter(|path| path.components().count() > 1 && !path.is_file()) {
        return wrong(format!("--exec {}: this program does not exist", path.display()));
    }
    #[cfg(not(feature = "toast"))]
    if args.toast {
        return wrong(
            "--toast: this resq-client was built without desktop notifications (make build FEATURES=toast)".into(),
        );
    }
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if args.consumer.is_none() && args.on_failure == OnFailure::Skip {
        return wrong("--on-failure needs --consumer".into());
    }
    let consumer = args.consumer.map(|name| Consumer { name, max_unacked: args.max_unacked });
    let is_consumer = consumer.is_some();
    let since = match args.since {
        // The oldest event there is, without a warning of those that are not kept.
        Start::After(0) if is_consumer => Start::Beginning,
        since => since,
    };
    let subscription = Subscription { states: args.sub, since, durable_only: args.durable, consumer };
    let peer = Peer::from_config(&config, args.name);
    let mut subscriber = Subscriber::connect_deadline(peer, subscription, deadline)?;
    #[cfg(unix)]
    Supervisor::from_env().notify(State::Ready(&[], &[]));
    #[cfg(feature = "toast")]
    let mut toast = args.toast.then(resq::output::toast::Toast::default);
    let mut events = 0;
    while args.count.is_none_or(|count| events < count.get()) {
        let event = match subscriber.recv_deadline(deadline)? {
            Some(Delivery::Event(event)) => event,
            Some(Delivery::Gap(gap)) => {
                report(gap);
                continue;
            }
            Some(Delivery::OtherLog) => {
                warn!(
                    "subscription: resqd has a different event log than before; reading the new one from its beginning"
                );
                continue;
            }
            None => return Err(Failure::new(Exit::TimedOut, format!("--timeout expired after {events} events"))),
        };
        out.line(if args.json { line::json(&event) } else { line::human(&event) });
        out.flush();
        if !out.is_open() {
            return Ok(());
        }
        #[cfg(feature = "toast")]
        if let Some(toast) = &mut toast {
            toast.show(&event);
        }
        let is_done = match args.exec.as_deref().filter(|_| event.seq > 0) {
            Some(program) if is_consumer && args.on_failure == OnFailure::Retry => {
                run_until_done(program, &event, &mut subscriber, deadline)?
            }
            Some(program) => {
                run(program, &event, &mut subscriber);
                true
            }
            None => true,
        };
        // Else it is delivered again.
        events += u64::from(is_done);
        if is_consumer && is_done {
            subscriber.acknowledge(event.seq);
            if args.exec.is_some() {
                // The next event may take long.
                subscriber.send_acknowledgement();
            }
        }
    }
    if is_consumer && !subscriber.finish(FINISH) {
        warn!("consumer: resqd may not have taken the last acknowledgement; the last events may be delivered again");
    }
    Ok(())
}

/// Whether the program ended well.
fn run(program: &Path, event: &Event, subscriber: &mut Subscriber) -> bool {
    let interval = subscriber.keep_alive_interval();
    let ran = exec::run(program, event, interval, || subscriber.keep_alive());
    if let Err(message) = &ran {
        error!("{message}");
    }
    ran.is_ok()
}

/// Runs the program until it ends well. False: the connection was lost meanwhile, and the event will be delivered again.
fn run_until_done(
    program: &Path,
    event: &Event,
    subscriber: &mut Subscriber,
    deadline: Option<Instant>,
) -> Result<bool, Failure> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60), 0.5);
    while !run(program, event, subscriber) {
        let again_at = Instant::now() + backoff.next(fastrand::f64());
        while Instant::now() < again_at {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("--timeout expired before event {} was done", event.seq),
                ));
            }
            let left = deadline.map_or(again_at, |deadline| deadline.min(again_at)) - Instant::now();
            std::thread::sleep(left.min(subscriber.keep_alive_interval()));
            subscriber.keep_alive();
            if !subscriber.is_connected() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A gap is a warning: the stream continues without these events.
fn report(gap: Gap) {
    match gap {
        Gap::Pruned(first) => {
            warn!("gap: the events before #{first} were deleted (events.retention_days); continuing with #{first}")
        }
        Gap::Dropped(n) => {
            warn!("gap: dropped {n} ephemeral events, because they were not read fast enough; continuing")
        }
        Gap::BeyondHead(head) => {
            warn!("gap: the event log ends at #{head}, before the number to begin after; continuing from its end")
        }
    }
}

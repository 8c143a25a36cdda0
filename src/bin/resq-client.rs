//! A subscriber for shells and desktops: prints the events that it subscribed to, runs a program for them, or shows them
//! as desktop notifications.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use argh::{ArgsInfo, FromArgs};
use log::{error, warn};
#[cfg(unix)]
use resq::base::readiness::{State, Supervisor};
use resq::{
    cli::{self, Exit, Failure, Output, Program},
    client::{Delivery, Gap, Peer, Subscriber, Subscription},
    config::Config,
    output::{exec, line},
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
    /// begin after this number of the event log, instead of with the next event
    #[argh(option, arg_name = "SEQ")]
    since: Option<u64>,
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
    let subscription = Subscription { states: args.sub, since: args.since, durable_only: args.durable };
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
        events += 1;
        out.line(if args.json { line::json(&event) } else { line::human(&event) });
        out.flush();
        if !out.is_open() {
            return Ok(());
        }
        #[cfg(feature = "toast")]
        if let Some(toast) = &mut toast {
            toast.show(&event);
        }
        if let Some(program) = args.exec.as_deref().filter(|_| event.seq > 0) {
            let interval = subscriber.keep_alive_interval();
            if let Err(message) = exec::run(program, &event, interval, || subscriber.keep_alive()) {
                error!("{message}");
            }
        }
    }
    Ok(())
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

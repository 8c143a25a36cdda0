//! A subscriber for shells and desktops: prints, pipes or pops up the events it asked for.

use std::{
    io::{self, Write},
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
    cli::{self, Exit, Failure, Program},
    client::{Delivery, Event, Gap, Peer, Subscriber, Subscription},
    config::Config,
    output::{exec, line},
};

const PROGRAM: Program = Program { name: "resq-client", takes: &["client", "broker.token"] };

/// Print the events of resqd that have one of these states, one a line.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    note = "It connects again by itself and misses no durable event; only the first connection must succeed.",
    error_code(0, "--count was reached, or the reader of standard output went away"),
    error_code(1, "failed"),
    error_code(2, "wrong usage or settings, or a state that resqd does not have"),
    error_code(3, "cannot reach resqd or log in to it"),
    error_code(4, "--timeout has passed")
)]
struct Args {
    /// states, or beginnings with * at their end; several may follow
    #[argh(option, arg_name = "STATE")]
    sub: Vec<String>,
    /// begin after this number of the log, instead of now
    #[argh(option, arg_name = "SEQ")]
    since: Option<u64>,
    /// durable events alone: those that a committed transaction made
    #[argh(switch)]
    durable: bool,
    /// end after so many events
    #[argh(option, arg_name = "N")]
    count: Option<NonZeroU64>,
    /// end after so many seconds, whatever came
    #[argh(option, arg_name = "S", from_str_fn(seconds))]
    timeout: Option<Duration>,
    /// print lines of JSON
    #[argh(switch)]
    json: bool,
    /// show desktop notifications too
    #[argh(switch)]
    toast: bool,
    /// run this program for each durable event, one after the other
    #[argh(option, arg_name = "PROGRAM")]
    exec: Option<PathBuf>,
    /// the name that resqd logs
    #[argh(option, arg_name = "NAME", default = "PROGRAM.name.into()")]
    name: String,
}

fn main() -> ExitCode {
    cli::run(&PROGRAM, listen)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "it takes a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it takes a number of seconds, not below 0".into())
}

fn listen(args: Args, config: Config) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(Exit::Usage, message));
    if args.sub.is_empty() {
        return wrong("--sub STATE… is missing; --sub '*' is every state".into());
    }
    if let Some(path) = args.exec.as_deref().filter(|path| path.components().count() > 1 && !path.is_file()) {
        return wrong(format!("--exec {}: there is no such program", path.display()));
    }
    #[cfg(not(feature = "toast"))]
    if args.toast {
        return wrong("--toast: this resq-client was built without desktop notifications".into());
    }
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let subscription = Subscription { states: args.sub, since: args.since, durable_only: args.durable };
    let peer = Peer::from_config(&config, args.name);
    let mut subscriber = Subscriber::connect_deadline(peer, subscription, deadline)?;
    #[cfg(unix)]
    Supervisor::from_env().notify(State::Ready(&[]));
    #[cfg(feature = "toast")]
    let mut toast = args.toast.then(resq::output::toast::Toast::default);
    let mut events = 0;
    while args.count.is_none_or(|count| events < count.get()) {
        let event = match subscriber.recv_deadline(deadline)? {
            Some(Delivery::Event(event)) => event,
            Some(Delivery::Gap(gap)) => {
                tell(gap);
                continue;
            }
            Some(Delivery::OtherLog) => {
                warn!("resqd has another event log than before: reading it from its beginning");
                continue;
            }
            None => return Err(Failure::new(Exit::TimedOut, format!("time is up; {events} events came"))),
        };
        events += 1;
        match print(&event, args.json) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            printed => {
                printed.map_err(|e| Failure::new(Exit::Failed, format!("cannot write to standard output ({e})")))?
            }
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

/// One line, in one write where it fits, and at once.
fn print(event: &Event, json: bool) -> io::Result<()> {
    let line = if json { line::json(event) } else { line::human(event) };
    let mut stdout = io::stdout().lock();
    stdout.write_all((line + "\n").as_bytes())?;
    stdout.flush()
}

fn tell(gap: Gap) {
    match gap {
        Gap::Pruned(first) => warn!("gap: all events before #{first} are gone from the log (events.retention_days)"),
        Gap::Dropped(n) => warn!("gap: {n} ephemeral events were dropped, because they were not read fast enough"),
        Gap::BeyondHead(head) => {
            warn!("gap: the log ends at #{head}, before the number to begin after; going on from its end")
        }
    }
}

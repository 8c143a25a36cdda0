//! A publisher for shells: publishes one ephemeral event, or one per line of standard input.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{io, process::ExitCode, time::Duration};

use argh::{ArgsInfo, FromArgs};
use resq::{
    cli::{self, Exit, Failure, Output, Program},
    client::{Error, Lines, Peer, Publisher},
    config::Config,
    wire::State,
};

const PROGRAM: Program = Program {
    name: "resq-trigger",
    takes: &["client", "broker.token"],
    handles_signals: false,
    commit: option_env!("RESQ_COMMIT"),
};

/// How long to wait for resqd to confirm that it has received everything.
const CONFIRM: Duration = Duration::from_secs(30);

/// Publish an ephemeral event to the subscribers of resqd. Without --state, publish one event per line of standard
/// input, written as STATE PAYLOAD.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    error_code(0, "resqd confirmed every event"),
    error_code(1, "failed"),
    error_code(2, "wrong usage or settings, or a state that resqd does not allow"),
    error_code(3, "cannot reach resqd, it refused the login, or the connection broke"),
    error_code(4, "resqd did not confirm within 30 s")
)]
struct Args {
    /// name of this client in the log of resqd
    #[argh(option, arg_name = "NAME")]
    name: String,
    /// state of the event
    #[argh(option, arg_name = "STATE")]
    state: Option<String>,
    /// payload of the event
    #[argh(option, arg_name = "PAYLOAD")]
    payload: Option<String>,
}

fn main() -> ExitCode {
    cli::run(&PROGRAM, publish)
}

fn publish(args: Args, config: Config, _: &mut Output) -> Result<(), Failure> {
    let peer = Peer::from_config(&config, args.name);
    match (args.state, args.payload) {
        (Some(state), Some(payload)) => {
            State::new(&state).map_err(Error::Invalid)?;
            let mut publisher = Publisher::connect(&peer)?;
            publisher.publish(&state, payload.as_bytes())?;
            Ok(publisher.confirm(CONFIRM)?)
        }
        (None, None) => publish_lines(Publisher::connect(&peer)?),
        _ => Err(Failure::new(
            Exit::Usage,
            "--state needs --payload and the other way round; without both, events are read from standard input"
                .to_string(),
        )),
    }
}

/// Publishes line after line, and flushes whenever no further line is waiting. An invalid line ends it; the lines before
/// that are published.
fn publish_lines(mut publisher: Publisher) -> Result<(), Failure> {
    let mut lines = Lines::new(io::stdin());
    let mut sent: u64 = 0;
    loop {
        match lines.read() {
            Ok(Some(line)) => {
                publisher.publish(&line.state, &line.payload)?;
                sent += 1;
                if !lines.has_more() {
                    publisher.flush()?;
                }
            }
            Ok(None) => return Ok(publisher.confirm(CONFIRM)?),
            Err(message) => {
                publisher.confirm(CONFIRM)?;
                return Err(Failure::new(Exit::Failed, format!("{message}; published before it: {sent}")));
            }
        }
    }
}

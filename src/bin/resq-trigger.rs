//! A publisher for shells: one ephemeral event, or one a line of standard input.

use std::{io, process::ExitCode, time::Duration};

use argh::{ArgsInfo, FromArgs};
use resq::{
    cli::{self, Exit, Failure, Program},
    client::{Error, Lines, Peer, Publisher},
    config::Config,
    wire::State,
};

const PROGRAM: Program = Program { name: "resq-trigger", takes: &["client", "broker.token"] };

/// How long resqd may take to confirm that it has everything.
const CONFIRM: Duration = Duration::from_secs(30);

/// Publish an ephemeral event to the subscribers of resqd; without --state, one a line of standard input, as
/// STATE PAYLOAD.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    error_code(0, "resqd has confirmed all of them"),
    error_code(1, "failed"),
    error_code(2, "wrong usage or settings, or a state that resqd does not have"),
    error_code(3, "cannot reach resqd, log in to it, or the connection broke"),
    error_code(4, "resqd did not confirm in 30 s")
)]
struct Args {
    /// the name that resqd logs
    #[argh(option, arg_name = "NAME")]
    name: String,
    /// the event's state
    #[argh(option, arg_name = "STATE")]
    state: Option<String>,
    /// the event's payload
    #[argh(option, arg_name = "PAYLOAD")]
    payload: Option<String>,
}

fn main() -> ExitCode {
    cli::run(&PROGRAM, publish)
}

fn publish(args: Args, config: Config) -> Result<(), Failure> {
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
            "--state and --payload go together; without both, lines are read".to_string(),
        )),
    }
}

/// Sends line after line, at once where no further line is waiting. A wrong line ends it; what came before is sent.
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
                return Err(Failure::new(Exit::Failed, format!("{message}; events published before it: {sent}")));
            }
        }
    }
}

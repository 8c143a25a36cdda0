//! The daemon: parses, calls `resq::daemon`, exits.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{process::ExitCode, time::Duration};

use argh::{ArgsInfo, FromArgs};
use resq::{
    cli::{self, Program},
    daemon::{self, healthcheck},
};

const PROGRAM: Program = Program {
    name: "resqd",
    takes: &["database", "sql", "queue", "broker", "http", "events"],
    handles_signals: true,
    commit: option_env!("RESQ_COMMIT"),
};

/// Serve the queue: build a database for every resource in it, and deliver its events to subscribers.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// seconds that running jobs may take to finish after SIGTERM or SIGINT (default 30)
    #[argh(option, default = "30")]
    drain_s: u64,
    /// listen on addresses that other machines can reach, without a token
    #[argh(switch)]
    insecure: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Command {
    Healthcheck(Healthcheck),
}

/// exit with 0 if the resqd with these settings answers and makes progress, for the probes of containers
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "healthcheck")]
struct Healthcheck {
    /// also require that it can serve: that the database is reached and the lease holds
    #[argh(switch)]
    ready: bool,
}

/// A year: longer drains are none.
const LONGEST_DRAIN_S: u64 = 31_536_000;

fn main() -> ExitCode {
    cli::run(&PROGRAM, |args: Args, config, _| {
        let Args { drain_s, insecure, command } = args;
        if let Some(Command::Healthcheck(Healthcheck { ready })) = command {
            return healthcheck::run(&config, ready);
        }
        daemon::run(&config, daemon::Options { drain: Duration::from_secs(drain_s.min(LONGEST_DRAIN_S)), insecure })
    })
}

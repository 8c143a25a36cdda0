//! The daemon: parses, calls `resq::daemon`, exits.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{process::ExitCode, time::Duration};

use argh::{ArgsInfo, FromArgs};
use resq::{
    cli::{self, Program},
    daemon,
};

const PROGRAM: Program = Program { name: "resqd", takes: &["database", "sql", "queue", "broker", "events"] };

/// Serve the queue: build a database for every resource in it, and deliver its events to subscribers.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// seconds that running jobs may take to finish after SIGTERM or SIGINT (default 30)
    #[argh(option, default = "30")]
    drain_s: u64,
    /// listen on addresses that other machines can reach, without a token
    #[argh(switch)]
    insecure: bool,
}

fn main() -> ExitCode {
    cli::run(&PROGRAM, |args: Args, config, _| {
        let Args { drain_s, insecure } = args;
        daemon::run(&config, daemon::Options { drain: Duration::from_secs(drain_s), insecure })
    })
}

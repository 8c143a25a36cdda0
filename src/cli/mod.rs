//! From argv to a running program: puts argv into argh's form (`argv`), takes the settings' flags out of it, starts
//! the log (`logging`), and turns a failure into one line and an exit code. Nothing else in the crate prints an
//! error or exits.

#[cfg(feature = "daemon")]
mod advice;
mod argv;
mod help;
mod logging;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use argh::{ArgsInfo, FromArgs};

use crate::{
    base::text::printable,
    config::{self, Config, Sources},
};
use argv::{Grammar, Invocation, Request};

pub use crate::base::failure::{Exit, Failure};

/// A program's name and the settings that it takes: whole groups (`database`) or single keys (`broker.token`).
/// Those it does not take are still checked in the settings file, which all programs share.
pub struct Program {
    pub name: &'static str,
    pub takes: &'static [&'static str],
}

/// Runs a program: parses this process's command line into `A` (whose structs derive `FromArgs` and `ArgsInfo`),
/// loads the settings, starts the log, calls `body`. Prints a failure as one line `name: …` on standard error.
pub fn run<A: FromArgs + ArgsInfo>(program: &Program, body: impl FnOnce(A, Config) -> Result<(), Failure>) -> ExitCode {
    let result = match request(program, &A::get_args_info()) {
        Ok(Request::Help(subcommand)) => print(&help::text::<A>(program, subcommand.as_deref())),
        Ok(Request::Version) => print(&format!("{} {}\n", program.name, env!("CARGO_PKG_VERSION"))),
        Ok(Request::Run(invocation)) => prepare(program, &invocation).and_then(|(args, config)| body(args, config)),
        Err(failure) => Err(failure),
    };
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where standard error is closed there is nobody left to tell; the code still says it.
            let _ = writeln!(io::stderr(), "{}: {}", program.name, printable(failure.message.trim_end()));
            failure.into()
        }
    }
}

fn request(program: &Program, info: &argh::CommandInfoWithArgs) -> Result<Request, Failure> {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let words = words.map_err(|word| usage(program, format!("{word:?} is not UTF-8")))?;
    Grammar { takes: program.takes, info }.parse(&words).map_err(|message| usage(program, message))
}

fn prepare<A: FromArgs>(program: &Program, invocation: &Invocation) -> Result<(A, Config), Failure> {
    let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
    let args = A::from_args(&[program.name], &args).map_err(|exit| {
        let lines: Vec<&str> = exit.output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        usage(program, lines.join(" "))
    })?;
    let settings = |message: String| Failure::new(Exit::Usage, message);
    let config = config::load(&Sources {
        takes: program.takes,
        file: invocation.config.as_ref().map(Into::into),
        // A variable that is not UTF-8 is no right value of any setting: its replaced form says so in the message.
        env: &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        flags: &invocation.settings,
    })
    .map_err(|e| settings(e.to_string()))?;
    logging::start(invocation.verbosity, invocation.log_file.as_deref()).map_err(|e| {
        let path = invocation.log_file.as_deref().unwrap_or_default();
        settings(format!("--log-file {path}: cannot write there ({e})"))
    })?;
    Ok((args, config))
}

fn usage(program: &Program, message: String) -> Failure {
    Failure::new(Exit::Usage, format!("{message} (see {} --help)", program.name))
}

/// To standard output; a reader that went away (`--help | head -1`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot write to standard output ({e})")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! From argv to a running program, and from its failure to an exit code: parses the command line (`argv`), prints help
//! (`help`), makes manual pages and completions (`generate`), starts the log (`logging`), prints (`output`), and explains
//! database errors (`advice`). Nothing else in the crate prints or exits.

#[cfg(feature = "daemon")]
mod advice;
mod argv;
#[cfg(unix)]
mod first_process;
mod generate;
mod help;
mod logging;
mod output;
mod program;
mod since;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::OnceLock,
};

use argh::{ArgsInfo, FromArgs};

use crate::{
    base::text::printable,
    config::{self, Config, Invalid, Loaded, Sources},
};
use argv::{Grammar, Invocation, Mistake, Request};

pub use crate::base::failure::{Exit, Failure};
pub use logging::reopen as reopen_log;
pub use output::Output;
pub use program::Program;
pub use since::since;

/// Runs a program: parses this process's command line into `A`, loads the settings, starts the log and calls `body`. A
/// failure is printed as one line, `name: …`, on standard error; so is output that could not be written.
pub fn run<A: FromArgs + ArgsInfo>(
    program: &Program,
    body: impl FnOnce(A, Config, &mut Output) -> Result<(), Failure>,
) -> ExitCode {
    let mut out = Output::stdout();
    #[cfg(unix)]
    if !program.handles_signals
        && let Err(error) = first_process::end_on_signals()
    {
        log::debug!("signals: cannot be handled ({error}); a container can only be killed");
    }
    let result = match request(program, &A::get_args_info()) {
        Ok(Request::Help(subcommand)) => {
            out.line(help::text::<A>(program, subcommand.as_deref()).trim_end());
            Ok(())
        }
        Ok(Request::Version) => {
            out.line(program.version());
            Ok(())
        }
        Ok(Request::Generate(what)) => match generate::text::<A>(program, &what) {
            Some(text) => {
                out.line(text.trim_end());
                Ok(())
            }
            None => {
                let kinds = generate::KINDS;
                Err(usage(program, format!("--generate {}: expected one of {kinds}", printable(&what))))
            }
        },
        Ok(Request::Run(invocation)) => {
            prepare(program, &invocation).and_then(|(args, config)| body(args, config, &mut out))
        }
        Err(failure) => Err(failure),
    };
    let printed = out.finish();
    let result = result.and(printed);
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "{}: {}", program.name, printable(failure.message.trim_end()));
            failure.into()
        }
    }
}

fn request(program: &Program, info: &argh::CommandInfoWithArgs) -> Result<Request, Failure> {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let words = words.map_err(|word| usage(program, format!("{word:?} is not UTF-8")))?;
    Grammar { takes: program.takes, info }.parse(&words).map_err(|Mistake(message)| usage(program, message))
}

fn prepare<A: FromArgs>(program: &Program, invocation: &Invocation) -> Result<(A, Config), Failure> {
    let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
    let args = A::from_args(&[program.name], &args).map_err(|exit| {
        let lines: Vec<&str> = exit.output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        usage(program, lines.join(" "))
    })?;
    let settings = |message: String| Failure::new(Exit::Usage, message);
    let Loaded { config, public_secrets } = load(program.takes, invocation).map_err(|e| settings(e.to_string()))?;
    let _ = STARTED_WITH.set((program.takes, invocation.clone()));
    logging::start(invocation.verbosity, invocation.log_file.as_deref()).map_err(|e| {
        let path = invocation.log_file.as_deref().unwrap_or_default();
        settings(format!("--log-file {path}: cannot open this file for writing ({e})"))
    })?;
    for setting in public_secrets {
        log::warn!(
            "settings: the file of {setting} can be read by every user of this machine; continuing with its secret"
        );
    }
    Ok((args, config))
}

/// What the program was started with.
static STARTED_WITH: OnceLock<(&[&str], Invocation)> = OnceLock::new();

/// The settings, from the same sources as at the start of the program.
///
/// # Errors
/// As at the start: they cannot be used.
pub fn settings_again() -> Result<Config, Invalid> {
    let Some((takes, invocation)) = STARTED_WITH.get() else { return Ok(Config::default()) };
    load(takes, invocation).map(|loaded| loaded.config)
}

fn load(takes: &[&str], invocation: &Invocation) -> Result<Loaded, Invalid> {
    config::load(&Sources {
        takes,
        file: invocation.config.as_ref().map(Into::into),
        // A variable that is not UTF-8 is no valid value of any setting; the message shows it with replacement characters.
        env: &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        flags: &invocation.settings,
    })
}

fn usage(program: &Program, message: String) -> Failure {
    Failure::new(Exit::Usage, format!("{message} (see {} --help)", program.name))
}

#[cfg(test)]
mod tests;

//! Runs a program for an event, one at a time: a path without shell and arguments, so that nothing in an event can become
//! a command. Secrets are removed from its environment.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use crate::{
    base::text::utc,
    client::Event,
    config::{Kind, SETTINGS},
};

/// In bytes. The system limits the environment, so a larger payload is passed on standard input only.
const ENV_PAYLOAD_BYTES: usize = 64 * 1024;

/// A program that was to be run for the event with this number.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be run.
    #[error("--exec {}: cannot run for event {} ({})", .0.display(), .1, .2)]
    Run(PathBuf, u64, io::Error),
    /// It failed.
    #[error("--exec {}: failed for event {} ({})", .0.display(), .1, .2)]
    Status(PathBuf, u64, ExitStatus),
}

/// Runs `program` to its end with `RESQ_SEQ`, `RESQ_TIME`, `RESQ_STATE` and `RESQ_PAYLOAD` in its environment and the
/// payload on its standard input. Calls `meanwhile` each time `every` has passed.
///
/// # Errors
/// The program cannot be run, or its exit status is not 0.
pub fn run(program: &Path, event: &Event, every: Duration, mut meanwhile: impl FnMut()) -> Result<(), ExecError> {
    let cannot = |error| ExecError::Run(program.into(), event.seq, error);
    let mut child = command(program, event).stdin(Stdio::piped()).spawn().map_err(cannot)?;
    let mut stdin = child.stdin.take();
    let (ended, end) = mpsc::channel();
    let status: io::Result<ExitStatus> = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program may ignore its input.
            let _ = stdin.take().map(|mut stdin| stdin.write_all(&event.payload));
            let _ = ended.send(child.wait());
        });
        loop {
            match end.recv_timeout(every) {
                Ok(status) => return status,
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the thread that waits for it ended"));
                }
            }
        }
    });
    let status = status.map_err(cannot)?;
    #[cfg(unix)]
    if std::process::id() == 1 {
        reap_orphans();
    }
    match status {
        status if status.success() => Ok(()),
        status => Err(ExecError::Status(program.into(), event.seq, status)),
    }
}

/// The first process of a container inherits what a program leaves running, and has to collect it when it ends. Called when
/// no child of our own is left.
#[cfg(unix)]
fn reap_orphans() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(_) | Ok(WaitStatus::StillAlive)) {}
}

fn command(program: &Path, event: &Event) -> Command {
    let mut command = Command::new(program);
    let secrets = SETTINGS.iter().filter(|s| s.kind == Kind::Secret).filter_map(|s| s.env);
    // MYSQL_PWD is a secret of the MySQL client. The service manager's variables are for this program, not for the one that
    // it runs.
    let of_manager = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
    secrets.chain(["MYSQL_PWD", "RESQ_PAYLOAD"]).chain(of_manager).for_each(|name| {
        command.env_remove(name);
    });
    command
        .env("RESQ_SEQ", event.seq.to_string())
        .env("RESQ_TIME", utc(event.unix_time_us))
        .env("RESQ_STATE", &event.state);
    if let Some(payload) = env_payload(&event.payload) {
        command.env("RESQ_PAYLOAD", payload);
    }
    command
}

/// The payload, if it fits into an environment variable.
fn env_payload(payload: &[u8]) -> Option<OsString> {
    let fits = payload.len() <= ENV_PAYLOAD_BYTES && !payload.contains(&0);
    fits.then(|| std::str::from_utf8(payload).ok().map(OsString::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_holds_only_payloads_that_fit() {
        assert_eq!(env_payload(b"{}"), Some("{}".into()));
        assert!(env_payload(&vec![b'x'; ENV_PAYLOAD_BYTES]).is_some());
        for not in [&vec![b'x'; ENV_PAYLOAD_BYTES + 1][..], b"a\0b", b"\xff"] {
            assert_eq!(env_payload(not), None);
        }
    }

    #[cfg(unix)]
    mod on_unix {
        use std::path::PathBuf;

        use resq_test_support::write_script;

        use super::*;

        fn script(dir: &Path, text: &str) -> PathBuf {
            let path = dir.join("program");
            write_script(&path, text);
            path
        }

        fn event(payload: &[u8]) -> Event {
            Event { seq: 7, unix_time_us: 0, state: "A".into(), payload: payload.into() }
        }

        #[test]
        fn program_gets_the_event_in_its_environment_and_input() {
            let dir = tempfile::tempdir().unwrap();
            let out = dir.path().join("out");
            let program = script(
                dir.path(),
                &format!("echo \"$RESQ_SEQ $RESQ_STATE $RESQ_TIME $RESQ_PAYLOAD\" > {0}; cat >> {0}", out.display()),
            );
            run(&program, &event(b"$(touch /x)"), Duration::from_secs(9), || {}).unwrap();
            let text = std::fs::read_to_string(out).unwrap();
            assert_eq!(text, "7 A 1970-01-01T00:00:00.000000Z $(touch /x)\n$(touch /x)");
        }

        #[test]
        fn program_may_ignore_a_large_payload() {
            let dir = tempfile::tempdir().unwrap();
            run(&script(dir.path(), "exit 0"), &event(&vec![b'x'; 1_000_000]), Duration::from_secs(9), || {}).unwrap();
        }

        #[test]
        fn failed_and_missing_programs_are_errors() {
            let dir = tempfile::tempdir().unwrap();
            let failed = run(&script(dir.path(), "exit 3"), &event(b""), Duration::from_secs(9), || {}).unwrap_err();
            assert!(matches!(&failed, ExecError::Status(.., status) if status.code() == Some(3)), "{failed}");
            let missing = run(&dir.path().join("none"), &event(b""), Duration::from_secs(9), || {}).unwrap_err();
            assert!(matches!(missing, ExecError::Run(..)), "{missing}");
        }

        #[test]
        fn caller_is_called_back_while_a_program_runs() {
            let dir = tempfile::tempdir().unwrap();
            let go = dir.path().join("go");
            let program = script(dir.path(), &format!("until [ -e {} ]; do :; done", go.display()));
            let mut calls = 0;
            let tick = || {
                calls += 1;
                if calls == 3 {
                    std::fs::write(&go, "").unwrap();
                }
            };
            run(&program, &event(b""), Duration::from_millis(5), tick).unwrap();
            assert!(calls >= 3);
        }
    }
}

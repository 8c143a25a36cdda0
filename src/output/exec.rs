//! Runs one program for an event: a path, no shell, no arguments, so that nothing in an event can become a command.
//! One at a time; secrets are taken out of its environment.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use crate::{
    base::text::utc,
    client::Event,
    config::{Kind, SETTINGS},
};

/// A larger payload is on the program's standard input only: an environment is small.
const ENV_PAYLOAD_BYTES: usize = 64 * 1024;

/// Runs the program to its end with `RESQ_SEQ`, `RESQ_TIME`, `RESQ_STATE`, `RESQ_PAYLOAD` and the payload on its
/// standard input; calls `meanwhile` at this interval. An exit status other than 0 is an error, in words.
pub fn run(program: &Path, event: &Event, every: Duration, mut meanwhile: impl FnMut()) -> Result<(), String> {
    let cannot = |e: io::Error| format!("--exec {}: cannot run it for event {} ({e})", program.display(), event.seq);
    let mut child = command(program, event).stdin(Stdio::piped()).spawn().map_err(cannot)?;
    let mut stdin = child.stdin.take();
    let (ended, end) = mpsc::channel();
    let status: io::Result<ExitStatus> = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input is as right as one that does.
            let _ = stdin.take().map(|mut stdin| stdin.write_all(&event.payload));
            let _ = ended.send(child.wait());
        });
        loop {
            match end.recv_timeout(every) {
                Ok(status) => return status,
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("nobody waits for it")),
            }
        }
    });
    match status.map_err(cannot)? {
        status if status.success() => Ok(()),
        status => Err(format!("--exec {}: failed for event {} ({status})", program.display(), event.seq)),
    }
}

fn command(program: &Path, event: &Event) -> Command {
    let mut command = Command::new(program);
    let secrets = SETTINGS.iter().filter(|s| s.kind == Kind::Secret).filter_map(|s| s.env);
    // MYSQL_PWD is the MySQL client's own; what is ready is this program and not the one that it runs.
    secrets.chain(["MYSQL_PWD", "RESQ_PAYLOAD", "NOTIFY_SOCKET"]).for_each(|name| {
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

/// The payload where a variable can hold it whole.
fn env_payload(payload: &[u8]) -> Option<OsString> {
    let fits = payload.len() <= ENV_PAYLOAD_BYTES && !payload.contains(&0);
    fits.then(|| std::str::from_utf8(payload).ok().map(OsString::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_holds_the_payload_only_where_it_can() {
        assert_eq!(env_payload(b"{}"), Some("{}".into()));
        assert!(env_payload(&vec![b'x'; ENV_PAYLOAD_BYTES]).is_some());
        for not in [&vec![b'x'; ENV_PAYLOAD_BYTES + 1][..], b"a\0b", b"\xff"] {
            assert_eq!(env_payload(not), None);
        }
    }

    #[cfg(unix)]
    mod on_unix {
        use std::{os::unix::fs::PermissionsExt, path::PathBuf};

        use super::*;

        fn script(dir: &Path, text: &str) -> PathBuf {
            let path = dir.join("program");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        }

        fn event(payload: &[u8]) -> Event {
            Event { seq: 7, unix_time_us: 0, state: "A".into(), payload: payload.into() }
        }

        #[test]
        fn the_program_gets_the_event_in_its_environment_and_input() {
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
        fn a_large_payload_to_a_program_that_does_not_read_is_no_failure() {
            let dir = tempfile::tempdir().unwrap();
            run(&script(dir.path(), "exit 0"), &event(&vec![b'x'; 1_000_000]), Duration::from_secs(9), || {}).unwrap();
        }

        #[test]
        fn a_failure_is_told_and_a_missing_program_too() {
            let dir = tempfile::tempdir().unwrap();
            let failed = run(&script(dir.path(), "exit 3"), &event(b""), Duration::from_secs(9), || {}).unwrap_err();
            assert!(failed.ends_with("failed for event 7 (exit status: 3)"), "{failed}");
            let missing = run(&dir.path().join("none"), &event(b""), Duration::from_secs(9), || {}).unwrap_err();
            assert!(missing.contains("cannot run it for event 7"), "{missing}");
        }

        #[test]
        fn the_caller_stays_awake_while_a_program_runs() {
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

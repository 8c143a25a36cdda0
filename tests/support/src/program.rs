//! Runs resq's programs as a user does: with nothing in the environment but what the test sets, output captured,
//! everything within a deadline, and no process left when the test ends.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::notifications::Notifications;
use crate::wait::{DEADLINE, wait_or_report, wait_until};

/// Sends `TERM`, `KILL`, `STOP`, … to a process. One that is stopped stands still afterwards: each of its threads stops by itself.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.expect("sh runs").success(), "kill -{name} {pid}");
    if name == "STOP" {
        wait_until("every thread to stand still", || threads_are_stopped(pid));
    }
}

fn threads_are_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    states.into_iter().all(|status| status.lines().any(|line| line.starts_with("State:") && line.contains('T')))
}

/// Whether a process runs; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

/// A program about to run, with only `PATH` in its environment.
pub struct Program {
    name: String,
    command: Command,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

impl Program {
    pub fn new(path: impl AsRef<OsStr>) -> Program {
        let mut command = Command::new(&path);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let name = std::path::Path::new(path.as_ref()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Program { name, command, stdout: None, stderr: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Program {
        self.command.args(args);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(key, value);
        self
    }

    /// Sends its standard output there instead of capturing it.
    pub fn envs<V: AsRef<OsStr>>(self, variables: &[(&str, V)]) -> Program {
        variables.iter().fold(self, |program, (key, value)| program.env(key, value))
    }

    pub fn stdout_to(mut self, to: impl Into<Stdio>) -> Program {
        self.stdout = Some(to.into());
        self
    }

    /// Sends its standard error there instead of capturing it.
    pub fn stderr_to(mut self, to: impl Into<Stdio>) -> Program {
        self.stderr = Some(to.into());
        self
    }

    pub fn current_dir(mut self, dir: impl AsRef<std::path::Path>) -> Program {
        self.command.current_dir(dir);
        self
    }

    /// Starts it and waits until it reports `READY=1` to `NOTIFY_SOCKET`; panics with its output if it ends before.
    pub fn spawn_ready(self) -> Running {
        self.try_spawn_ready().unwrap_or_else(|finished| panic!("ended before it was ready: {finished}"))
    }

    /// The same for a program that may end before it is ready.
    pub fn try_spawn_ready(self) -> Result<Running, Finished> {
        let mut running = self.spawn_notifying();
        let mut is_ready = false;
        wait_or_report(DEADLINE, "readiness", || {
            // In this order, so that a report just before its end counts.
            let ended = !running.is_running();
            is_ready = running.has_notified("READY=1");
            if is_ready || ended { Ok(()) } else { Err(running.report()) }
        });
        if is_ready { Ok(running) } else { Err(running.wait()) }
    }

    /// Starts it with a `NOTIFY_SOCKET`, without waiting for a report.
    pub fn spawn_notifying(self) -> Running {
        let notifications = Notifications::new();
        let mut running = self.env("NOTIFY_SOCKET", notifications.env()).spawn();
        running.notifications = Some(notifications);
        running
    }

    /// Starts it with a pipe for standard input.
    pub fn spawn(mut self) -> Running {
        let [stdout, stderr] = [self.stdout, self.stderr].map(|to| to.unwrap_or_else(Stdio::piped));
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|e| panic!("{} does not start: {e}", self.name));
        let stdout = child.stdout.take().map_or_else(|| Capture::of(std::io::empty()), Capture::of);
        let stderr = child.stderr.take().map_or_else(|| Capture::of(std::io::empty()), Capture::of);
        Running { name: self.name, child, stdout, stderr, notifications: None }
    }

    /// Runs it to its end with no standard input.
    pub fn run(self) -> Finished {
        self.run_with("")
    }

    /// Runs it to its end with this standard input.
    pub fn run_with(self, input: &str) -> Finished {
        let mut running = self.spawn();
        let mut stdin = running.child.stdin.take().expect("stdin is piped");
        let input = input.to_owned();
        // On a separate thread, ignoring errors: the program may end without reading.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        running.wait()
    }

    /// Runs it, expects exit code 0 and returns what it printed.
    pub fn ok(self) -> String {
        self.expect_code(0).stdout
    }

    /// Runs it and expects this exit code.
    pub fn expect_code(self, code: i32) -> Finished {
        let finished = self.run();
        assert_eq!(finished.code(), Some(code), "{finished}");
        finished
    }
}

/// A program that runs; killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    stdout: Capture,
    stderr: Capture,
    notifications: Option<Notifications>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `TERM`, `KILL`, `STOP`, … to it.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Its log so far, to be shown and to be counted by level.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Writes to its standard input; an error if it no longer reads.
    pub fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.child.stdin.as_mut().expect("stdin is still open").write_all(text.as_bytes())
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Whether it has reported this, such as `STOPPING=1`, to `NOTIFY_SOCKET`; only after
    /// [`Program::spawn_ready`] or [`Program::spawn_notifying`].
    pub fn has_notified(&mut self, line: &str) -> bool {
        self.notifications.as_mut().expect("it was started with a NOTIFY_SOCKET").has(line)
    }

    /// Waits until its standard output contains `text`; panics with all of its output if it ends before.
    pub fn wait_for_output(&mut self, text: &str) {
        wait_or_report(DEADLINE, text, || {
            // In this order, so that its last output counts.
            let ended = !self.is_running() && self.stdout.is_finished() && self.stderr.is_finished();
            if self.stdout().contains(text) {
                return Ok(());
            }
            assert!(!ended, "{} ended without {text:?}\n{}", self.name, self.report());
            Err(self.report())
        });
    }

    /// Waits for its end; panics with its output if it does not end in time.
    pub fn wait(mut self) -> Finished {
        let mut status = None;
        wait_or_report(DEADLINE, &format!("the end of {}", self.name), || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.map(drop).ok_or_else(|| self.report())
        });
        let status = status.expect("it ended");
        Finished { name: self.name.clone(), status, stdout: self.stdout.finish(), stderr: self.stderr.finish() }
    }

    /// SIGTERM, then waits for the drain.
    pub fn stop(self) -> Finished {
        self.signal("TERM");
        self.wait()
    }

    fn report(&self) -> String {
        format!("--- stdout\n{}--- stderr\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended and all that it printed.
#[derive(Debug)]
pub struct Finished {
    name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The lines of its log that are warnings or errors.
    pub fn warnings(&self) -> Vec<&str> {
        warnings(&self.stderr)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}\n--- stdout\n{}--- stderr\n{}", self.name, self.status, self.stdout, self.stderr)
    }
}

/// The lines of a log that are warnings or errors, by their level.
pub fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("[WARN") || line.contains("[ERROR")).collect()
}

/// A pipe read by a thread, so that no program waits for the test to read.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Capture {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..n]);
            }
        });
        Capture { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn is_finished(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.text()
    }
}

//! Reports a program's state to the process that started it, by systemd's notification protocol (sd_notify(3)): one
//! datagram to the socket that `NOTIFY_SOCKET` names. Never blocks, and never fails the program.

use std::{
    ffi::{OsStr, OsString},
    io,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    time::Duration,
};

/// How long the start of a program takes at most, apart from a wait for its server.
const START: Duration = Duration::from_secs(60);

/// What is reported.
#[derive(Clone, Copy, Debug)]
pub enum State<'a> {
    /// `READY=1`. For resqd: it listens, holds its lease and knows the end of the event log; a second line,
    /// `STATUS=listening on ADDRESS, …; http on ADDRESS, …`, names its TCP addresses, first the broker's, with the actual
    /// port where port 0 was set. For resq-client, which does not listen: the broker has confirmed its subscription.
    Ready(&'a [SocketAddr], &'a [SocketAddr]),
    /// The program waits for its database server, for so long at most: an `EXTEND_TIMEOUT_USEC=` beyond that.
    Waiting(Duration),
    /// `WATCHDOG=1`: every part makes progress.
    Alive,
    /// `STOPPING=1`: a signal arrived; running jobs are finished, no new ones are claimed.
    Stopping,
}

/// The socket of the process that waits for this one, if there is any.
#[derive(Debug)]
pub struct Supervisor(Option<OsString>);

impl Supervisor {
    /// The one named by `NOTIFY_SOCKET`.
    pub fn from_env() -> Supervisor {
        Supervisor(std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()))
    }

    /// How long the service manager waits for the next [`State::Alive`] before it restarts this process: `WATCHDOG_USEC`,
    /// unless `WATCHDOG_PID` says that another process is meant. None: it does not wait for any.
    pub fn watchdog_from_env() -> Option<Duration> {
        let variable = |name| std::env::var(name).ok();
        watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
    }

    /// Sends `state`, if a supervisor waits for it. A supervisor that cannot be reached is a warning.
    pub fn notify(&self, state: State<'_>) {
        let Some(socket) = &self.0 else { return };
        let message = match state {
            State::Ready(broker, http) => {
                let part = |(what, addresses): (&str, &[SocketAddr])| {
                    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                    (!addresses.is_empty()).then(|| format!("{what} on {}", addresses.join(", ")))
                };
                let parts: Vec<String> = [("listening", broker), ("http", http)].into_iter().filter_map(part).collect();
                match parts.is_empty() {
                    true => "READY=1".into(),
                    false => format!("READY=1\nSTATUS={}", parts.join("; ")),
                }
            }
            State::Waiting(wait) => {
                let until = wait + START;
                format!("STATUS=waiting for the database server\nEXTEND_TIMEOUT_USEC={}", until.as_micros())
            }
            State::Alive => "WATCHDOG=1".into(),
            State::Stopping => "STOPPING=1".into(),
        };
        if let Err(error) = send(socket, message.as_bytes()) {
            let socket = socket.display();
            log::warn!(
                "readiness: cannot write to NOTIFY_SOCKET ({error}); continuing without reporting readiness socket={socket}"
            );
        }
    }
}

fn watchdog(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let usec: u64 = usec?.parse().ok()?;
    (is_meant && usec > 0).then(|| Duration::from_micros(usec))
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::{
            linux::net::SocketAddrExt,
            unix::{ffi::OsStrExt, net},
        };
        // A name in Linux's abstract namespace, where sockets have no file.
        if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
            return sender.send_to_addr(message, &net::SocketAddr::from_abstract_name(name)?).map(drop);
        }
    }
    sender.send_to(message, socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(receiver: &UnixDatagram) -> String {
        let mut buffer = [0; 128];
        let length = receiver.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn states_reach_a_socket_with_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor(Some(path.into()));
        let addresses = ["127.0.0.1:7".parse().unwrap(), "[::1]:8".parse().unwrap()];
        supervisor.notify(State::Ready(&addresses, &[]));
        supervisor.notify(State::Ready(&addresses[..1], &addresses[1..]));
        supervisor.notify(State::Ready(&[], &[]));
        supervisor.notify(State::Stopping);
        supervisor.notify(State::Waiting(Duration::from_secs(30)));
        assert_eq!(received(&receiver), "READY=1\nSTATUS=listening on 127.0.0.1:7, [::1]:8");
        assert_eq!(received(&receiver), "READY=1\nSTATUS=listening on 127.0.0.1:7; http on [::1]:8");
        assert_eq!(received(&receiver), "READY=1");
        assert_eq!(received(&receiver), "STOPPING=1");
        assert_eq!(received(&receiver), "STATUS=waiting for the database server\nEXTEND_TIMEOUT_USEC=90000000");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn states_reach_a_socket_in_the_abstract_namespace() {
        use std::os::{linux::net::SocketAddrExt, unix::net};
        let name = format!("resq-readiness-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor(Some(format!("@{name}").into())).notify(State::Stopping);
        assert_eq!(received(&receiver), "STOPPING=1");
    }

    #[test]
    fn watchdog_is_wanted_by_its_variable_unless_it_is_for_another_process() {
        let ms = Duration::from_millis;
        for (usec, pid, expected) in [
            (None, None, None),
            (Some("30000"), None, Some(ms(30))),
            (Some("30000"), Some("7"), Some(ms(30))),
            (Some("30000"), Some("8"), None),
            (Some("30000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
        ] {
            assert_eq!(watchdog(usec, pid, 7), expected, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn a_supervisor_that_is_gone_or_never_was_is_no_failure() {
        Supervisor(Some("/nonexistent/notify".into())).notify(State::Stopping);
        Supervisor(None).notify(State::Stopping);
    }
}

//! A login that ends. A server that hangs takes a connection and says nothing, and the driver's own time-out would
//! hold for every later statement, too; so each login has a thread, which is left behind when its time is over. Owns
//! the count of those; never runs a statement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use mysql::Conn;

use super::{Error, tls::Endpoint};

/// How long a server may take to let somebody in, session and all.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Logins to one server that it never answered: no more are tried until it answers, or ends, some of them.
const MOST_UNANSWERED: usize = 8;

/// The way into one server.
pub struct TimedConnect {
    server: Arc<Endpoint>,
    unanswered: Arc<AtomicUsize>,
    patience: Duration,
}

impl TimedConnect {
    pub fn new(server: Endpoint) -> TimedConnect {
        TimedConnect { server: Arc::new(server), unanswered: Arc::default(), patience: LOGIN_TIMEOUT }
    }

    /// A connection, set up as its options say, or an error after [`LOGIN_TIMEOUT`].
    pub fn connect(&self) -> Result<Conn, Error> {
        if self.unanswered.load(Ordering::Relaxed) >= MOST_UNANSWERED {
            return Err(Error::Unavailable(format!(
                "it takes connections and has not answered the last {MOST_UNANSWERED}"
            )));
        }
        let (sender, answer) = mpsc::sync_channel(1);
        let (server, unanswered) = (self.server.clone(), self.unanswered.clone());
        unanswered.fetch_add(1, Ordering::Relaxed);
        let login = move || {
            // Whoever waited may be gone: then the connection ends here.
            let result = server.connect();
            unanswered.fetch_sub(1, Ordering::Relaxed);
            let _ = sender.send(result);
        };
        if let Err(error) = thread::Builder::new().name("login".into()).spawn(login) {
            self.unanswered.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Unavailable(format!("cannot start a thread to log in: {error}")));
        }
        answer.recv_timeout(self.patience).unwrap_or_else(|_| {
            Err(Error::Unavailable(format!(
                "the server does not answer: no login within {} s",
                self.patience.as_secs_f32()
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Database, Tls};
    use mysql::OptsBuilder;
    use std::{net::TcpListener, time::Instant};

    #[test]
    fn a_server_that_says_nothing_is_given_up_and_not_asked_without_end() {
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(hung.local_addr().unwrap().port())
            .prefer_socket(false);
        let patience = Duration::from_millis(20);
        let login = TimedConnect {
            patience,
            ..TimedConnect::new(Endpoint::new(opts, &Database { tls: Tls::Off, ..Config::default().database }))
        };
        for _ in 0..MOST_UNANSWERED {
            let error = login.connect().unwrap_err().to_string();
            assert!(error.contains("no login within 0.02 s"), "{error}");
        }
        let error = login.connect().unwrap_err().to_string();
        assert!(error.contains("not answered the last 8"), "{error}");
        // Its end answers them all.
        drop(hung);
        let end = Instant::now() + Duration::from_secs(60);
        while login.unanswered.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < end, "the threads never ended");
            thread::yield_now();
        }
        assert!(login.connect().is_err());
    }
}

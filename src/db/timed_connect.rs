//! Connecting with a deadline. A server that hangs accepts a connection and never answers, and the driver's own timeout
//! would apply to every later statement too; so each login runs on a thread, which is abandoned when its time is up. Owns
//! the count of those threads; never runs a statement.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use mysql::Conn;

use super::{Error, session, tls::Endpoint};

/// How long a server may take for a login, with the setup of the session and the check of the node.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// At most this many logins to one server are left unanswered: no more are tried until some of them have ended.
const MOST_UNANSWERED: usize = 8;

/// What a new session has to pass.
pub type Check = fn(&mut Conn) -> Result<(), Error>;

/// Connects to one host.
pub struct TimedConnect {
    endpoint: Arc<Endpoint>,
    unanswered: Arc<AtomicUsize>,
    timeout: Duration,
}

impl TimedConnect {
    /// Connects to `endpoint` within 10 s.
    pub fn new(endpoint: Endpoint) -> TimedConnect {
        TimedConnect { endpoint: Arc::new(endpoint), unanswered: Arc::default(), timeout: LOGIN_TIMEOUT }
    }

    /// Opens a connection, its session set up. Before the session is reset for the first time, `check` runs on it.
    ///
    /// # Errors
    ///
    /// That of `check`; or the login failed, or one of the two was not answered in time.
    pub fn connect(&self, check: Option<Check>) -> Result<Conn, Error> {
        let endpoint = self.endpoint.clone();
        let is_checking = Arc::new(AtomicBool::new(false));
        self.in_time(&is_checking.clone(), move || {
            let mut conn = endpoint.connect()?;
            if let Some(check) = check {
                session::set_new(&mut conn)?;
                is_checking.store(true, Ordering::Relaxed);
                check(&mut conn)?;
            }
            session::reset(&mut conn)?;
            Ok(conn)
        })
    }

    /// `is_checking`: whether `log_in` has got as far as the check.
    fn in_time(
        &self,
        is_checking: &AtomicBool,
        log_in: impl FnOnce() -> Result<Conn, Error> + Send + 'static,
    ) -> Result<Conn, Error> {
        if self.unanswered.load(Ordering::Relaxed) >= MOST_UNANSWERED {
            return Err(Error::Unavailable(format!(
                "the server does not answer: the last {MOST_UNANSWERED} logins are still waiting"
            )));
        }
        let (sender, answer) = mpsc::sync_channel(1);
        let unanswered = Unanswered::one_more(&self.unanswered);
        let login = move || {
            // The driver panics for some answers of a server: that is a failed login like any other.
            let result = catch_unwind(AssertUnwindSafe(log_in))
                .unwrap_or_else(|_| Err(Error::Unavailable("the database driver panicked during the login".into())));
            drop(unanswered);
            // The caller may have given up: then the connection ends here.
            let _ = sender.send(result);
        };
        if let Err(error) = thread::Builder::new().name("login".into()).spawn(login) {
            return Err(Error::Unavailable(format!("cannot start a thread to log in: {error}")));
        }
        answer.recv_timeout(self.timeout).unwrap_or_else(|_| {
            let limit = self.timeout.as_secs_f32();
            // Galera lets a session wait longer than this for what other nodes have committed.
            Err(Error::Unavailable(match is_checking.load(Ordering::Relaxed) {
                true => format!("the server accepts logins, but has not caught up with its cluster within {limit} s"),
                false => format!("the server does not answer: no login within {limit} s"),
            }))
        })
    }
}

/// One of the logins that are under way. However it ends, it is counted no more.
struct Unanswered(Arc<AtomicUsize>);

impl Unanswered {
    fn one_more(count: &Arc<AtomicUsize>) -> Unanswered {
        count.fetch_add(1, Ordering::Relaxed);
        Unanswered(count.clone())
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Database, Tls};
    use mysql::OptsBuilder;
    use std::{net::TcpListener, panic::resume_unwind, time::Instant};

    #[test]
    fn hanging_server_times_out_and_gets_a_bounded_number_of_logins() {
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(hung.local_addr().unwrap().port())
            .prefer_socket(false);
        let timeout = Duration::from_millis(20);
        let login = TimedConnect {
            timeout,
            ..TimedConnect::new(Endpoint::new(opts, &Database { tls: Tls::Off, ..Config::default().database }))
        };
        for _ in 0..MOST_UNANSWERED {
            let error = login.connect(None).unwrap_err().to_string();
            assert!(error.contains("no login within 0.02 s"), "{error}");
        }
        let error = login.connect(None).unwrap_err().to_string();
        assert!(error.contains("the last 8 logins are still waiting"), "{error}");
        // The end of the server answers them all.
        drop(hung);
        let end = Instant::now() + Duration::from_secs(60);
        while login.unanswered.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < end, "the threads never ended");
            thread::yield_now();
        }
        assert!(login.connect(None).is_err());
    }

    #[test]
    fn login_that_waits_for_the_cluster_is_reported_as_such() {
        let opts = OptsBuilder::new();
        let timeout = Duration::from_millis(20);
        let login = TimedConnect { timeout, ..TimedConnect::new(Endpoint::new(opts, &Config::default().database)) };
        for (is_checking, words) in [(true, "not caught up with its cluster within 0.02 s"), (false, "no login within")]
        {
            let (caught_up, wait) = mpsc::channel::<()>();
            let result = login.in_time(&AtomicBool::new(is_checking), move || {
                let _ = wait.recv();
                Err(Error::NotReady("the test is over".into()))
            });
            let error = result.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            drop(caught_up);
        }
    }

    #[test]
    fn panic_of_the_driver_is_a_failed_login_and_never_the_last() {
        let login = TimedConnect::new(Endpoint::new(OptsBuilder::new(), &Config::default().database));
        for _ in 0..=MOST_UNANSWERED {
            // Without a message on standard error.
            let error =
                login.in_time(&AtomicBool::new(false), || resume_unwind(Box::new("no such plugin"))).unwrap_err();
            assert!(matches!(&error, Error::Unavailable(why) if why.contains("panicked")), "{error}");
        }
        assert_eq!(login.unanswered.load(Ordering::Relaxed), 0);
    }
}

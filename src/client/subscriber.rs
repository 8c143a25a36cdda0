//! Receives events, and reconnects and resumes by itself. Single-threaded: the broker's PINGs are answered while the
//! caller waits for an event, and by [`Subscriber::keep_alive`] while it is busy with one.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::{
    Error, Event, Gap, Peer,
    connection::{Connection, Incoming, PATIENCE},
    position::Position,
};
use crate::{
    base::backoff::Backoff,
    wire::{ClientMessage, Pattern, Role},
};

/// Pauses between attempts to reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What a subscriber asks for.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// 1 to 1,024 of them: a state, a prefix with `*` at its end, or `*`.
    pub states: Vec<String>,
    /// Durable events after this number first; None: from now on.
    pub since: Option<u64>,
    /// Durable events alone, which nobody but a transaction can make.
    pub durable_only: bool,
}

impl Subscription {
    /// To these states, from now on.
    pub fn to<S: Into<String>>(states: impl IntoIterator<Item = S>) -> Subscription {
        Subscription { states: states.into_iter().map(Into::into).collect(), ..Subscription::default() }
    }
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Event(Event),
    /// Something that it asked for and will not get.
    Gap(Gap),
    /// After a reconnect the broker has another log (a new or restored database): delivery starts at its beginning.
    OtherLog,
}

/// A subscription that outlives its connections.
///
/// ```no_run
/// use resq::client::{Address, Delivery, Peer, Subscriber, Subscription};
///
/// # fn main() -> Result<(), resq::client::Error> {
/// let peer = Peer::new(Address::Tcp { host: "127.0.0.1".into(), port: 1300 }, "billing");
/// for delivery in Subscriber::connect(peer, Subscription::to(["Completed", "Error"]))? {
///     match delivery? {
///         Delivery::Event(event) => println!("{} {}", event.state, String::from_utf8_lossy(&event.payload)),
///         Delivery::Gap(gap) => eprintln!("lost: {gap:?}"),
///         Delivery::OtherLog => eprintln!("this is another event log"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscriber {
    peer: Peer,
    subscription: Subscription,
    position: Position,
    backoff: Backoff,
    link: Link,
}

#[derive(Debug)]
enum Link {
    /// `heard`: when the last byte came; `spoke`: when we sent one, which is what keeps the broker from dropping us.
    Up {
        connection: Box<Connection>,
        since: Instant,
        heard: Instant,
        spoke: Instant,
    },
    Down {
        retry_at: Instant,
    },
}

impl Subscriber {
    /// Connects and subscribes. From its return on no event is missed, and the connection is made again by itself
    /// whenever it breaks; only this first time a broker that is not there is an error.
    pub fn connect(peer: Peer, subscription: Subscription) -> Result<Subscriber, Error> {
        Subscriber::connect_deadline(peer, subscription, None)
    }

    /// The same, before the deadline; without one an attempt takes 20 s at most.
    pub fn connect_deadline(
        peer: Peer,
        subscription: Subscription,
        deadline: Option<Instant>,
    ) -> Result<Subscriber, Error> {
        for state in &subscription.states {
            Pattern::new(state).map_err(Error::Invalid)?;
        }
        let position = Position::new(subscription.since);
        let link = Link::Down { retry_at: Instant::now() };
        let mut subscriber =
            Subscriber { peer, subscription, position, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 0.5), link };
        subscriber.open(deadline)?;
        Ok(subscriber)
    }

    /// The next delivery, however long it takes. An error is a refusal that trying again is not likely to change;
    /// a caller that calls again nevertheless tries again, after a pause.
    pub fn recv(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.recv_deadline(None)? {
                return Ok(delivery);
            }
        }
    }

    /// The next delivery, or None if none comes within the time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        self.recv_deadline(Instant::now().checked_add(timeout))
    }

    /// The next delivery, or None if none comes before the deadline.
    pub fn recv_deadline(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>, Error> {
        loop {
            match self.step(deadline) {
                Ok(Step::Deliver(delivery)) => return Ok(Some(delivery)),
                Ok(Step::Wait) if deadline.is_some_and(|d| Instant::now() >= d) => return Ok(None),
                Ok(Step::Wait) => {}
                Err(e) => {
                    self.lose(&e);
                    if e.is_final() {
                        return Err(e);
                    }
                }
            }
        }
    }

    /// Tells the broker that this peer lives. For a caller that is busy with one event for long: call it at least
    /// every [`Subscriber::keep_alive_interval`]. A connection that broke is made again at the next `recv`.
    pub fn keep_alive(&mut self) {
        if let Link::Up { connection, spoke, .. } = &mut self.link
            && spoke.elapsed() >= connection.ping_interval / 3
        {
            *spoke = Instant::now();
            if let Err(e) = connection.send(&ClientMessage::Ping(0)) {
                self.lose(&e);
            }
        }
    }

    /// How often a busy caller calls [`Subscriber::keep_alive`].
    pub fn keep_alive_interval(&self) -> Duration {
        match &self.link {
            Link::Up { connection, .. } => (connection.ping_interval / 3).max(Duration::from_millis(10)),
            _ => PATIENCE,
        }
    }

    /// One thing: a message taken, a connection tried, or a wait that ended.
    fn step(&mut self, deadline: Option<Instant>) -> Result<Step, Error> {
        let now = Instant::now();
        match &mut self.link {
            Link::Down { retry_at } if *retry_at > now => {
                let until = deadline.map_or(*retry_at, |deadline| deadline.min(*retry_at));
                std::thread::sleep(until.saturating_duration_since(now));
                Ok(Step::Wait)
            }
            Link::Down { .. } => Ok(if self.open(deadline)? { Step::Deliver(Delivery::OtherLog) } else { Step::Wait }),
            Link::Up { connection, since, heard, spoke } => {
                let silent_at = *heard + silence(connection.ping_interval);
                let until = deadline.map_or(silent_at, |deadline| deadline.min(silent_at));
                let Some(message) = connection.next(Some(until))? else {
                    return match Instant::now() >= silent_at {
                        true => Err(connection.lost(std::io::Error::other("it is silent; not even a PING comes"))),
                        false => Ok(Step::Wait),
                    };
                };
                *heard = Instant::now();
                self.position.note(&message);
                if since.elapsed() > LONGEST_PAUSE {
                    // It lasted. One that is dropped again at once goes on with longer pauses.
                    self.backoff.reset();
                }
                Ok(match message {
                    Incoming::Event(event) => Step::Deliver(Delivery::Event(event)),
                    Incoming::Gap(gap) => Step::Deliver(Delivery::Gap(gap)),
                    Incoming::Ping(number) => {
                        connection.send(&ClientMessage::Pong(number))?;
                        *spoke = Instant::now();
                        Step::Wait
                    }
                    Incoming::Welcome { .. } | Incoming::Subscribed(_) | Incoming::Pong(_) => Step::Wait,
                })
            }
        }
    }

    /// Connects, subscribes and waits for SUBSCRIBED, all before the deadline. True: the broker has another log than before.
    fn open(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let left = || deadline.map_or(PATIENCE, |d| d.saturating_duration_since(Instant::now()).min(PATIENCE));
        let mut connection = Connection::open(&self.peer, Role::Subscriber, left())?;
        // On trial: if SUBSCRIBED does not come, the log has not been entered.
        let mut position = self.position;
        let other_log = position.enter(connection.log_id);
        let states = self.subscription.states.iter();
        let patterns = states.map(|s| Pattern::new(s)).collect::<Result<_, _>>().map_err(Error::Invalid)?;
        connection.send(&ClientMessage::Subscribe {
            resume_after: position.resume_after(),
            durable_only: self.subscription.durable_only,
            patterns,
        })?;
        let answer_by = Instant::now() + left();
        loop {
            match connection.next(Some(answer_by))? {
                Some(message @ Incoming::Subscribed(_)) => {
                    position.note(&message);
                    break;
                }
                Some(Incoming::Ping(number)) => connection.send(&ClientMessage::Pong(number))?,
                Some(_) => {}
                None => {
                    let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "it did not answer SUBSCRIBE");
                    return Err(connection.lost(late));
                }
            }
        }
        self.position = position;
        info!("subscribed at {}, after event {}", self.peer.address, position.resume_after().unwrap_or(0));
        let now = Instant::now();
        self.link = Link::Up { connection: Box::new(connection), since: now, heard: now, spoke: now };
        Ok(other_log)
    }

    fn lose(&mut self, error: &Error) {
        let pause = self.backoff.next(fastrand::f64());
        match self.link {
            Link::Up { .. } => warn!("{error}; connecting again"),
            Link::Down { .. } => debug!("{error}; next try in {pause:.1?}"),
        }
        self.link = Link::Down { retry_at: Instant::now() + pause };
    }
}

enum Step {
    Deliver(Delivery),
    Wait,
}

/// How long a broker that PINGs at this interval may be silent before the connection counts as dead.
fn silence(ping_interval: Duration) -> Duration {
    ping_interval * 2 + PATIENCE
}

/// Deliveries without end, as by [`Subscriber::recv`].
impl Iterator for Subscriber {
    type Item = Result<Delivery, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.recv())
    }
}

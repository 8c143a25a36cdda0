//! Receives events; reconnects and resumes by itself. Never starts a thread: PINGs are answered while the caller waits
//! for an event, and a caller that processes one for long calls [`Subscriber::keep_alive`]. With a [`Consumer`] the server
//! keeps the position, up to what the caller acknowledges.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::{
    Error, Event, Gap, Peer,
    connection::{Connection, HANDSHAKE_TIMEOUT, Incoming},
    position::Position,
};
use crate::{
    base::backoff::Backoff,
    wire::{ClientMessage, ConsumerName, Pattern, Role, Start},
};

/// Pauses between attempts to reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Which events a subscriber receives.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// 1 to 1,024 patterns: a state, a prefix followed by `*`, or `*` alone.
    pub states: Vec<String>,
    /// Where to begin; of a consumer, only if it is new.
    pub since: Start,
    /// Only durable events: those that a transaction committed, with a sequence number.
    pub durable_only: bool,
    /// Receive durable events from a position that the server keeps.
    pub consumer: Option<Consumer>,
}

/// A position that the server keeps. One connection at a time has it; a newer one takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// 1 to 64 of `A-Z a-z 0-9 _ . : -`.
    pub name: String,
    /// At most so many events are sent beyond the last one acknowledged: 1 to 10,000.
    pub max_unacked: u16,
}

impl Consumer {
    /// With room for 1,000 events that are not acknowledged.
    pub fn new(name: impl Into<String>) -> Consumer {
        Consumer { name: name.into(), max_unacked: 1_000 }
    }
}

impl Subscription {
    /// A subscription to these states, from now on.
    pub fn to<S: Into<String>>(states: impl IntoIterator<Item = S>) -> Subscription {
        Subscription { states: states.into_iter().map(Into::into).collect(), ..Subscription::default() }
    }
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An event that matches the subscription.
    Event(Event),
    /// Events that match the subscription and will not be delivered.
    Gap(Gap),
    /// After a reconnect the broker has a different event log (a new or restored database): delivery restarts at its
    /// beginning.
    OtherLog,
}

/// A subscription that outlives its connections. As an iterator it never ends.
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
///         Delivery::OtherLog => eprintln!("the broker has a different event log now"),
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
    acks: Acks,
}

/// What the caller has acknowledged on this connection.
#[derive(Clone, Copy, Debug, Default)]
struct Acks {
    up_to: u64,
    /// How many acknowledgements were not sent yet.
    unsent: u16,
}

#[derive(Debug)]
enum Link {
    /// Connected and subscribed `since`; the last message arrived at `received`, and the last one was sent at `sent`. The
    /// broker disconnects a client that sends nothing.
    Up {
        connection: Box<Connection>,
        since: Instant,
        received: Instant,
        sent: Instant,
    },
    Down {
        retry_at: Instant,
    },
}

impl Subscriber {
    /// Connects and subscribes, within 20 s. No durable event committed after it returns is missed: the subscriber
    /// reconnects whenever the connection breaks. Only this first attempt fails if the broker cannot be reached.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`]; [`Error::Invalid`] for a pattern or the peer's name.
    pub fn connect(peer: Peer, subscription: Subscription) -> Result<Subscriber, Error> {
        Subscriber::connect_deadline(peer, subscription, None)
    }

    /// As [`Subscriber::connect`], but before `deadline` if there is one.
    ///
    /// # Errors
    /// As [`Subscriber::connect`].
    pub fn connect_deadline(
        peer: Peer,
        subscription: Subscription,
        deadline: Option<Instant>,
    ) -> Result<Subscriber, Error> {
        for state in &subscription.states {
            Pattern::new(state).map_err(Error::Invalid)?;
        }
        if let Some(consumer) = &subscription.consumer {
            ConsumerName::new(&consumer.name).map_err(Error::Invalid)?;
        }
        let mut subscriber = Subscriber {
            peer,
            position: Position::new(subscription.since),
            subscription,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 0.5),
            link: Link::Down { retry_at: Instant::now() },
            acks: Acks::default(),
        };
        subscriber.open(deadline)?;
        Ok(subscriber)
    }

    /// Waits for the next delivery, however long it takes.
    ///
    /// # Errors
    /// Those for which [`Error::is_final`] is true; all others lead to a reconnect. Another call tries again, after a
    /// pause.
    pub fn recv(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.recv_deadline(None)? {
                return Ok(delivery);
            }
        }
    }

    /// The next delivery, or `None` if none arrives within `timeout`.
    ///
    /// # Errors
    /// As [`Subscriber::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        self.recv_deadline(Instant::now().checked_add(timeout))
    }

    /// The next delivery, or `None` if none arrives before `deadline`; without a deadline it waits forever.
    ///
    /// # Errors
    /// As [`Subscriber::recv`].
    pub fn recv_deadline(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>, Error> {
        loop {
            match self.step(deadline) {
                Ok(Step::Deliver(delivery)) => return Ok(Some(delivery)),
                Ok(Step::Wait) if deadline.is_some_and(|d| Instant::now() >= d) => return Ok(None),
                Ok(Step::Wait) => {}
                Err(e) => {
                    self.disconnect(&e);
                    if e.is_final() {
                        return Err(e);
                    }
                }
            }
        }
    }

    /// Sends the broker a sign of life. A caller that processes one event for long has to call this at least every
    /// [`Subscriber::keep_alive_interval`], or the broker disconnects it. If the connection is broken, the next `recv`
    /// reconnects.
    pub fn keep_alive(&mut self) {
        if let Link::Up { connection, sent, .. } = &mut self.link
            && sent.elapsed() >= connection.ping_interval / 3
        {
            *sent = Instant::now();
            if let Err(e) = connection.send(&ClientMessage::Ping(0)) {
                self.disconnect(&e);
            }
        }
    }

    /// A consumer is done with every event up to this number. Sent at once where half of what may be unacknowledged is, and
    /// otherwise before the next wait for an event. What was not sent when the connection breaks is delivered again.
    pub fn acknowledge(&mut self, seq: u64) {
        self.acks.up_to = self.acks.up_to.max(seq);
        self.acks.unsent = self.acks.unsent.saturating_add(1);
        let most = self.subscription.consumer.as_ref().map_or(0, |consumer| consumer.max_unacked / 2);
        if self.acks.unsent >= most {
            self.send_acknowledgement();
        }
    }

    /// Sends what was acknowledged and not sent yet.
    pub fn send_acknowledgement(&mut self) {
        if let Link::Up { connection, sent, .. } = &mut self.link
            && self.acks.unsent > 0
        {
            *sent = Instant::now();
            self.acks.unsent = 0;
            if let Err(e) = connection.send(&ClientMessage::Ack(self.acks.up_to)) {
                self.disconnect(&e);
            }
        }
    }

    /// Sends what was acknowledged and waits until the server has taken it, for at most `timeout`. To be called before the
    /// program ends; events that arrive meanwhile are not delivered. False: it may not have been taken.
    pub fn finish(&mut self, timeout: Duration) -> bool {
        const LAST: u64 = u64::MAX;
        self.send_acknowledgement();
        let Link::Up { connection, .. } = &mut self.link else { return false };
        let Some(deadline) = Instant::now().checked_add(timeout) else { return false };
        if connection.send(&ClientMessage::Ping(LAST)).is_err() {
            return false;
        }
        loop {
            match connection.next(Some(deadline)) {
                Ok(Some(Incoming::Pong(LAST))) => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Whether there is a connection, as far as is known without reading from it.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// How often a busy caller has to call [`Subscriber::keep_alive`].
    pub fn keep_alive_interval(&self) -> Duration {
        match &self.link {
            Link::Up { connection, .. } => (connection.ping_interval / 3).max(Duration::from_millis(10)),
            _ => HANDSHAKE_TIMEOUT,
        }
    }

    /// One step: a message received, one attempt to connect, or the end of a wait.
    fn step(&mut self, deadline: Option<Instant>) -> Result<Step, Error> {
        let now = Instant::now();
        if matches!(&self.link, Link::Up { connection, .. } if !connection.has_input()) {
            self.send_acknowledgement();
        }
        match &mut self.link {
            Link::Down { retry_at } if *retry_at > now => {
                let until = deadline.map_or(*retry_at, |deadline| deadline.min(*retry_at));
                std::thread::sleep(until.saturating_duration_since(now));
                Ok(Step::Wait)
            }
            Link::Down { .. } => Ok(if self.open(deadline)? { Step::Deliver(Delivery::OtherLog) } else { Step::Wait }),
            Link::Up { connection, since, received, sent } => {
                let silence = max_silence(connection.ping_interval);
                let silent_at = *received + silence;
                let until = deadline.map_or(silent_at, |deadline| deadline.min(silent_at));
                let Some(message) = connection.next(Some(until))? else {
                    return match Instant::now() >= silent_at {
                        true => Err(connection.lost(std::io::Error::other(format!(
                            "no data for {} s, not even a PING",
                            silence.as_secs()
                        )))),
                        false => Ok(Step::Wait),
                    };
                };
                *received = Instant::now();
                self.position.advance(&message);
                if since.elapsed() > LONGEST_PAUSE {
                    // Only a connection that lasted resets the pauses; one that is refused again at once does not.
                    self.backoff.reset();
                }
                Ok(match message {
                    Incoming::Event(event) => Step::Deliver(Delivery::Event(event)),
                    Incoming::Gap(gap) => Step::Deliver(Delivery::Gap(gap)),
                    Incoming::Ping(number) => {
                        connection.send(&ClientMessage::Pong(number))?;
                        *sent = Instant::now();
                        Step::Wait
                    }
                    Incoming::Welcome { .. } | Incoming::Subscribed(_) | Incoming::Consuming(_) | Incoming::Pong(_) => {
                        Step::Wait
                    }
                })
            }
        }
    }

    /// Connects, subscribes and waits for SUBSCRIBED, all before the deadline. True if the broker's log is a different one.
    fn open(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let left = || {
            deadline.map_or(HANDSHAKE_TIMEOUT, |d| d.saturating_duration_since(Instant::now()).min(HANDSHAKE_TIMEOUT))
        };
        let mut connection = Connection::open(&self.peer, Role::Subscriber, left())?;
        // A copy: without SUBSCRIBED the position remains unchanged.
        let mut position = self.position;
        let other_log = position.enter(connection.log_id);
        let states = self.subscription.states.iter();
        let patterns = states.map(|s| Pattern::new(s)).collect::<Result<_, _>>().map_err(Error::Invalid)?;
        connection.send(&match &self.subscription.consumer {
            None => ClientMessage::Subscribe {
                start: position.resume(),
                durable_only: self.subscription.durable_only,
                patterns,
            },
            Some(Consumer { name, max_unacked }) => ClientMessage::Consume {
                consumer: ConsumerName::new(name).map_err(Error::Invalid)?,
                start: self.subscription.since,
                max_unacked: *max_unacked,
                patterns,
            },
        })?;
        let answer_by = Instant::now() + left();
        loop {
            match connection.next(Some(answer_by))? {
                Some(message @ (Incoming::Subscribed(_) | Incoming::Consuming(_))) => {
                    position.advance(&message);
                    break;
                }
                Some(Incoming::Ping(number)) => connection.send(&ClientMessage::Pong(number))?,
                Some(_) => {}
                None => {
                    let late =
                        std::io::Error::new(std::io::ErrorKind::TimedOut, "it did not say where delivery begins");
                    return Err(connection.lost(late));
                }
            }
        }
        self.position = position;
        self.acks = Acks::default();
        if let Start::After(seq) = position.resume() {
            info!("subscribed at {}, after event {seq}", self.peer.address);
        }
        let now = Instant::now();
        self.link = Link::Up { connection: Box::new(connection), since: now, received: now, sent: now };
        Ok(other_log)
    }

    fn disconnect(&mut self, error: &Error) {
        let pause = self.backoff.next(fastrand::f64());
        match self.link {
            Link::Up { .. } => warn!("{error}; reconnecting"),
            Link::Down { .. } => debug!("{error}; retrying in {pause:.1?}"),
        }
        self.link = Link::Down { retry_at: Instant::now() + pause };
    }
}

enum Step {
    Deliver(Delivery),
    Wait,
}

/// How long a broker that sends a PING per interval may be silent before the connection is considered dead.
fn max_silence(ping_interval: Duration) -> Duration {
    ping_interval * 2 + HANDSHAKE_TIMEOUT
}

/// Endless; each item is the result of [`Subscriber::recv`].
impl Iterator for Subscriber {
    type Item = Result<Delivery, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.recv())
    }
}

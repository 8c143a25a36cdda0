//! The threads of watched tables. One daemon of many, which has the lease, reads the binary log from the stored position:
//! one thread decodes, another numbers what was decoded together with the new position. Whatever fails ends the session;
//! the next one, of this daemon or another, goes on from the position that was stored with the last events.

use std::{io, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::{
    charset::ServerCharsets,
    conditions, decoded,
    numbering::{Numbering, SAVE_EVERY},
    payload::Rules,
    pending::BATCH_BYTES,
    position::{self, FOREIGN, Position},
    text::quoted,
    transactions::{GAP, NewEvent, Transactions},
    wakeups::Broken,
    watch_reader, watch_store as store,
};
use crate::{
    base::{
        heartbeat,
        threads::{Alarm, Thread},
    },
    db::{
        BACKOFF, Db, Error, Link, ThrottledWarning,
        dump::{DumpSource, Start},
    },
    events::numbered::HandOver,
    wire::MAX_PAYLOAD,
};

/// Connections that the two threads need of the pool.
pub const CONNECTIONS: u32 = 2;
/// How often a daemon that does not read tries to take the lease.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// How long the threads may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How the threads work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is watched.
    pub rules: Rules,
    /// This daemon, as the lease names it.
    pub owner: String,
    /// `max_allowed_packet` of the server, in bytes.
    pub max_packet_bytes: usize,
}

/// The running threads.
pub struct Watcher {
    thread: Thread,
    broken: Broken,
}

impl Watcher {
    /// Starts the threads. Events that got numbers are passed to `hand_over`.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        db: &Db,
        source: DumpSource,
        settings: Settings,
        hand_over: HandOver,
        alarm: &Alarm,
    ) -> io::Result<Watcher> {
        let broken = Broken::default();
        let role = Role {
            db: db.clone(),
            link: Link::new(db),
            source: Arc::new(source),
            settings,
            hand_over,
            alarm: alarm.clone(),
            broken: broken.clone(),
            has_read: false,
            warning: ThrottledWarning::default(),
        };
        let thread = Thread::spawn_stoppable("watch", alarm, move |stopped| role.run(&stopped))?;
        Ok(Watcher { thread, broken })
    }

    /// Why the log is not read, while it is not.
    pub fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// Ends the threads, so that another daemon goes on at once.
    pub fn stop(self) {
        self.thread.stop(STOP_TIMEOUT);
    }
}

struct Role {
    db: Db,
    link: Link,
    source: Arc<DumpSource>,
    settings: Settings,
    hand_over: HandOver,
    alarm: Alarm,
    broken: Broken,
    /// Something was read since the last failure.
    has_read: bool,
    warning: ThrottledWarning,
}

/// Why a session ended.
enum Ended {
    /// The daemon stops.
    Stopped,
    /// Another daemon has the lease.
    Elsewhere,
    Failed(Error),
    /// The server does not have what follows the position; why.
    Lost(Box<Position>, String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        match error {
            Error::Corrupt(store::DISPLACED) => Ended::Elsewhere,
            error => Ended::Failed(error),
        }
    }
}

impl Role {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut backoff = BACKOFF;
        loop {
            heartbeat::working();
            let ended = self.session(stopped);
            if std::mem::take(&mut self.has_read) {
                backoff.reset();
            }
            let pause = match ended {
                Ended::Stopped => {
                    let owner = self.settings.owner.clone();
                    // The lease runs out by itself as well.
                    let _ = self.link.run(|conn| store::release(conn, &owner));
                    return;
                }
                Ended::Elsewhere => {
                    self.broken.set(None);
                    CLAIM_EVERY
                }
                Ended::Lost(from, why) => match self.skip(&from, &why) {
                    // The first pause is short; they grow where the server goes on to refuse what it has.
                    Ok(()) => backoff.next(fastrand::f64()),
                    Err(error) => self.failed(&error, backoff.next(fastrand::f64())),
                },
                Ended::Failed(error) => self.failed(&error, backoff.next(fastrand::f64())),
            };
            heartbeat::waiting();
            if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) && pause > Duration::ZERO {
                let owner = self.settings.owner.clone();
                let _ = self.link.run(|conn| store::release(conn, &owner));
                return;
            }
        }
    }

    fn failed(&mut self, error: &Error, pause: Duration) -> Duration {
        self.broken.set(Some(error.to_string()));
        self.warning.warn("watched tables: cannot read their changes, which wait in the binary log", error);
        pause
    }

    /// Reads from the stored position until something ends that.
    fn session(&mut self, stopped: &Receiver<()>) -> Ended {
        let ended = self.read_on(stopped);
        self.hand_over.close();
        match ended {
            Ok(ended) | Err(ended) => ended,
        }
    }

    fn read_on(&mut self, stopped: &Receiver<()>) -> Result<Ended, Ended> {
        let owner = self.settings.owner.clone();
        let Some(stored) = self.link.run(|conn| store::claim(conn, &owner))? else { return Ok(Ended::Elsewhere) };
        self.hand_over.open();
        let missing = self.link.run(conditions::missing)?;
        if !missing.is_empty() {
            return Err(Error::NotReady(missing.join("; ")).into());
        }
        let mut position = match stored {
            Some(position) => position,
            None => {
                let begin = self.link.run(Position::current)?;
                self.link.run(|conn| store::save(conn, &owner, &begin))?;
                log::info!("watched tables: reading their changes from now on, {}", begin.describe());
                begin
            }
        };
        let Some(start) = self.link.run(|conn| position.start(conn))? else {
            return Err(Ended::Lost(position.into(), FOREIGN.into()));
        };
        self.link.run(store::clear_staged)?;
        let (sender, decoded) = decoded::decoded();
        let _reader = self.spawn_reader(start, sender)?;
        log::debug!("watched tables: reading from {}", position.describe());
        let mut numbering = Numbering::new(&mut self.link, &owner, &self.hand_over, position);
        loop {
            heartbeat::waiting();
            let has_ended = select! {
                recv(stopped) -> _ => return Ok(Ended::Stopped),
                recv(decoded.arrived) -> arrived => arrived.is_err(),
                // Within a long transaction of other tables, nothing arrives.
                default(SAVE_EVERY) => {
                    heartbeat::working();
                    numbering.take(Vec::new())?;
                    continue;
                }
            };
            let pause = numbering.pause();
            if !pause.is_zero()
                && !decoded.has(BATCH_BYTES)
                && stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
            {
                return Ok(Ended::Stopped);
            }
            heartbeat::working();
            let (items, error) = decoded.take();
            numbering.take(items)?;
            match error {
                Some(error) => {
                    let mut position = numbering.position;
                    if position.leave_gtids(&error) {
                        self.link.run(|conn| store::save(conn, &owner, &position))?;
                    }
                    return Err(match position::lost(&error) {
                        Some(why) => Ended::Lost(position.into(), why.into()),
                        None => error.into(),
                    });
                }
                None if has_ended => {
                    return Err(Error::NotReady("the thread that decodes the binary log has ended".into()).into());
                }
                None => {}
            }
            self.broken.set(None);
            self.has_read = true;
        }
    }

    /// Announces that changes are lost, and goes on from the end of the log.
    fn skip(&mut self, from: &Position, why: &str) -> Result<(), Error> {
        let to = self.link.run(Position::current)?;
        let mut payload = b"{\"reason\":".to_vec();
        quoted(why, &mut payload);
        for (name, position) in [("from", from), ("to", &to)] {
            payload.extend(format!(",\"{name}\":").bytes());
            quoted(&position.describe(), &mut payload);
        }
        payload.push(b'}');
        log::warn!(
            "watched tables: the binary log does not have what follows {} ({why}); announcing resq.watch_gap, reading on from {}",
            from.describe(),
            to.describe()
        );
        let at_us = self.link.run(store::now_us)?;
        let events = [NewEvent::new(GAP, payload, at_us)];
        let owner = &self.settings.owner;
        self.link.run(|conn| store::number(conn, owner, &events, &to))?;
        self.hand_over.announce();
        Ok(())
    }

    fn spawn_reader(&self, start: Start, sender: decoded::Sender) -> Result<Thread, Error> {
        let source = self.source.clone();
        let limit = MAX_PAYLOAD;
        let mut transactions = Transactions::new(self.settings.rules.clone(), limit, self.settings.max_packet_bytes);
        let mut charsets = ServerCharsets::new(Link::new(&self.db));
        let body = move || {
            if let Err(error) = watch_reader::read(&source, &start, &mut transactions, &mut charsets, &sender) {
                sender.end(error);
            }
        };
        Thread::spawn("watch reader", &self.alarm, body).map_err(|error| {
            Error::Unavailable(format!("cannot start the thread that decodes the binary log: {error}"))
        })
    }
}

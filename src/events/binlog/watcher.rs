//! The threads of watched tables. One daemon of many, which has the lease, reads the binary log from the stored position:
//! one thread decodes, another numbers what was decoded together with the new position. Whatever fails ends the session;
//! the next one, of this daemon or another, goes on from the position that was stored with the last events.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use super::{
    charset::ServerCharsets,
    conditions,
    payload::Rules,
    position::{self, FOREIGN, Position},
    text::quoted,
    transactions::{GAP, Item, NewEvent, Step, Transactions},
    wakeups::Broken,
    watch_reader, watch_store as store,
};
use crate::{
    base::{
        clock::now,
        heartbeat,
        threads::{Alarm, Thread},
        wakeup::Wakeup,
    },
    db::{
        BACKOFF, Db, Error, Link, ThrottledWarning,
        dump::{DumpSource, Start},
    },
    wire::MAX_PAYLOAD,
};

/// Connections that the two threads need of the pool.
pub const CONNECTIONS: u32 = 2;
/// Events numbered in one transaction, unless one transaction of the log has more; those of a larger one are staged.
const BATCH: usize = 2000;
/// The same for bytes of payload.
const BATCH_BYTES: usize = 4 << 20;
/// Pieces that are decoded and not written yet.
const DECODED: usize = 32;
/// How often a daemon that does not read tries to take the lease.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// How often the lease is renewed, and the position stored, while nothing is to be numbered.
const SAVE_EVERY: Duration = Duration::from_secs(2);
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
    /// Starts the threads. `numbered` is notified after events got numbers.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        db: &Db,
        source: DumpSource,
        settings: Settings,
        numbered: Wakeup,
        alarm: &Alarm,
    ) -> io::Result<Watcher> {
        let broken = Broken::default();
        let role = Role {
            db: db.clone(),
            link: Link::new(db),
            source: Arc::new(source),
            settings,
            numbered,
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
    numbered: Wakeup,
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

/// What was decoded and is not numbered yet.
#[derive(Default)]
struct Pending {
    /// Of whole transactions.
    ready: Vec<NewEvent>,
    /// Of the transaction that is still being read.
    open: Vec<NewEvent>,
    bytes: usize,
    /// Of that transaction, already in the database.
    staged: u64,
}

impl Pending {
    fn is_full(&self) -> bool {
        self.ready.len() + self.open.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, events: Vec<NewEvent>) {
        self.bytes += events.iter().map(|event| event.payload.len()).sum::<usize>();
        self.open.extend(events);
    }

    fn end(&mut self) {
        self.ready.append(&mut self.open);
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
                    Ok(()) => Duration::ZERO,
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
        match self.read_on(stopped) {
            Ok(ended) | Err(ended) => ended,
        }
    }

    fn read_on(&mut self, stopped: &Receiver<()>) -> Result<Ended, Ended> {
        let owner = self.settings.owner.clone();
        let Some(stored) = self.link.run(|conn| store::claim(conn, &owner))? else { return Ok(Ended::Elsewhere) };
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
        let (sender, decoded) = bounded(DECODED);
        let _reader = self.spawn_reader(start, sender)?;
        log::debug!("watched tables: reading from {}", position.describe());
        let mut pending = Pending::default();
        let mut saved = now();
        loop {
            heartbeat::waiting();
            let item = select! {
                recv(stopped) -> _ => return Ok(Ended::Stopped),
                recv(decoded) -> item => item,
            };
            heartbeat::working();
            let mut next = item.map_err(|_| Error::NotReady("the thread that decodes the binary log has ended".into()));
            loop {
                match next.and_then(|item| item) {
                    Ok(item) => self.take(item, &mut pending, &mut position)?,
                    Err(error) => {
                        self.flush(&mut pending, &position, &mut saved)?;
                        if position.leave_gtids(&error) {
                            self.link.run(|conn| store::save(conn, &owner, &position))?;
                        }
                        return Err(match position::lost(&error) {
                            Some(why) => Ended::Lost(position.into(), why.into()),
                            None => error.into(),
                        });
                    }
                }
                if pending.is_full() {
                    break;
                }
                match decoded.try_recv() {
                    Ok(item) => next = Ok(item),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.broken.set(None);
            self.has_read = true;
            self.flush(&mut pending, &position, &mut saved)?;
        }
    }

    /// One decoded piece. What belongs to a large transaction is staged, and numbered at its end.
    fn take(&mut self, item: Item, pending: &mut Pending, position: &mut Position) -> Result<(), Ended> {
        match item {
            Item::Idle => {}
            Item::Piece(events) => pending.add(events),
            Item::RolledBack(step) => {
                pending.open.clear();
                if pending.staged > 0 {
                    self.link.run(store::clear_staged)?;
                    pending.staged = 0;
                }
                position.advance(&step);
            }
            Item::End(events, step) => {
                pending.add(events);
                if pending.staged == 0 {
                    pending.end();
                    position.advance(&step);
                } else {
                    self.end_staged(pending, position, &step)?;
                }
            }
        }
        Ok(())
    }

    fn end_staged(&mut self, pending: &mut Pending, position: &mut Position, step: &Step) -> Result<(), Ended> {
        self.stage(pending)?;
        position.advance(step);
        let (owner, staged) = (&self.settings.owner, pending.staged);
        self.link.run(|conn| store::number_staged(conn, owner, staged, position))?;
        self.numbered.notify();
        pending.staged = 0;
        Ok(self.link.run(store::clear_staged)?)
    }

    fn stage(&mut self, pending: &mut Pending) -> Result<(), Ended> {
        let (owner, open, staged) = (&self.settings.owner, &pending.open, pending.staged);
        if !open.is_empty() {
            self.link.run(|conn| store::stage(conn, owner, open, staged))?;
        }
        pending.staged += pending.open.len() as u64;
        pending.open.clear();
        pending.bytes = 0;
        Ok(())
    }

    /// Numbers what is ready; stages what is open and large; stores the position now and then where there is neither.
    fn flush(&mut self, pending: &mut Pending, position: &Position, saved: &mut Instant) -> Result<(), Ended> {
        let owner = &self.settings.owner;
        if !pending.ready.is_empty() {
            let ready = &pending.ready;
            self.link.run(|conn| store::number(conn, owner, ready, position))?;
            self.numbered.notify();
            pending.ready.clear();
            pending.bytes = pending.open.iter().map(|event| event.payload.len()).sum();
            *saved = now();
        }
        if pending.is_full() {
            self.stage(pending)?;
            *saved = now();
        }
        if now() - *saved >= SAVE_EVERY {
            let owner = &self.settings.owner;
            self.link.run(|conn| store::save(conn, owner, position))?;
            *saved = now();
        }
        Ok(())
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
        let events = [NewEvent { state: GAP.into(), payload, at_us }];
        let owner = &self.settings.owner;
        self.link.run(|conn| store::number(conn, owner, &events, &to))?;
        self.numbered.notify();
        Ok(())
    }

    fn spawn_reader(&self, start: Start, sender: Sender<Result<Item, Error>>) -> Result<Thread, Error> {
        let source = self.source.clone();
        let limit = MAX_PAYLOAD;
        let mut transactions = Transactions::new(self.settings.rules.clone(), limit, self.settings.max_packet_bytes);
        let mut charsets = ServerCharsets::new(Link::new(&self.db));
        let body = move || {
            if let Err(error) = watch_reader::read(&source, &start, &mut transactions, &mut charsets, &sender) {
                // Without a receiver, the session has ended already.
                let _ = sender.send(Err(error));
            }
        };
        Thread::spawn("watch reader", &self.alarm, body).map_err(|error| {
            Error::Unavailable(format!("cannot start the thread that decodes the binary log: {error}"))
        })
    }
}

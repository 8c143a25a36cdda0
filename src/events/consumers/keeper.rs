//! The role that keeps consumers' positions: takes consumers over, stores positions in batches, and notices when another
//! daemon or an operator has taken a consumer away. Never waits: its thread does, between one turn and the next.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Claim, ConsumerAnswer, ConsumerRequest, Loss, Progress, Taken};
use crate::{
    base::{backoff::Backoff, clock::now},
    db::{BACKOFF, Error, ThrottledWarning},
};

/// How often it is checked whether consumers are still held, while any is.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Checking takes at most this part of the time.
const CHECK_SHARE: u32 = 20;

/// What the keeper asks of the database.
///
/// # Errors
/// An error leaves nothing half done. A call that lost a race for locks was repeated already; after a lost connection it is
/// unknown whether the call took effect.
pub trait ConsumerStore: Send {
    /// Takes a consumer over, or creates it. None: there are too many.
    fn take(&mut self, claim: &Claim) -> Result<Option<Taken>, Error>;

    /// The number after which the events from this time on follow.
    fn locate(&mut self, unix_time_us: u64) -> Result<u64, Error>;

    /// Writes the positions of those that still hold their consumers.
    fn store(&mut self, progress: &[Progress]) -> Result<(), Error>;

    /// Of these holders, those that are none any more, and why.
    fn lost(&mut self, held: &BTreeMap<Box<str>, u64>) -> Result<Vec<(Box<str>, Loss)>, Error>;
}

/// Takes, stores and checks, one turn at a time.
pub struct Keeper {
    store: Box<dyn ConsumerStore>,
    answer: Box<dyn Fn(ConsumerAnswer) + Send>,
    /// The consumers of this daemon's connections, with their holders.
    held: BTreeMap<Box<str>, u64>,
    /// Kept until stored, also while the server is lost; of each consumer the newest.
    unsaved: BTreeMap<Box<str>, Progress>,
    next_check: Instant,
    retry_at: Option<Instant>,
    backoff: Backoff,
    warning: ThrottledWarning,
}

impl Keeper {
    /// Holds nothing yet.
    pub fn new(store: Box<dyn ConsumerStore>, answer: impl Fn(ConsumerAnswer) + Send + 'static) -> Keeper {
        Keeper {
            store,
            answer: Box::new(answer),
            held: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            next_check: now(),
            retry_at: None,
            backoff: BACKOFF,
            warning: ThrottledWarning::default(),
        }
    }

    /// Carries out a request; positions are stored in the next turn, or before a consumer is taken.
    pub fn requested(&mut self, request: ConsumerRequest) {
        match request {
            ConsumerRequest::Store(progress) => progress.into_iter().for_each(|progress| self.note(progress)),
            ConsumerRequest::Locate { ticket, unix_time_us } => {
                let located = self.store.locate(unix_time_us);
                let located = located.map(|after_seq| ConsumerAnswer::Located { ticket, after_seq });
                self.answer(ticket, located);
            }
            ConsumerRequest::Take { ticket, claim } => {
                // The connection that it is taken from may have acknowledged more than is stored.
                let is_current = if self.unsaved.contains_key(&claim.name) { self.save() } else { Ok(()) };
                let taken = is_current.and_then(|()| self.store.take(&claim));
                let answer = taken.map(|taken| match taken {
                    Some(taken) => {
                        self.held.insert(claim.name, taken.holder);
                        ConsumerAnswer::Taken { ticket, taken }
                    }
                    None => ConsumerAnswer::Failed { ticket, is_full: true },
                });
                self.answer(ticket, answer);
            }
        }
    }

    fn note(&mut self, progress: Progress) {
        if self.held.get(&progress.name) != Some(&progress.holder) {
            return;
        }
        if progress.is_last {
            self.held.remove(&progress.name);
        }
        self.unsaved.insert(progress.name.clone(), progress);
    }

    fn answer(&mut self, ticket: u64, answer: Result<ConsumerAnswer, Error>) {
        (self.answer)(answer.unwrap_or_else(|error| {
            self.warning.warn("consumers: cannot read where one begins", &error);
            ConsumerAnswer::Failed { ticket, is_full: false }
        }));
    }

    /// Does what is due. Returns when the next turn is due unless a request arrives first; None: not before.
    pub fn turn(&mut self) -> Option<Instant> {
        if self.retry_at.is_none_or(|at| at <= now()) {
            match self.save().and_then(|()| self.check()) {
                Ok(()) => {
                    self.backoff.reset();
                    self.retry_at = None;
                }
                Err(error) => {
                    self.warning.warn("consumers: cannot store positions", &error);
                    self.retry_at = Some(now() + self.backoff.next(fastrand::f64()));
                }
            }
        }
        self.retry_at.or_else(|| (!self.held.is_empty()).then_some(self.next_check))
    }

    /// Stores what is left, once.
    pub fn end(mut self) {
        if let Err(error) = self.save() {
            log::warn!(
                "consumers: could not store the last positions before stopping, {error}; what was acknowledged since the \
                 ones before is delivered again"
            );
        }
    }

    fn save(&mut self) -> Result<(), Error> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        let progress: Vec<Progress> = self.unsaved.values().cloned().collect();
        self.store.store(&progress)?;
        self.unsaved.clear();
        Ok(())
    }

    fn check(&mut self) -> Result<(), Error> {
        let started = now();
        if self.held.is_empty() || started < self.next_check {
            return Ok(());
        }
        for (name, loss) in self.store.lost(&self.held)? {
            if let Some(holder) = self.held.remove(&name) {
                (self.answer)(ConsumerAnswer::Lost { name, holder, loss });
            }
        }
        self.next_check = now() + CHECK_EVERY.max((now() - started) * CHECK_SHARE);
        Ok(())
    }
}

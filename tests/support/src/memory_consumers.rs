//! Consumers' positions in memory, for tests of the broker without a database. Its thread answers the broker's requests;
//! positions outlive a broker that is stopped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use resq::{
    events::consumers::{ConsumerAnswer, ConsumerRequest, ConsumersEnd, Loss, Progress, Taken},
    wire::Start,
};

use crate::MemoryLog;

/// The consumers of one log.
#[derive(Clone, Default)]
pub struct MemoryConsumers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// The last holder and the position, by name.
    consumers: BTreeMap<Box<str>, Taken>,
    holders: u64,
    /// Consumers that were taken, in their order.
    taken: Vec<Box<str>>,
    end: Option<ConsumersEnd>,
}

impl MemoryConsumers {
    /// Answers a broker's requests until it ends.
    pub fn serve(&self, end: ConsumersEnd, log: &MemoryLog) {
        let (serving, log) = (self.clone(), log.clone());
        self.lock().end = Some(end.clone());
        thread::spawn(move || end.requests.iter().for_each(|request| serving.carry_out(request, &end, &log)));
    }

    /// The stored position.
    pub fn position(&self, name: &str) -> Option<u64> {
        self.lock().consumers.get(name).map(|taken| taken.position)
    }

    /// How often this consumer was taken.
    pub fn taken(&self, name: &str) -> usize {
        self.lock().taken.iter().filter(|taken| &***taken == name).count()
    }

    /// As an operator moves a consumer, or (None) removes it, or another daemon takes it over.
    pub fn take_away(&self, name: &str, position: Option<u64>, loss: Loss) {
        let mut kept = self.lock();
        let Some(Taken { holder, .. }) = kept.consumers.remove(name) else { return };
        if let Some(position) = position {
            kept.holders += 1;
            let holder = kept.holders;
            kept.consumers.insert(name.into(), Taken { holder, position });
        }
        let end = kept.end.clone();
        drop(kept);
        if let Some(end) = end {
            end.answer(ConsumerAnswer::Lost { name: name.into(), holder, loss });
        }
    }

    fn carry_out(&self, request: ConsumerRequest, end: &ConsumersEnd, log: &MemoryLog) {
        match request {
            ConsumerRequest::Locate { ticket, unix_time_us } => {
                end.answer(ConsumerAnswer::Located { ticket, after_seq: log.before(unix_time_us) });
            }
            ConsumerRequest::Take { ticket, claim } => {
                let beginning = match claim.start {
                    Start::Now => claim.head_seq,
                    Start::Beginning => log.first_seq() - 1,
                    Start::After(seq) => seq,
                    Start::Time(unix_time_us) => log.before(unix_time_us),
                };
                let mut kept = self.lock();
                kept.holders += 1;
                let holder = kept.holders;
                kept.taken.push(claim.name.clone());
                let taken = kept.consumers.entry(claim.name).or_insert(Taken { holder, position: beginning });
                taken.holder = holder;
                let taken = *taken;
                drop(kept);
                end.answer(ConsumerAnswer::Taken { ticket, taken });
            }
            ConsumerRequest::Store(progress) => {
                let mut kept = self.lock();
                for Progress { name, holder, position, .. } in progress {
                    if let Some(taken) = kept.consumers.get_mut(&name).filter(|taken| taken.holder == holder) {
                        assert!(taken.position <= position, "the position of {name} goes back");
                        taken.position = position;
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

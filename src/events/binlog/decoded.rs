//! What was decoded, on its way to the thread that numbers it, which takes all there is at once. Bounded by bytes: the
//! thread that decodes waits while there are too many.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, TryRecvError};

use super::transactions::Item;
use crate::{
    base::wakeup::{Wakeup, wakeup},
    db::Error,
};

/// Bytes that wait, unless one piece has more.
const WAITING_BYTES: usize = 4 << 20;
/// What a piece takes besides its payloads, about.
const ITEM_BYTES: usize = 256;

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Item>,
    bytes: usize,
    /// Nothing follows.
    ended: Option<Error>,
}

/// The end of the thread that decodes.
#[derive(Debug)]
pub struct Sender {
    waiting: Arc<Mutex<Waiting>>,
    arrived: Wakeup,
    taken: Receiver<()>,
}

/// The end of the thread that numbers.
#[derive(Debug)]
pub struct Decoded {
    waiting: Arc<Mutex<Waiting>>,
    taken: Wakeup,
    /// Notified when there is something to [`take`](Decoded::take); disconnected when nothing follows.
    pub arrived: Receiver<()>,
}

/// Both ends.
pub fn decoded() -> (Sender, Decoded) {
    let waiting = Arc::<Mutex<Waiting>>::default();
    let (arrived, arrivals) = wakeup();
    let (taken, room) = wakeup();
    (Sender { waiting: waiting.clone(), arrived, taken: room }, Decoded { waiting, taken, arrived: arrivals })
}

impl Sender {
    /// Passes a piece on; waits until there is room for it. False: the other end is gone.
    pub fn send(&self, item: Item) -> bool {
        loop {
            if self.taken.try_recv() == Err(TryRecvError::Disconnected) {
                return false;
            }
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.items.is_empty() || waiting.bytes < WAITING_BYTES {
                waiting.bytes += ITEM_BYTES + item.bytes();
                waiting.items.push(item);
                drop(waiting);
                self.arrived.notify();
                return true;
            }
            drop(waiting);
            if self.taken.recv().is_err() {
                return false;
            }
        }
    }

    /// Passes on why nothing follows.
    pub fn end(self, error: Error) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(error);
    }
}

impl Decoded {
    /// Whether at least so many bytes wait.
    pub fn has(&self, bytes: usize) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).bytes >= bytes
    }

    /// All that has arrived, and why nothing follows, if so.
    pub fn take(&self) -> (Vec<Item>, Option<Error>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        let taken = (std::mem::take(&mut waiting.items), waiting.ended.take());
        drop(waiting);
        self.taken.notify();
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::transactions::{NewEvent, Step},
        *,
    };

    fn large(n: u64) -> Item {
        let payload = "x".repeat(WAITING_BYTES / 2 + 1);
        Item::End(vec![NewEvent { state: "a".into(), payload, at_us: n }], Step::default())
    }

    #[test]
    fn sender_waits_for_room_and_order_is_kept() {
        let (sender, decoded) = decoded();
        let all: Vec<Item> = (0..9).map(large).collect();
        let sent = all.clone();
        let thread = thread::spawn(move || {
            assert!(sent.into_iter().all(|item| sender.send(item)));
            sender.end(Error::Corrupt("over"));
        });
        let (mut received, mut ended) = (Vec::new(), None);
        while ended.is_none() {
            let _ = decoded.arrived.recv();
            let (items, end) = decoded.take();
            assert!(items.len() <= 2, "{} wait at once", items.len());
            received.extend(items);
            ended = end;
        }
        thread.join().unwrap();
        assert!(received == all && decoded.arrived.recv().is_err());
    }

    #[test]
    fn sender_learns_that_nothing_is_received_any_more() {
        let (sender, decoded) = decoded();
        assert!(sender.send(large(1)) && sender.send(large(2)));
        let waiting = thread::spawn(move || sender.send(large(3)));
        drop(decoded);
        assert!(!waiting.join().unwrap());
    }
}

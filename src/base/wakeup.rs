//! A coalescing notification between threads: notifications sent before the receiver runs merge into one, and sending
//! never blocks. It carries no data, so it cannot be stale.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The sending half; any number of threads hold a clone.
#[derive(Clone, Debug)]
pub struct Wakeup(Sender<()>);

/// A wakeup and its receiving half, which is a channel to be used in `select!` or `recv_timeout`.
pub fn wakeup() -> (Wakeup, Receiver<()>) {
    let (sender, receiver) = bounded(1);
    (Wakeup(sender), receiver)
}

impl Wakeup {
    /// Wakes the receiver, now or the next time it waits.
    pub fn notify(&self) {
        // Full: it is notified already. Disconnected: it has ended.
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_merge_and_outlive_the_receiver() {
        let (wakeup, receiver) = wakeup();
        wakeup.notify();
        wakeup.notify();
        assert!(receiver.try_recv().is_ok() && receiver.try_recv().is_err());
        drop(receiver);
        wakeup.notify();
    }
}

//! A coalescing wake-up between threads: ringing twice before anybody looks is ringing once, and ringing never
//! blocks. It carries no data, so nobody can be told anything false by it.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The rope. Any number of threads hold a clone.
#[derive(Clone, Debug)]
pub struct Wakeup(Sender<()>);

/// A new wakeup and the ear that hears it; the ear is a channel, to be used in `select!` or `recv_timeout`.
pub fn wakeup() -> (Wakeup, Receiver<()>) {
    let (rope, ear) = bounded(1);
    (Wakeup(rope), ear)
}

impl Wakeup {
    pub fn notify(&self) {
        // Full means that it has rung already; disconnected means that nobody cares any more.
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringing_twice_is_ringing_once() {
        let (rope, ear) = wakeup();
        rope.notify();
        rope.notify();
        assert!(ear.try_recv().is_ok() && ear.try_recv().is_err());
        drop(ear);
        rope.notify();
    }
}

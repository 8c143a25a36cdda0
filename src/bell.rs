//! A coalescing wake-up between threads: ringing twice before anybody looks is ringing once, and ringing never
//! blocks. It carries no data, so nobody can be told anything false by it.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The rope. Any number of threads hold a clone.
#[derive(Clone, Debug)]
pub struct Bell(Sender<()>);

/// A new bell and the ear that hears it; the ear is a channel, to be used in `select!` or `recv_timeout`.
pub fn bell() -> (Bell, Receiver<()>) {
    let (rope, ear) = bounded(1);
    (Bell(rope), ear)
}

impl Bell {
    pub fn ring(&self) {
        // Full means that it has rung already; disconnected means that nobody cares any more.
        let _ = self.0.try_send(());
    }
}

//! What an actor waits for in place of a thread's `select!`.

use crossbeam_channel::{Receiver, TryRecvError};

use super::simulation::wait;

/// Waits like a `select!` on channels that only wake.
pub fn wait_for_any(until_us: u64, inputs: &[&Receiver<()>]) {
    let inputs: Vec<Receiver<()>> = inputs.iter().map(|&input| input.clone()).collect();
    wait(until_us, Some(Box::new(move || inputs.iter().any(|input| !input.is_empty() || is_disconnected(input)))));
}

/// Whether the sender of a stop channel, which never carries a message, is gone.
pub fn is_disconnected(stop: &Receiver<()>) -> bool {
    stop.is_empty() && stop.capacity() == Some(0) && stop.try_recv() == Err(TryRecvError::Disconnected)
}

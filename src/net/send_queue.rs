//! The send queue of one connection: frames of RSQ/1, shared with the other connections that get the same event.

use crate::base::send_queue;
use crate::wire::ServerMessage;
use std::sync::Arc;

pub use send_queue::Flow;

/// Frames on their way to one peer.
pub type SendQueue = send_queue::SendQueue<Arc<[u8]>>;

impl SendQueue {
    /// Encodes one message and appends it.
    pub fn push_message(&mut self, message: &ServerMessage<'_>) {
        let mut frame = Vec::with_capacity(64);
        message.encode(&mut frame);
        self.push(frame.into(), ());
    }
}

//! What is on its way to one peer: whole frames in order, shared with the other peers that get them, and how far the
//! first of them has been written. Decides nothing about what belongs in it.

use crate::fanout::limits::WRITE_BUDGET;
use crate::wire::ServerMessage;
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Write},
    sync::Arc,
};

/// The kernel takes no more pieces in one call.
const MAX_PIECES: usize = 1_024;

/// Above this many places an empty queue gives its memory back.
const IDLE_PLACES: usize = 64;

#[derive(Default)]
pub struct SendQueue {
    frames: VecDeque<Arc<[u8]>>,
    /// Bytes of the first frame that are written.
    head_written: usize,
    /// Bytes that are not.
    bytes: usize,
    /// Bytes written since the connection began.
    written: u64,
}

/// Why writing ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// All is written.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// It would, but others have their turn.
    Paused,
}

impl SendQueue {
    pub fn push(&mut self, frame: Arc<[u8]>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub fn push_message(&mut self, message: &ServerMessage<'_>) {
        let mut frame = Vec::with_capacity(64);
        message.encode(&mut frame);
        self.push(frame.into());
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// An empty queue takes any one frame, so that every event can be delivered.
    pub fn has_room(&self, frame_bytes: usize, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + frame_bytes <= limit
    }

    /// Bytes written since the connection began.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What [`Self::written`] will be when the last byte queued now has gone.
    pub fn end(&self) -> u64 {
        self.written + self.bytes as u64
    }

    /// Drops what is queued, but finishes a frame that the peer has the beginning of.
    pub fn cut(&mut self) {
        self.frames.truncate(usize::from(self.head_written > 0));
        self.bytes = self.frames.front().map_or(0, |head| head.len() - self.head_written);
    }

    /// Writes many frames a call until the socket blocks, all is written or the budget is used up.
    pub fn write_to(&mut self, socket: &mut impl Write) -> io::Result<Flow> {
        let mut budget = WRITE_BUDGET;
        while budget > 0 {
            let Some(head) = self.frames.front() else { return Ok(Flow::Empty) };
            let head = &head[self.head_written..];
            let result = if self.frames.len() == 1 {
                socket.write(head)
            } else {
                let rest = self.frames.iter().skip(1).take(MAX_PIECES - 1);
                let pieces: Vec<IoSlice> =
                    std::iter::once(IoSlice::new(head)).chain(rest.map(|frame| IoSlice::new(frame))).collect();
                socket.write_vectored(&pieces)
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.advance(bytes);
                    budget = budget.saturating_sub(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Flow::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if self.is_empty() { Flow::Empty } else { Flow::Paused })
    }

    fn advance(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.bytes -= bytes;
        self.head_written += bytes;
        while let Some(head) = self.frames.front()
            && head.len() <= self.head_written
        {
            self.head_written -= head.len();
            self.frames.pop_front();
        }
        if self.frames.is_empty() && self.frames.capacity() > IDLE_PLACES {
            self.frames = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes so many bytes a call, then blocks once.
    struct Narrow {
        taken: Vec<u8>,
        steps: std::vec::IntoIter<usize>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            assert!(pieces.len() <= MAX_PIECES);
            let room = match self.steps.next() {
                Some(0) => return Err(ErrorKind::WouldBlock.into()),
                Some(room) => room,
                None => usize::MAX,
            };
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            let bytes = all.len().min(room);
            self.taken.extend_from_slice(&all[..bytes]);
            Ok(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn every_byte_once_and_in_order(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..40),
            steps in prop::collection::vec(0usize..60, 0..60),
        ) {
            let mut send_queue = SendQueue::default();
            let mut socket = Narrow { taken: Vec::new(), steps: steps.into_iter() };
            frames.iter().for_each(|frame| send_queue.push(frame[..].into()));
            prop_assert_eq!(send_queue.end(), frames.concat().len() as u64);
            while send_queue.write_to(&mut socket).unwrap() == Flow::Blocked {
                prop_assert_eq!(send_queue.written(), socket.taken.len() as u64);
            }
            prop_assert!(send_queue.is_empty());
            prop_assert_eq!(socket.taken, frames.concat());
        }

        #[test]
        fn cutting_leaves_whole_frames(written in 1usize..40) {
            let mut send_queue = SendQueue::default();
            [[1; 20], [2; 20]].iter().for_each(|frame| send_queue.push(frame[..].into()));
            let mut socket = Narrow { taken: Vec::new(), steps: vec![written, 0].into_iter() };
            prop_assert_eq!(send_queue.write_to(&mut socket).unwrap(), Flow::Blocked);
            send_queue.cut();
            send_queue.push([3; 20][..].into());
            prop_assert_eq!(send_queue.write_to(&mut socket).unwrap(), Flow::Empty);
            prop_assert_eq!(socket.taken.len() % 20, 0);
            prop_assert_eq!(&socket.taken[socket.taken.len() - 20..], &[3; 20]);
        }
    }

    #[test]
    fn stops_at_the_budget_and_says_so() {
        let mut send_queue = SendQueue::default();
        (0..3).for_each(|_| send_queue.push(vec![0; WRITE_BUDGET].into()));
        let mut socket = Narrow { taken: Vec::new(), steps: vec![WRITE_BUDGET; 2].into_iter() };
        assert_eq!(send_queue.write_to(&mut socket).unwrap(), Flow::Paused);
        assert_eq!(send_queue.bytes(), 2 * WRITE_BUDGET);
        assert!(!send_queue.has_room(1, WRITE_BUDGET) && SendQueue::default().has_room(9, 1));
    }

    #[test]
    fn a_long_queue_leaves_no_memory_behind() {
        let mut send_queue = SendQueue::default();
        (0..5_000).for_each(|_| send_queue.push([0][..].into()));
        assert_eq!(send_queue.write_to(&mut io::sink()).unwrap(), Flow::Empty);
        assert!(send_queue.frames.capacity() <= IDLE_PLACES);
    }
}

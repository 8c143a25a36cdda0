//! The bytes waiting to be sent to one peer: whole frames in order, and how much of the first one is written. Never
//! decides what is queued, and never waits for the socket.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Write},
    ops::Deref,
};

/// The most pieces that the kernel accepts in one call (IOV_MAX).
const MAX_PIECES: usize = 1_024;

/// Above this capacity an empty queue returns its memory.
const IDLE_CAPACITY: usize = 64;

/// A queue of frames `F`, which may be shared with other queues (`Arc<[u8]>`, `Rc<Vec<u8>>`). Each frame has a tag `T`,
/// which is returned to the owner when the frame is written.
#[derive(Debug)]
pub struct SendQueue<F, T = ()> {
    frames: VecDeque<(F, T)>,
    /// How many bytes of the first frame are written.
    head_written: usize,
    /// Bytes not written yet.
    bytes: usize,
    /// Bytes written since the connection began.
    written: u64,
}

/// Why writing ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// Everything is written.
    Empty,
    /// The socket accepts no more at the moment.
    Blocked,
    /// The budget is used up; the socket may accept more.
    Paused,
}

impl<F, T> Default for SendQueue<F, T> {
    fn default() -> Self {
        SendQueue { frames: VecDeque::new(), head_written: 0, bytes: 0, written: 0 }
    }
}

impl<F: Deref<Target: AsRef<[u8]>>, T: Copy> SendQueue<F, T> {
    /// Appends one whole frame, which must not be empty.
    #[inline]
    pub fn push(&mut self, frame: F, tag: T) {
        self.bytes += bytes(&frame).len();
        self.frames.push_back((frame, tag));
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether another `frame_bytes` fit below `limit`. An empty queue accepts any one frame, so that every event can be
    /// delivered.
    #[inline]
    pub fn has_room(&self, frame_bytes: usize, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + frame_bytes <= limit
    }

    /// Bytes written since the connection began.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What [`SendQueue::written`] will be when the last byte queued now is written.
    pub fn end(&self) -> u64 {
        self.written + self.bytes as u64
    }

    /// The tags of the frames that are not wholly written.
    pub fn tags(&self) -> impl Iterator<Item = T> {
        self.frames.iter().map(|(_, tag)| *tag)
    }

    /// Drops all queued frames except the rest of one that is partly written.
    pub fn cut(&mut self) {
        self.frames.truncate(usize::from(self.head_written > 0));
        self.bytes = self.frames.front().map_or(0, |(head, _)| bytes(head).len() - self.head_written);
    }

    /// Writes many frames per system call until the socket would block, the queue is empty, or `budget` bytes are written.
    /// `sent` receives the tag of each frame whose last byte was written, even if an error follows.
    ///
    /// # Errors
    /// Those of the socket, apart from `WouldBlock` and `Interrupted`; `WriteZero` if it is closed.
    #[inline]
    pub fn write_to(&mut self, socket: &mut impl Write, budget: usize, mut sent: impl FnMut(T)) -> io::Result<Flow> {
        let mut left = budget;
        while left > 0 {
            let Some((head, _)) = self.frames.front() else { return Ok(Flow::Empty) };
            let head = &bytes(head)[self.head_written..];
            let result = if self.frames.len() == 1 {
                socket.write(head)
            } else {
                let rest = self.frames.iter().skip(1).take(MAX_PIECES - 1);
                let pieces: Vec<IoSlice> = std::iter::once(IoSlice::new(head))
                    .chain(rest.map(|(frame, _)| IoSlice::new(bytes(frame))))
                    .collect();
                socket.write_vectored(&pieces)
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.advance(written, &mut sent);
                    left = left.saturating_sub(written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Flow::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if self.is_empty() { Flow::Empty } else { Flow::Paused })
    }

    #[inline]
    fn advance(&mut self, written: usize, sent: &mut impl FnMut(T)) {
        self.written += written as u64;
        self.bytes -= written;
        self.head_written += written;
        while let Some((head, tag)) = self.frames.front()
            && bytes(head).len() <= self.head_written
        {
            self.head_written -= bytes(head).len();
            sent(*tag);
            self.frames.pop_front();
        }
        if self.frames.is_empty() && self.frames.capacity() > IDLE_CAPACITY {
            self.frames = VecDeque::new();
        }
    }
}

#[inline]
fn bytes<F: Deref<Target: AsRef<[u8]>>>(frame: &F) -> &[u8] {
    (**frame).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const BUDGET: usize = 64 * 1024;

    type Queue = SendQueue<Arc<[u8]>, usize>;

    /// Accepts as many bytes per call as its next step allows, and would block at a step of 0.
    struct Socket {
        taken: Vec<u8>,
        steps: std::vec::IntoIter<usize>,
    }

    impl Write for Socket {
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
        fn every_byte_is_written_once_and_in_order(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..40),
            steps in prop::collection::vec(0usize..60, 0..60),
        ) {
            let mut queue = Queue::default();
            let mut socket = Socket { taken: Vec::new(), steps: steps.into_iter() };
            frames.iter().enumerate().for_each(|(tag, frame)| queue.push(frame[..].into(), tag));
            let mut sent = Vec::new();
            prop_assert_eq!(queue.end(), frames.concat().len() as u64);
            while queue.write_to(&mut socket, BUDGET, |tag| sent.push(tag)).unwrap() == Flow::Blocked {
                prop_assert_eq!(queue.written(), socket.taken.len() as u64);
                prop_assert!(sent.iter().copied().chain(queue.tags()).eq(0..frames.len()));
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(socket.taken, frames.concat());
            prop_assert!(sent.into_iter().eq(0..frames.len()));
        }

        #[test]
        fn cut_leaves_whole_frames(written in 1usize..40) {
            let mut queue = Queue::default();
            [[1; 20], [2; 20]].iter().for_each(|frame| queue.push(frame[..].into(), 0));
            let mut socket = Socket { taken: Vec::new(), steps: vec![written, 0].into_iter() };
            prop_assert_eq!(queue.write_to(&mut socket, BUDGET, |_| {}).unwrap(), Flow::Blocked);
            queue.cut();
            queue.push([3; 20][..].into(), 0);
            prop_assert_eq!(queue.write_to(&mut socket, BUDGET, |_| {}).unwrap(), Flow::Empty);
            prop_assert_eq!(socket.taken.len() % 20, 0);
            prop_assert_eq!(&socket.taken[socket.taken.len() - 20..], &[3; 20]);
        }
    }

    #[test]
    fn writing_pauses_at_the_budget() {
        let mut queue = Queue::default();
        (0..3).for_each(|_| queue.push(vec![0; BUDGET].into(), 0));
        let mut socket = Socket { taken: Vec::new(), steps: vec![BUDGET; 2].into_iter() };
        assert_eq!(queue.write_to(&mut socket, BUDGET, |_| {}).unwrap(), Flow::Paused);
        assert_eq!(queue.bytes(), 2 * BUDGET);
        assert!(!queue.has_room(1, BUDGET) && Queue::default().has_room(9, 1));
    }

    #[test]
    fn emptied_queue_returns_its_memory() {
        let mut queue = Queue::default();
        (0..5_000).for_each(|_| queue.push([0][..].into(), 0));
        assert_eq!(queue.write_to(&mut io::sink(), BUDGET, |_| {}).unwrap(), Flow::Empty);
        assert!(queue.frames.capacity() <= IDLE_CAPACITY);
    }
}

//! Shared by the calls from SQL and the sender thread: a bounded queue of frames, the number of `resq_ring` calls, and the
//! counters of `resq_stats`. A call never takes a lock, never waits, and wakes the sender with at most one write.

use mio::Waker;
use resq::wire::{ClientMessage, MAX_PAYLOAD, State};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};

/// Limits of the queue: frames, and their total bytes.
const MAX_FRAMES: usize = 16_384;
const MAX_BYTES: usize = 4 << 20;

/// A frame's length, its type, and the length of its state.
const FRAME_OVERHEAD: usize = 4 + 1 + 2;

/// The queue, the counters and the sender's waker.
pub struct Inbox {
    frames: SyncSender<Vec<u8>>,
    /// The queue's receiving end, until the sender thread takes it. No call from SQL touches this lock.
    outlet: Mutex<Option<Outlet>>,
    /// Bytes of queued frames and of frames being queued.
    bytes: AtomicUsize,
    /// Calls of `resq_ring` since the last RING.
    rings: AtomicU32,
    /// The sender sleeps, or is about to: a call with work for it must wake it.
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
    /// Connected daemons; without one nothing is queued.
    connected: AtomicUsize,
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// The receiving end of the queue.
pub type Outlet = Receiver<Vec<u8>>;

impl Default for Inbox {
    fn default() -> Inbox {
        let (frames, outlet) = sync_channel(MAX_FRAMES);
        Inbox {
            frames,
            outlet: Mutex::new(Some(outlet)),
            bytes: AtomicUsize::new(0),
            rings: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            waker: OnceLock::new(),
            connected: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

/// For calls from SQL, on any thread.
impl Inbox {
    /// Queues an event. False: it was dropped, because an argument is NULL, the state is invalid, the payload is too
    /// large, no daemon is connected, or the queue is full.
    pub fn notify(&self, state: Option<&[u8]>, payload: Option<&[u8]>) -> bool {
        let queued = self.try_push(state, payload).is_some();
        match queued {
            true => self.wake(),
            false => self.count_dropped(1),
        }
        queued
    }

    fn try_push(&self, state: Option<&[u8]>, payload: Option<&[u8]>) -> Option<()> {
        let (state, payload) = (State::new(str::from_utf8(state?).ok()?).ok()?, payload?);
        if payload.len() > MAX_PAYLOAD || self.connected.load(SeqCst) == 0 {
            return None;
        }
        let size = FRAME_OVERHEAD + state.as_str().len() + payload.len();
        if self.bytes.fetch_add(size, SeqCst) + size > MAX_BYTES || self.push(state, payload, size).is_none() {
            self.bytes.fetch_sub(size, SeqCst);
            return None;
        }
        Some(())
    }

    fn push(&self, state: State<'_>, payload: &[u8], size: usize) -> Option<()> {
        let mut frame = Vec::new();
        // Without memory the event is dropped; an abort would end the database server.
        frame.try_reserve_exact(size).ok()?;
        ClientMessage::Publish { state, payload }.encode(&mut frame);
        debug_assert_eq!(frame.len(), size);
        self.frames.try_send(frame).ok()
    }

    /// Requests a RING. Calls made before the sender runs merge into one.
    pub fn ring(&self) {
        if self.rings.fetch_add(1, SeqCst) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // Either the sender finds what was just queued, since it checks once more after announcing its sleep, or this call
        // finds it asleep.
        if self.asleep.swap(false, SeqCst)
            && let Some(waker) = self.waker.get()
        {
            let _ = waker.wake();
        }
    }

    /// Writes `{"connected":1,"sent":20,"dropped":3}`, at most 82 bytes; returns their number.
    pub fn stats(&self, mut out: &mut [u8]) -> usize {
        use std::io::Write;
        let room = out.len();
        let [sent, dropped] = [&self.sent, &self.dropped].map(|counter| counter.load(SeqCst));
        let connected = self.connected.load(SeqCst);
        let _ = write!(out, r#"{{"connected":{connected},"sent":{sent},"dropped":{dropped}}}"#);
        room - out.len()
    }
}

/// For the sender thread only.
impl Inbox {
    /// The receiving end; `None` if it was taken already.
    pub fn take_outlet(&self) -> Option<Outlet> {
        self.outlet.lock().ok()?.take()
    }

    /// Sets how calls wake the sender; before its first sleep.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Counts events written to a daemon.
    pub fn count_sent(&self, events: u64) {
        self.sent.fetch_add(events, SeqCst);
    }

    /// Counts events that a daemon will not receive.
    pub fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, SeqCst);
    }

    /// Sets the number of connected daemons.
    pub fn set_connected(&self, daemons: usize) {
        self.connected.store(daemons, SeqCst);
    }

    /// Whether `resq_ring` was called since the last [`Inbox::take_rings`].
    pub fn has_rings(&self) -> bool {
        self.rings.load(SeqCst) > 0
    }

    /// The number of calls of `resq_ring` since this was last called.
    pub fn take_rings(&self) -> u32 {
        self.rings.swap(0, SeqCst)
    }

    /// Whether no frame is queued.
    pub fn is_empty(&self) -> bool {
        self.bytes.load(SeqCst) == 0
    }

    /// The next queued frame.
    pub fn take(&self, outlet: &Outlet) -> Option<Vec<u8>> {
        let frame = outlet.try_recv().ok()?;
        self.bytes.fetch_sub(frame.len(), SeqCst);
        Some(frame)
    }

    /// From now on calls wake the sender. It must check for work once more before it sleeps.
    pub fn announce_sleep(&self) {
        self.asleep.store(true, SeqCst);
    }

    /// The sender runs: calls need not wake it.
    pub fn end_sleep(&self) {
        self.asleep.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resq::wire::Splitter;

    fn unconnected() -> (Inbox, Outlet) {
        let inbox = Inbox::default();
        let outlet = inbox.take_outlet().unwrap();
        (inbox, outlet)
    }

    fn connected() -> (Inbox, Outlet) {
        let (inbox, outlet) = unconnected();
        inbox.set_connected(1);
        (inbox, outlet)
    }

    fn stats(inbox: &Inbox) -> String {
        let mut buffer = [0; crate::abi::RESULT_BYTES];
        let length = inbox.stats(&mut buffer);
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn invalid_events_are_dropped() {
        let (inbox, outlet) = connected();
        let too_large = vec![b'x'; MAX_PAYLOAD + 1];
        for (state, payload) in [
            (None, Some(&b"{}"[..])),
            (Some(&b"A"[..]), None),
            (Some(b""), Some(b"{}")),
            (Some(b"A B"), Some(b"{}")),
            (Some(b"\xff\xfe"), Some(b"{}")),
            (Some(&[b'A'; 65]), Some(b"{}")),
            (Some(b"A"), Some(&too_large)),
        ] {
            assert!(!inbox.notify(state, payload));
        }
        assert!(inbox.take(&outlet).is_none() && inbox.is_empty());
        assert_eq!(stats(&inbox), r#"{"connected":1,"sent":0,"dropped":7}"#);
    }

    #[test]
    fn event_is_one_whole_frame_with_any_payload() {
        let (inbox, outlet) = connected();
        let largest = vec![0xff; MAX_PAYLOAD];
        for payload in [&b""[..], b"\xff\0", &largest] {
            assert!(inbox.notify(Some(b"Suspended"), Some(payload)));
            let bytes = inbox.take(&outlet).unwrap();
            let (mut splitter, mut rest) = (Splitter::default(), &bytes[..]);
            let frame = splitter.next(&mut rest, resq::wire::MAX_FRAME).unwrap().unwrap();
            let ClientMessage::Publish { state, payload: sent } = ClientMessage::decode(frame).unwrap() else {
                panic!()
            };
            assert_eq!((state.as_str(), sent, rest), ("Suspended", payload, &b""[..]));
        }
    }

    #[test]
    fn nothing_is_queued_without_a_daemon() {
        let inbox = Inbox::default();
        assert!(!inbox.notify(Some(b"A"), Some(b"{}")));
        assert!(inbox.is_empty());
    }

    #[test]
    fn queue_is_bounded_in_frames_and_bytes() {
        let (inbox, outlet) = connected();
        let queued = (0..20_000).filter(|_| inbox.notify(Some(b"A"), Some(b"{}"))).count();
        assert_eq!(queued, MAX_FRAMES);
        while inbox.take(&outlet).is_some() {}
        assert!(inbox.is_empty());

        let payload = vec![b'x'; MAX_PAYLOAD];
        let queued = (0..10).filter(|_| inbox.notify(Some(b"A"), Some(&payload))).count();
        assert_eq!(queued, MAX_BYTES / MAX_PAYLOAD);
        while inbox.take(&outlet).is_some() {}
        assert!(inbox.is_empty());
        assert!(inbox.notify(Some(b"A"), Some(&payload)));
    }

    #[test]
    fn rings_coalesce_and_wake_the_sender_once() {
        let inbox = Inbox::default();
        let mut poll = mio::Poll::new().unwrap();
        inbox.set_waker(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        inbox.announce_sleep();
        for _ in 0..10_000 {
            inbox.ring();
        }
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().count(), 1);
        assert_eq!((inbox.take_rings(), inbox.has_rings()), (10_000, false));
    }

    #[test]
    fn longest_stats_fit_into_the_result() {
        let inbox = Inbox::default();
        inbox.set_connected(usize::MAX);
        inbox.count_sent(u64::MAX);
        inbox.count_dropped(u64::MAX);
        assert!(stats(&inbox).ends_with('}') && stats(&inbox).len() < crate::abi::RESULT_BYTES);
    }
}

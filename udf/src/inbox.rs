//! What SQL's calls and the sender thread share: a bounded queue of frames, a count of rings, and the counters for
//! `resq_stats`. A call only tries: it takes no lock, waits for nobody, and wakes the sender by one write at most.

use mio::Waker;
use resq::wire::{ClientMessage, MAX_PAYLOAD, State};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};

/// Bounds of the queue: frames, and bytes in them.
const MAX_FRAMES: usize = 16_384;
const MAX_BYTES: usize = 4 << 20;

/// A frame's length, its type, and the length of its state.
const FRAME_OVERHEAD: usize = 4 + 1 + 2;

pub struct Inbox {
    frames: SyncSender<Vec<u8>>,
    /// The queue's other end, until a sender thread takes it; no call touches this lock.
    outlet: Mutex<Option<Outlet>>,
    /// Bytes in the queue, and in frames on their way into it.
    bytes: AtomicUsize,
    /// Calls of `resq_ring` since the sender last looked.
    rings: AtomicU32,
    /// The sender sleeps, or is about to: whoever has something for it must wake it.
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
    /// How many daemons are connected; without one nothing is queued.
    connected: AtomicUsize,
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// The sender's end of the queue.
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

/// For SQL's calls, from any thread.
impl Inbox {
    /// Queues an event; false if it was dropped instead: NULL, not a state, too large, no connection, full.
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
        // Out of memory is a dropped event, not the end of the server.
        frame.try_reserve_exact(size).ok()?;
        ClientMessage::Publish { state, payload }.encode(&mut frame);
        debug_assert_eq!(frame.len(), size);
        self.frames.try_send(frame).ok()
    }

    /// Says that there is news. Ten thousand calls before the sender looks are one.
    pub fn ring(&self) {
        if self.rings.fetch_add(1, SeqCst) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // Either the sender sees what was just put in, since it looks once more after it said that it sleeps, or
        // this sees it asleep.
        if self.asleep.swap(false, SeqCst)
            && let Some(waker) = self.waker.get()
        {
            let _ = waker.wake();
        }
    }

    /// `{"connected":1,"sent":20,"dropped":3}`, in at most 82 bytes.
    pub fn stats(&self, mut out: &mut [u8]) -> usize {
        use std::io::Write;
        let room = out.len();
        let [sent, dropped] = [&self.sent, &self.dropped].map(|counter| counter.load(SeqCst));
        let connected = self.connected.load(SeqCst);
        let _ = write!(out, r#"{{"connected":{connected},"sent":{sent},"dropped":{dropped}}}"#);
        room - out.len()
    }
}

/// For the sender thread alone.
impl Inbox {
    /// None: somebody has it already.
    pub fn outlet(&self) -> Option<Outlet> {
        self.outlet.lock().ok()?.take()
    }

    /// Before the first sleep.
    pub fn woken_by(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub fn count_sent(&self, events: u64) {
        self.sent.fetch_add(events, SeqCst);
    }

    pub fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, SeqCst);
    }

    pub fn set_connected(&self, daemons: usize) {
        self.connected.store(daemons, SeqCst);
    }

    pub fn rung(&self) -> bool {
        self.rings.load(SeqCst) > 0
    }

    pub fn take_rings(&self) -> u32 {
        self.rings.swap(0, SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.load(SeqCst) == 0
    }

    /// The next queued frame.
    pub fn take(&self, outlet: &Outlet) -> Option<Vec<u8>> {
        let frame = outlet.try_recv().ok()?;
        self.bytes.fetch_sub(frame.len(), SeqCst);
        Some(frame)
    }

    /// From here on calls wake the sender. It must look at what it waits for once more before it sleeps.
    pub fn falling_asleep(&self) {
        self.asleep.store(true, SeqCst);
    }

    pub fn awake(&self) {
        self.asleep.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resq::wire::Splitter;

    fn unconnected() -> (Inbox, Outlet) {
        let inbox = Inbox::default();
        let outlet = inbox.outlet().unwrap();
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
    fn what_is_no_event_is_dropped() {
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
    fn an_event_is_a_whole_frame_and_its_payload_any_bytes() {
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
    fn without_a_daemon_nothing_is_queued() {
        let inbox = Inbox::default();
        assert!(!inbox.notify(Some(b"A"), Some(b"{}")));
        assert!(inbox.is_empty());
    }

    #[test]
    fn the_queue_ends_at_its_bounds() {
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
    fn rings_coalesce_and_wake_once() {
        let inbox = Inbox::default();
        let mut poll = mio::Poll::new().unwrap();
        inbox.woken_by(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        inbox.falling_asleep();
        for _ in 0..10_000 {
            inbox.ring();
        }
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().count(), 1);
        assert_eq!((inbox.take_rings(), inbox.rung()), (10_000, false));
    }

    #[test]
    fn the_longest_stats_fit() {
        let inbox = Inbox::default();
        inbox.set_connected(usize::MAX);
        inbox.count_sent(u64::MAX);
        inbox.count_dropped(u64::MAX);
        assert!(stats(&inbox).ends_with('}') && stats(&inbox).len() < crate::abi::RESULT_BYTES);
    }
}

//! A coalescing wake-up between threads: ringing twice before anybody looks is ringing once, and ringing never
//! blocks. It carries no data, so nobody can be told anything false by it.

use std::time::{Duration, Instant};

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

/// When to look again after a bell: it rings inside a transaction and so *before* the commit that makes its news
/// visible. Looks follow with pauses that double, so that news is late by no more than its transaction stayed open;
/// never more than 200 a second however often it rings. Pure.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    last_look: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
}

impl Echo {
    const FIRST: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(20_480);

    pub fn rung(&mut self, now: Instant) {
        let earliest = self.last_look.map_or(now, |last| now.max(last + Echo::FIRST));
        self.next = Some(self.next.map_or(earliest, |next| next.min(earliest)));
        self.pause = Echo::FIRST;
    }

    /// One more look is wanted, not before `at`.
    pub fn again_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// When the next look is due, if one is.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Somebody has looked, because of the bell or not.
    pub fn looked(&mut self, now: Instant) {
        self.last_look = Some(now);
        if self.is_due(now) {
            let goes_on = !self.pause.is_zero() && self.pause <= Echo::LAST;
            self.next = goes_on.then(|| now + self.pause);
            self.pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringing_twice_is_ringing_once() {
        let (rope, ear) = bell();
        rope.ring();
        rope.ring();
        assert!(ear.try_recv().is_ok() && ear.try_recv().is_err());
        drop(ear);
        rope.ring();
    }

    #[test]
    fn looks_follow_a_bell_with_growing_pauses_and_end() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut echo = Echo::default();
        assert_eq!(echo.next(), None);
        echo.rung(start);
        let mut looks = Vec::new();
        while let Some(next) = echo.next() {
            looks.push((next - start).as_millis());
            echo.looked(next);
        }
        assert_eq!(looks[..8], [0, 5, 15, 35, 75, 155, 315, 635]);
        assert!(looks.len() == 14 && looks[13] < 41_000, "{looks:?}");
        // However often it rings, a look follows the last by 5 ms at least.
        let last = looks[13] as u64;
        echo.rung(ms(last + 1));
        echo.rung(ms(last + 2));
        assert_eq!(echo.next(), Some(ms(last + 5)));
    }
}

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

/// When to look after a bell: it rings inside a transaction and so *before* the commit that makes its news visible.
/// Looks follow with growing pauses, the first about when a commit that was due at once can be seen; but never more
/// than 200 a second on account of bells after which nothing is found. Pure.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    last_look: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
    /// Bells since something was found.
    vain: u8,
}

impl Echo {
    const QUICK: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(640);
    /// More bells in vain than one job or transaction rings.
    const VAIN: u8 = 8;

    pub fn rung(&mut self, now: Instant) {
        self.vain = self.vain.saturating_add(1);
        let (earliest, pause) = match self.vain <= Echo::VAIN {
            true => (now + Echo::QUICK, Echo::QUICK),
            false => (self.last_look.map_or(now, |last| now.max(last + Echo::SLOW)), Echo::SLOW),
        };
        self.next = Some(self.next.map_or(earliest, |next| next.min(earliest)));
        self.pause = pause;
    }

    /// A look was not in vain: who rings has something to tell.
    pub fn found(&mut self) {
        self.vain = 0;
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
            if goes_on {
                self.pause *= 2;
            }
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
        let mut echo = Echo::default();
        assert_eq!(echo.next(), None);
        echo.rung(start);
        let mut looks = Vec::new();
        while let Some(next) = echo.next() {
            looks.push((next - start).as_micros());
            echo.looked(next);
        }
        assert_eq!(looks[..4], [300, 600, 1_200, 2_400]);
        assert_eq!((looks.len(), looks.last()), (13, Some(&1_228_800)));
    }

    /// One more look was asked for every 250 ms: after 16 s the next pause was no number any more.
    #[test]
    fn a_transaction_open_for_a_minute_does_not_end_the_daemon() {
        let (start, pause) = (Instant::now(), Duration::from_millis(250));
        let mut echo = Echo::default();
        echo.rung(start);
        for number in 1..=240 {
            echo.again_at(start + pause * number);
            echo.looked(start + pause * number);
        }
        assert_eq!(echo.next(), None);
    }

    #[test]
    fn only_finds_make_looks_quick() {
        let start = Instant::now();
        let looks_in_a_second = |finds: bool| {
            let (mut echo, mut looks) = (Echo::default(), 0);
            for us in (0..1_000_000).step_by(100) {
                let now = start + Duration::from_micros(us);
                echo.rung(now);
                if echo.is_due(now) {
                    echo.looked(now);
                    looks += 1;
                    if finds {
                        echo.found();
                    }
                }
            }
            looks
        };
        assert!((190..=220).contains(&looks_in_a_second(false)), "{}", looks_in_a_second(false));
        assert!((2_000..=3_500).contains(&looks_in_a_second(true)), "{}", looks_in_a_second(true));
    }
}

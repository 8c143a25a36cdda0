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
/// visible. Looks follow with growing pauses, never more than 200 a second however often it rings; only a look that
/// found something earns the next bells a few quick ones. Pure.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    last_look: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
    quick: u8,
}

impl Echo {
    const FIRST: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(640);
    /// The pause before a quick look, about what a commit takes to become visible, and how many looks one find earns.
    const QUICK: Duration = Duration::from_micros(300);
    const QUICK_LOOKS: u8 = 4;

    pub fn rung(&mut self, now: Instant) {
        let (earliest, pause) = match self.quick {
            0 => (self.last_look.map_or(now, |last| now.max(last + Echo::FIRST)), Echo::FIRST),
            _ => (now + Echo::QUICK, Echo::QUICK),
        };
        self.next = Some(self.next.map_or(earliest, |next| next.min(earliest)));
        self.pause = pause;
    }

    /// A look was not in vain: who rings has something to tell.
    pub fn found(&mut self) {
        self.quick = Echo::QUICK_LOOKS;
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
        self.quick = self.quick.saturating_sub(1);
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
        assert_eq!(looks, [0, 5, 15, 35, 75, 155, 315, 635, 1275]);
        // However often it rings, a look follows the last by 5 ms at least.
        echo.rung(ms(1276));
        echo.rung(ms(1277));
        assert_eq!(echo.next(), Some(ms(1280)));
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
        assert!((190..=201).contains(&looks_in_a_second(false)), "{}", looks_in_a_second(false));
        assert!((2_000..=3_500).contains(&looks_in_a_second(true)), "{}", looks_in_a_second(true));
    }
}

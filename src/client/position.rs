//! Where a subscriber resumes: the sequence number up to which its delivery is complete, and the event log which that
//! number belongs to. Pure: messages in, a number out.

use super::connection::Incoming;
use crate::wire::{Gap, Start};

/// The position of one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Where it begins while `after` is not known.
    start: Start,
    after: Option<u64>,
    /// The log that `after` belongs to; `None` before the first WELCOME.
    log_id: Option<u64>,
}

impl Position {
    /// A position at `since` in the broker's log.
    pub fn new(since: Start) -> Position {
        let after = match since {
            Start::After(seq) => Some(seq),
            Start::Beginning => Some(0),
            Start::Now | Start::Time(_) => None,
        };
        Position { start: since, after, log_id: None }
    }

    /// Where SUBSCRIBE begins.
    pub fn resume(self) -> Start {
        self.after.map_or(self.start, Start::After)
    }

    /// Notes that a connection to this log begins. True if the log is a different one: all its events are new to this
    /// subscriber and the old position is meaningless in it, so delivery starts at its beginning.
    pub fn enter(&mut self, log_id: u64) -> bool {
        let other = self.log_id.is_some_and(|known| known != log_id);
        if other {
            self.after = Some(0);
        }
        self.log_id = Some(log_id);
        other
    }

    /// Advances by a message that arrived after SUBSCRIBE was sent.
    pub fn advance(&mut self, message: &Incoming) {
        let seq = match message {
            Incoming::Event(event) => event.seq,
            Incoming::Subscribed(seq) | Incoming::Consuming(seq) => *seq,
            Incoming::Gap(Gap::Pruned(first_kept)) => first_kept.saturating_sub(1),
            // The only step back: the requested number does not exist yet.
            Incoming::Gap(Gap::BeyondHead(head)) => {
                self.after = Some(*head);
                return;
            }
            // A PING before SUBSCRIBED does not count: its number would start the subscription too late.
            Incoming::Ping(seq) if self.after.is_some() => *seq,
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Gap(Gap::Dropped(_)) | Incoming::Welcome { .. } => return,
        };
        if seq > 0 || matches!(message, Incoming::Subscribed(_) | Incoming::Consuming(_)) {
            self.after = Some(self.after.unwrap_or(0).max(seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Event;

    fn event(seq: u64) -> Incoming {
        Incoming::Event(Event { seq, unix_time_us: 0, state: "A".into(), payload: vec![] })
    }

    #[test]
    fn resumes_after_the_last_number_known_to_be_complete() {
        use Incoming::{Gap as G, Ping, Pong, Subscribed};
        let table: &[(Option<u64>, &[Incoming], Option<u64>)] = &[
            (None, &[], None),
            (Some(7), &[], Some(7)),
            (None, &[Subscribed(0)], Some(0)),
            (None, &[Subscribed(5)], Some(5)),
            (None, &[Subscribed(5), event(6), event(9)], Some(9)),
            (None, &[Subscribed(5), event(0)], Some(5)),
            (None, &[Subscribed(5), Ping(8), event(7)], Some(8)),
            (None, &[Subscribed(5), event(9), Ping(8)], Some(9)),
            (None, &[Ping(8)], None),
            (None, &[event(0)], None),
            (None, &[Subscribed(5), Pong(99), G(Gap::Dropped(99))], Some(5)),
            (Some(2), &[Subscribed(2), G(Gap::Pruned(10))], Some(9)),
            (Some(50), &[Subscribed(50), G(Gap::BeyondHead(10)), event(11)], Some(11)),
            (Some(50), &[Subscribed(50), G(Gap::BeyondHead(10))], Some(10)),
        ];
        for (since, messages, expected) in table {
            let mut position = Position::new(since.map_or(Start::Now, Start::After));
            position.enter(1);
            messages.iter().for_each(|message| position.advance(message));
            let expected = expected.map_or(Start::Now, Start::After);
            assert_eq!(position.resume(), expected, "{since:?} {messages:?}");
        }
    }

    #[test]
    fn different_log_is_read_from_its_beginning() {
        let mut position = Position::new(Start::After(7));
        assert!(!position.enter(1), "the first log is not a different log");
        position.advance(&event(9));
        assert!(!position.enter(1));
        assert_eq!(position.resume(), Start::After(9));
        assert!(position.enter(2));
        assert_eq!(position.resume(), Start::After(0));
    }
}

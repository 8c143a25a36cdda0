//! What a consumer was sent and has not acknowledged: bounded, in the order of the numbers. Pure.

use std::collections::VecDeque;

/// The numbers of the events that wait to be acknowledged.
#[derive(Debug)]
pub struct Window {
    unacked: VecDeque<u64>,
    most: usize,
}

impl Window {
    /// For at most `most` events.
    pub fn new(most: usize) -> Window {
        Window { unacked: VecDeque::new(), most }
    }

    /// Whether no further event may be sent.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.unacked.len() >= self.most
    }

    /// The event with this number, greater than all before, was sent.
    pub fn sent(&mut self, seq: u64) {
        self.unacked.push_back(seq);
    }

    /// All events up to `seq` are done with. A number below an earlier one changes nothing.
    pub fn acknowledge(&mut self, seq: u64) {
        let done = self.unacked.partition_point(|sent| *sent <= seq);
        self.unacked.drain(..done);
    }

    /// The first event that was sent and is not done with.
    pub fn first_unacked(&self) -> Option<u64> {
        self.unacked.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_cumulative_and_never_go_back() {
        let mut window = Window::new(3);
        [4, 7, 9].iter().for_each(|seq| window.sent(*seq));
        for (ack, first_unacked, is_full) in [
            (3, Some(4), true),
            (5, Some(7), false),
            (4, Some(7), false),
            (0, Some(7), false),
            (8, Some(9), false),
            (9, None, false),
            (9, None, false),
        ] {
            window.acknowledge(ack);
            assert_eq!((window.first_unacked(), window.is_full()), (first_unacked, is_full), "after ACK {ack}");
        }
    }
}

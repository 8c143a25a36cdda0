//! Where a frame begins and ends: `u32 length`, then that many bytes, the first of them the type. Never looks inside a
//! body, and allocates nothing for bytes that have not arrived.

use super::Error;

/// The greatest length in bytes that a frame may announce.
pub const MAX_FRAME: usize = 1_048_576;

/// The greatest length before WELCOME, while the peer is unknown.
pub const MAX_FRAME_BEFORE_WELCOME: usize = 4_096;

const HEADER: usize = 4;

/// One frame, borrowed from the bytes that it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type of the message.
    pub kind: u8,
    /// The bytes after the type.
    pub body: &'a [u8],
}

/// The first frame of `bytes`, and how many bytes it occupies with its length field; None if it is incomplete.
///
/// # Errors
/// The announced length is zero or exceeds `limit`, reported as soon as its four bytes have arrived.
pub fn split(bytes: &[u8], limit: usize) -> Result<Option<(Frame<'_>, usize)>, Error> {
    let Some(end) = end_of_frame(bytes, limit)? else { return Ok(None) };
    Ok(bytes.get(HEADER..end).map(|frame| (Frame { kind: frame[0], body: &frame[1..] }, end)))
}

/// The length of the first frame of `bytes` including its header, once the header has arrived; at least 5.
fn end_of_frame(bytes: &[u8], limit: usize) -> Result<Option<usize>, Error> {
    let Some(&header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    match u32::from_be_bytes(header) as usize {
        0 => Err(Error::Malformed("a frame without a type")),
        length if length > limit => Err(Error::TooLarge { bytes: length, limit }),
        length => Ok(Some(HEADER + length)),
    }
}

/// Splits a stream that arrives in arbitrary pieces. Frames that lie completely in a piece are borrowed from it; only an
/// incomplete frame is copied, so an idle peer costs no buffer.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// The frame in `partial` was handed out. It is dropped at the next call, when it is no longer borrowed.
    spent: bool,
}

impl Splitter {
    /// The next frame of the stream. `input` is its newest piece, whose front is advanced past the bytes used. None: the
    /// piece is used up; call again with the next one.
    ///
    /// # Errors
    /// Those of [`split`]; the stream cannot be continued after one.
    ///
    /// ```
    /// use resq::wire::{MAX_FRAME, Splitter};
    /// let mut splitter = Splitter::default();
    /// let mut piece: &[u8] = &[0, 0, 0, 1, 4, 0, 0];
    /// assert_eq!(splitter.next(&mut piece, MAX_FRAME).unwrap().unwrap().kind, 4);
    /// assert_eq!(splitter.next(&mut piece, MAX_FRAME).unwrap(), None);
    /// ```
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8], limit: usize) -> Result<Option<Frame<'a>>, Error> {
        if self.spent {
            self.partial = Vec::new();
            self.spent = false;
        }
        if self.partial.is_empty()
            && let Some((frame, used)) = split(input, limit)?
        {
            *input = &input[used..];
            return Ok(Some(frame));
        }
        // The header first: it announces how much more belongs to this frame.
        self.take(input, HEADER);
        if let Some(end) = end_of_frame(&self.partial, limit)? {
            self.take(input, end);
        }
        let frame = split(&self.partial, limit)?;
        self.spent = frame.is_some();
        Ok(frame.map(|(frame, _)| frame))
    }

    /// How many bytes of an incomplete frame are kept.
    pub fn pending(&self) -> usize {
        if self.spent { 0 } else { self.partial.len() }
    }

    fn take(&mut self, input: &mut &[u8], up_to: usize) {
        let (now, later) = input.split_at(input.len().min(up_to.saturating_sub(self.partial.len())));
        self.partial.extend_from_slice(now);
        *input = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn length_is_checked_at_its_limits() {
        for limit in [MAX_FRAME_BEFORE_WELCOME, MAX_FRAME] {
            let header = |length: usize| (length as u32).to_be_bytes();
            assert_eq!(split(&header(0), limit), Err(Error::Malformed("a frame without a type")));
            assert_eq!(split(&header(1), limit), Ok(None));
            assert_eq!(split(&header(limit), limit), Ok(None));
            assert_eq!(split(&header(limit + 1), limit), Err(Error::TooLarge { bytes: limit + 1, limit }));
            let most = u32::MAX as usize;
            assert_eq!(split(&header(most), limit), Err(Error::TooLarge { bytes: most, limit }));

            let mut whole = header(limit).to_vec();
            whole.resize(4 + limit, 7);
            let (frame, used) = split(&whole, limit).unwrap().unwrap();
            assert_eq!((frame.kind, frame.body.len(), used), (7, limit - 1, limit + 4));
        }
    }

    #[test]
    fn announced_frame_costs_only_what_arrived_of_it() {
        let mut splitter = Splitter::default();
        let mut input: &[u8] = &[0, 0x10, 0, 0, 3];
        assert_eq!(splitter.next(&mut input, MAX_FRAME), Ok(None));
        assert_eq!(splitter.pending(), 5);
        assert!(splitter.partial.capacity() < 64);
    }

    #[test]
    fn spent_frame_leaves_no_buffer() {
        let mut splitter = Splitter::default();
        let frame = [&[0, 0, 0x10, 0][..], &[9; 4096]].concat();
        for mut piece in frame.chunks(1000) {
            let _ = splitter.next(&mut piece, MAX_FRAME).unwrap();
        }
        assert_eq!(splitter.next(&mut &[][..], MAX_FRAME), Ok(None));
        assert_eq!(splitter.partial.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_frames(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            cuts in prop::collection::vec(1usize..40, 1..50),
        ) {
            let mut stream = Vec::new();
            for (kind, body) in &frames {
                stream.extend_from_slice(&(body.len() as u32 + 1).to_be_bytes());
                stream.push(*kind);
                stream.extend_from_slice(body);
            }
            let (mut splitter, mut seen, mut rest, mut cuts) = (Splitter::default(), Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (mut piece, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = later;
                while let Some(frame) = splitter.next(&mut piece, 400).unwrap() {
                    seen.push((frame.kind, frame.body.to_vec()));
                }
                prop_assert!(piece.is_empty());
            }
            prop_assert_eq!(seen, frames);
            prop_assert_eq!(splitter.pending(), 0);
        }
    }
}

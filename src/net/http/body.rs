//! The body of a request, of a known length or in chunks, from bytes that arrive in any pieces. Strict: no extensions of
//! chunks, no trailers, since no client of resq's needs them and readers disagree about them. Pure.

use super::{
    limits::MAX_BODY,
    request::{Framing, Rejection, too_large},
};

/// How much of a body has arrived.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes are left of a body of known length.
    Length(usize),
    /// In the line with a chunk's size; `digits` of them so far.
    Size {
        size: usize,
        digits: u8,
    },
    /// Expects the LF of that line.
    SizeEnd(usize),
    /// This many bytes are left of a chunk.
    Data(usize),
    /// Expects a chunk's CR, then its LF.
    DataEnd(u8),
    /// Expects the last CR, then the last LF.
    End(u8),
    Complete,
}

const NEW_CHUNK: State = State::Size { size: 0, digits: 0 };

/// A size of more digits exceeds every limit, leading zeros or not.
const MAX_DIGITS: u8 = 8;

impl Body {
    /// Of which nothing has arrived.
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::Length(0) => State::Complete,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => NEW_CHUNK,
        };
        Body { bytes: Vec::new(), state }
    }

    /// Takes what belongs to the body from the beginning of `input`. True once the body is complete.
    ///
    /// # Errors
    /// The chunks are malformed, or the body is too large.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<bool, Rejection> {
        while self.state != State::Complete && !input.is_empty() {
            self.state = match self.state {
                State::Length(left) => match self.take(left, input) {
                    0 => State::Complete,
                    left => State::Length(left),
                },
                State::Data(left) => match self.take(left, input) {
                    0 => State::DataEnd(b'\r'),
                    left => State::Data(left),
                },
                state => {
                    let byte = input[0];
                    *input = &input[1..];
                    self.control(state, byte)?
                }
            };
        }
        Ok(self.state == State::Complete)
    }

    /// The bytes of a complete body.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes up to `left` bytes; returns how many are left then.
    fn take(&mut self, left: usize, input: &mut &[u8]) -> usize {
        let (taken, rest) = input.split_at(left.min(input.len()));
        self.bytes.extend_from_slice(taken);
        *input = rest;
        left - taken.len()
    }

    fn control(&self, state: State, byte: u8) -> Result<State, Rejection> {
        match (state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or_default() as usize;
                Ok(State::Size { size: size * 16 + digit, digits: digits + 1 })
            }
            (State::Size { digits: MAX_DIGITS, .. }, byte) if byte.is_ascii_hexdigit() => Err(too_large()),
            (State::Size { size, digits: 1.. }, b'\r') if self.bytes.len() + size <= MAX_BODY => {
                Ok(State::SizeEnd(size))
            }
            (State::Size { digits: 1.., .. }, b'\r') => Err(too_large()),
            (State::SizeEnd(0), b'\n') => Ok(State::End(b'\r')),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataEnd(b'\r'), b'\r') => Ok(State::DataEnd(b'\n')),
            (State::DataEnd(b'\n'), b'\n') => Ok(NEW_CHUNK),
            (State::End(b'\r'), b'\r') => Ok(State::End(b'\n')),
            (State::End(b'\n'), b'\n') => Ok(State::Complete),
            _ => Err(Rejection::new(400, "malformed request: chunks without extensions and trailers are expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and the number of bytes left over; or the status that refuses it; None: more is needed.
    fn chunked(text: &str) -> Result<Option<(String, usize)>, u16> {
        let (mut body, mut input) = (Body::new(Framing::Chunked), text.as_bytes());
        match body.receive(&mut input) {
            Ok(true) => Ok(Some((String::from_utf8(body.into_bytes()).unwrap(), input.len()))),
            Ok(false) => Ok(None),
            Err(rejection) => Err(rejection.status),
        }
    }

    #[test]
    fn chunks_are_joined_and_malformed_ones_refused() {
        let body = |text: &str, left| Ok(Some((text.to_string(), left)));
        for (text, expected) in [
            ("0\r\n\r\n", body("", 0)),
            ("3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nGET", body("abc0123456789", 3)),
            ("3\r\nab", Ok(None)),
            ("0\r\n", Ok(None)),
            ("", Ok(None)),
            ("\r\n", Err(400)),
            ("g\r\n", Err(400)),
            ("+3\r\nabc", Err(400)),
            ("0x3\r\nabc", Err(400)),
            (" 3\r\nabc", Err(400)),
            ("3 \r\nabc", Err(400)),
            ("3;a=b\r\nabc", Err(400)),
            ("3\nabc", Err(400)),
            ("3\r\nabcd\r\n", Err(400)),
            ("3\r\nabc\n", Err(400)),
            ("0\r\nX: y\r\n\r\n", Err(400)),
            ("10001\r\n", Err(413)),
            ("ffffffffffffffff1\r\n", Err(413)),
            ("000000003\r\n", Err(413)),
        ] {
            assert_eq!(chunked(text), expected, "{text:?}");
        }
    }

    #[test]
    fn many_chunks_together_are_limited() {
        let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
        assert_eq!(chunked(&format!("{chunk}{chunk}0\r\n\r\n")).unwrap().unwrap().0.len(), MAX_BODY);
        assert_eq!(chunked(&format!("{chunk}{chunk}1\r\n")), Err(413));
    }

    #[test]
    fn a_length_leaves_what_follows() {
        let (mut body, mut input) = (Body::new(Framing::Length(3)), &b"abcGET"[..]);
        assert_eq!((body.receive(&mut input), input), (Ok(true), &b"GET"[..]));
        assert_eq!(body.into_bytes(), b"abc");
        assert_eq!(Body::new(Framing::Length(0)).receive(&mut &b""[..]), Ok(true));
    }
}

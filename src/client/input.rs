//! Publications as lines of `STATE PAYLOAD`, which resq-trigger reads from its standard input. Bounded: an overlong line
//! is refused before it is in memory. Never sends anything.

use std::io::{self, BufRead, BufReader, Read};

use crate::wire::{self, MAX_PAYLOAD, MAX_STATE, State};

/// The longest line including its end, in bytes: a state, one blank, a payload, CR and LF.
const LINE_BYTES: usize = MAX_STATE + 1 + MAX_PAYLOAD + 2;

/// One line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// A valid state.
    pub state: String,
    /// At most 1,000,000 bytes of any kind but LF.
    pub payload: Vec<u8>,
}

/// A line that is not a publication or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {number}: {problem}")]
pub struct InvalidLine {
    /// The number of the line, from 1.
    pub number: u64,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot read it ({0})")]
    Read(io::Error),
    #[error("longer than a state and {} bytes of payload", MAX_PAYLOAD)]
    TooLong,
    #[error("{0}; a line is STATE PAYLOAD")]
    State(wire::Error),
}

/// Reads publications; empty lines are skipped.
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// Reads from `input`, through a buffer of 64 KiB.
    pub fn new(input: R) -> Lines<R> {
        Lines { input: BufReader::with_capacity(64 * 1024, input), line: Vec::new(), number: 0 }
    }

    /// The next publication; `None` at the end of the input.
    ///
    /// # Errors
    /// The line has no valid state, is too long, or cannot be read.
    pub fn read(&mut self) -> Result<Option<Publication>, InvalidLine> {
        loop {
            self.line.clear();
            self.number += 1;
            let number = self.number;
            let invalid = |problem| InvalidLine { number, problem };
            let limit = LINE_BYTES as u64 + 1;
            self.input
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| invalid(Problem::Read(error)))?;
            if self.line.is_empty() {
                return Ok(None);
            }
            if self.line.len() > LINE_BYTES {
                return Err(invalid(Problem::TooLong));
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return parse(line).map(Some).map_err(|error| invalid(Problem::State(error)));
            }
        }
    }

    /// Whether another whole line is buffered, so that a flush can wait for it.
    pub fn has_more(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

fn parse(line: &[u8]) -> Result<Publication, wire::Error> {
    let end = line.iter().position(|b| *b == b' ' || *b == b'\t').unwrap_or(line.len());
    let state = String::from_utf8_lossy(&line[..end]).into_owned();
    State::new(&state)?;
    Ok(Publication { state, payload: line.get(end + 1..).unwrap_or_default().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<(String, String)>, Option<String>) {
        let mut lines = Lines::new(text);
        let mut read = Vec::new();
        loop {
            match lines.read() {
                Ok(Some(p)) => read.push((p.state, String::from_utf8_lossy(&p.payload).into_owned())),
                Ok(None) => return (read, None),
                Err(error) => return (read, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn line_is_a_state_and_a_payload() {
        let all =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(s, p)| (s.to_string(), p.to_string())).collect::<Vec<_>>();
        for (text, expected) in [
            ("", all(&[])),
            ("A x\nB y", all(&[("A", "x"), ("B", "y")])),
            ("A {\"k\": 1}\r\n\n\r\nB\n", all(&[("A", "{\"k\": 1}"), ("B", "")])),
            ("A\tx y \n", all(&[("A", "x y ")])),
            ("A  x\n", all(&[("A", " x")])),
        ] {
            assert_eq!(read(text.as_bytes()), (expected, None), "{text:?}");
        }
    }

    #[test]
    fn error_names_the_line() {
        let (before, error) = read(b"A x\n\n x\nB y\n");
        assert_eq!(before.len(), 1);
        assert!(error.unwrap().starts_with("line 3: \"\" is not a state"));
        assert!(read(b"\xff\xfe x\n").1.unwrap().starts_with("line 1: "));
    }

    #[test]
    fn longer_than_the_longest_line_is_refused_without_reading_it_whole() {
        let state = "s".repeat(MAX_STATE);
        let longest = format!("{state} {}\r\n", "x".repeat(MAX_PAYLOAD));
        assert_eq!(read(longest.as_bytes()).0[0].1.len(), MAX_PAYLOAD);
        assert!(read(format!("{state} {}", "x".repeat(MAX_PAYLOAD + 3)).as_bytes()).1.is_some());
        let mut endless = Lines::new(io::repeat(b'x'));
        assert!(endless.read().is_err());
        assert!(endless.line.capacity() < 4 * LINE_BYTES);
    }
}

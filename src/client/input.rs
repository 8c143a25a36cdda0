//! Publications as lines, `STATE PAYLOAD`: what resq-trigger reads from its standard input. Bounded: a line that is
//! too long is an error before it is in memory.

use std::io::{self, BufRead, BufReader, Read};

use crate::wire::{MAX_PAYLOAD, MAX_STATE, State};

/// The longest line, with its end: a state, one blank, a payload, CR and LF.
const LINE_BYTES: usize = MAX_STATE + 1 + MAX_PAYLOAD + 2;

/// One line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub state: String,
    pub payload: Vec<u8>,
}

/// Reads publications; empty lines are skipped.
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R) -> Lines<R> {
        Lines { input: BufReader::with_capacity(64 * 1024, input), line: Vec::new(), number: 0 }
    }

    /// The next one; None at the end. The error names the line.
    pub fn read(&mut self) -> Result<Option<Publication>, String> {
        loop {
            self.line.clear();
            self.number += 1;
            let cannot = |e: io::Error| format!("line {}: cannot read it ({e})", self.number);
            let limit = LINE_BYTES as u64 + 1;
            self.input.by_ref().take(limit).read_until(b'\n', &mut self.line).map_err(cannot)?;
            if self.line.is_empty() {
                return Ok(None);
            }
            if self.line.len() > LINE_BYTES {
                return Err(format!("line {}: longer than a state and {MAX_PAYLOAD} bytes of payload", self.number));
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return parse(line).map(Some).map_err(|e| format!("line {}: {e}", self.number));
            }
        }
    }

    /// Whether a whole further line is here already, so that sending may wait for it.
    pub fn has_more(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

fn parse(line: &[u8]) -> Result<Publication, String> {
    let end = line.iter().position(|b| *b == b' ' || *b == b'\t').unwrap_or(line.len());
    let state = String::from_utf8_lossy(&line[..end]).into_owned();
    State::new(&state).map_err(|e| format!("{e}; a line is STATE PAYLOAD"))?;
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
                Err(e) => return (read, Some(e)),
            }
        }
    }

    #[test]
    fn a_line_is_a_state_and_a_payload() {
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
    fn a_wrong_line_is_told_by_its_number() {
        let (before, error) = read(b"A x\n\n x\nB y\n");
        assert_eq!(before.len(), 1);
        assert!(error.unwrap().starts_with("line 3: \"\" is not a state"));
        assert!(read(b"\xff\xfe x\n").1.unwrap().starts_with("line 1: "));
    }

    #[test]
    fn the_longest_line_is_read_and_a_longer_one_refused_without_reading_it_all() {
        let state = "s".repeat(MAX_STATE);
        let longest = format!("{state} {}\r\n", "x".repeat(MAX_PAYLOAD));
        assert_eq!(read(longest.as_bytes()).0[0].1.len(), MAX_PAYLOAD);
        assert!(read(format!("{state} {}", "x".repeat(MAX_PAYLOAD + 3)).as_bytes()).1.is_some());
        let mut endless = Lines::new(io::repeat(b'x'));
        assert!(endless.read().is_err());
        assert!(endless.line.capacity() < 4 * LINE_BYTES);
    }
}

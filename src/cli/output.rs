//! Standard output. If it fails (a full disk, a reader that has exited), the command continues its work and nothing
//! panics: the first error is kept and reported once, at the end. Programs print in no other way.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use crate::base::{
    failure::{Exit, Failure},
    text::printable,
};

/// How many bytes are collected before they are written.
const CHUNK: usize = 8 * 1024;
/// Characters of the first lost line that the report shows.
const SHOWN: usize = 200;

/// What a program prints, line by line.
pub struct Output {
    to: Box<dyn Write>,
    pending: Vec<u8>,
    lost: Option<Lost>,
}

/// The write that failed.
struct Lost {
    error: io::Error,
    first_line: String,
}

impl Output {
    /// Writes to this process's standard output.
    pub fn stdout() -> Output {
        Output::to(Box::new(io::stdout()))
    }

    fn to(to: Box<dyn Write>) -> Output {
        Output { to, pending: Vec::new(), lost: None }
    }

    /// Adds a line; it is written at the latest by [`Output::finish`].
    pub fn line(&mut self, text: impl Display) {
        if self.is_open() {
            // Writing to memory cannot fail.
            let _ = writeln!(self.pending, "{text}");
            if self.pending.len() >= CHUNK {
                self.flush();
            }
        }
    }

    /// Writes the lines added so far.
    pub fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if self.is_open()
            && let Err(error) = self.to.write_all(&pending).and_then(|()| self.to.flush())
        {
            let text = String::from_utf8_lossy(&pending);
            let first_line = text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
            self.lost = Some(Lost { error, first_line });
        }
    }

    /// Whether output may still be read: no write has failed yet.
    pub fn is_open(&self) -> bool {
        self.lost.is_none()
    }

    /// Writes the remaining lines.
    ///
    /// # Errors
    /// A line could not be written. A reader that has exited (`resqctl list | head -1`) is not a failure.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.flush();
        match self.lost.take() {
            None => Ok(()),
            Some(Lost { error, .. }) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Some(Lost { error, first_line }) => Err(Failure::new(
                Exit::Failed,
                format!("cannot write to standard output ({error}); not written: {}", printable(&first_line)),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts `room` bytes, then fails with `kind`.
    struct Limited {
        room: usize,
        kind: ErrorKind,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.room.min(bytes.len()) {
                0 => Err(self.kind.into()),
                n => {
                    self.room -= n;
                    Ok(n)
                }
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_output_is_a_failure_unless_the_reader_has_exited() {
        for (room, kind, missed) in [
            (99, ErrorKind::StorageFull, None),
            (4, ErrorKind::StorageFull, Some("second")),
            (0, ErrorKind::StorageFull, Some("one")),
            (0, ErrorKind::BrokenPipe, None),
        ] {
            let mut out = Output::to(Box::new(Limited { room, kind }));
            out.line("one");
            out.flush();
            out.line("second");
            out.line("third");
            let finished = out.finish();
            assert_eq!(finished.is_err(), missed.is_some(), "{room} {kind}");
            if let (Err(failure), Some(missed)) = (finished, missed) {
                assert!(failure.message.ends_with(missed), "{failure}");
            }
            assert!(out.finish().is_ok(), "reported once");
        }
    }
}

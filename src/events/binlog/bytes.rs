//! Reads the parts of an event's body from the front. Every read may fail, none panics: a server of another version may
//! send what this one does not know.

/// The body of an event, or of a part of it, is shorter than its own lengths say, or holds what no server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What is left of a body.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("an event of the binary log is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number of `count` bytes (at most 8), the least significant first.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn little(&mut self, count: usize) -> Result<u64, Malformed> {
        Ok(self.take(count)?.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// An unsigned number of `count` bytes (at most 8), the most significant first.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn big(&mut self, count: usize) -> Result<u64, Malformed> {
        Ok(self.take(count)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// A number in the protocol's own form of 1 to 9 bytes.
    ///
    /// # Errors
    /// There are fewer bytes, or it is none.
    pub fn packed(&mut self) -> Result<usize, Malformed> {
        let number = match self.byte()? {
            small @ 0..=250 => u64::from(small),
            252 => self.little(2)?,
            253 => self.little(3)?,
            254 => self.little(8)?,
            _ => return Err(Malformed("a length in an event of the binary log is none")),
        };
        usize::try_from(number).map_err(|_| Malformed("a length in an event of the binary log is too large"))
    }

    /// A text behind its length of one byte, which a zero follows.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.byte()?.into();
        let name = self.take(length)?;
        self.byte()?;
        Ok(name)
    }
}

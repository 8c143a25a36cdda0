//! Reads the fields of one frame's body, from its front to its end. Never reads beyond it: a body that is too short is
//! an error.

use super::Error;

pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Reader<'a> {
        Reader(body)
    }

    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// `u16 length` + UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Error> {
        let length = self.u16()? as usize;
        let (text, rest) = self.0.split_at_checked(length).ok_or(TOO_SHORT)?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Error::Malformed("a string that is not UTF-8"))
    }

    /// The rest of the body.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Requires that the body ends here.
    pub fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed("trailing bytes in a frame")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (now, rest) = self.0.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(*now)
    }
}

const TOO_SHORT: Error = Error::Malformed("a frame that is too short");

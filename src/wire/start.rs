//! Consumers' names, and where in the event log a subscription or a new consumer begins. A [`ConsumerName`] is checked once,
//! where bytes or text enter, and is always valid.

use super::{Error, State};
use std::fmt;

/// Where delivery begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    #[default]
    Now,
    /// With the oldest event that the log keeps.
    Beginning,
    /// Just after this number.
    After(u64),
    /// With the first event that was numbered at this time or later, in microseconds since 1970 by the database server's
    /// clock. No event written at that time or later is left out; some written before may be delivered, too.
    Time(u64),
}

/// The name of a consumer: 1 to 64 of `A-Z a-z 0-9 _ . : -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerName<'a>(State<'a>);

impl<'a> ConsumerName<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the text is too long, empty, or has other characters.
    pub fn new(text: &'a str) -> Result<ConsumerName<'a>, Error> {
        let refused = |_| Error::Malformed("a consumer's name that is not 1 to 64 of A-Z a-z 0-9 _ . : -");
        State::new(text).map(ConsumerName).map_err(refused)
    }

    /// Its text.
    pub fn as_str(self) -> &'a str {
        self.0.as_str()
    }
}

impl fmt::Display for ConsumerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

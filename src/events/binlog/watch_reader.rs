//! The thread that decodes the log for watched tables. Ends with the dump, or with the thread that numbers what it decodes.

use super::{charset::ServerCharsets, decoded::Sender, transactions::Transactions};
use crate::{
    base::heartbeat,
    db::{
        Error,
        dump::{DumpSource, Start},
    },
};

/// Decodes until the dump or the receiver ends.
///
/// # Errors
/// The dump's, or the server could not be asked about a character set.
pub fn read(
    source: &DumpSource,
    start: &Start,
    transactions: &mut Transactions,
    charsets: &mut ServerCharsets,
    sender: &Sender,
) -> Result<(), Error> {
    heartbeat::waiting();
    let mut dump = source.open(start)?;
    let mut failed = None;
    let mut is_received = true;
    let mut items = Vec::new();
    loop {
        dump.next(&mut |event| {
            if let Err(error) = transactions.observe(event, charsets, &mut items) {
                failed = Some(error);
            }
            // Within a compressed transaction, that of the next events.
            for item in items.drain(..) {
                is_received &= sender.send(item);
            }
            is_received && failed.is_none()
        })?;
        match failed.take() {
            Some(error) => return Err(error),
            None if !is_received => return Ok(()),
            None => {}
        }
    }
}

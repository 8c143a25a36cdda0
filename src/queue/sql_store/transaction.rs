//! An open transaction as a value, so that a function can return it and its caller commit it.

use mysql::{Conn, prelude::Queryable};

use crate::db::Error;

/// A transaction that is open on a connection. It is not rolled back when dropped: after an error,
/// [`crate::db::Link::run`] does that.
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction<'c> {
    /// For further statements in this transaction.
    pub conn: &'c mut Conn,
}

impl<'c> Transaction<'c> {
    pub fn start(conn: &'c mut Conn) -> Result<Transaction<'c>, Error> {
        conn.query_drop("START TRANSACTION")?;
        Ok(Transaction { conn })
    }

    pub fn commit(self) -> Result<(), Error> {
        Ok(self.conn.query_drop("COMMIT")?)
    }

    pub fn roll_back(self) -> Result<(), Error> {
        Ok(self.conn.query_drop("ROLLBACK")?)
    }
}

//! An open transaction as a value, so that a function can return it and its caller commit it.

use mysql::{
    Conn, FromRowError,
    prelude::{FromRow, Queryable},
};

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

    /// Starts one by a query, in one round trip; returns its rows.
    pub fn start_with<T: FromRow>(
        conn: &'c mut Conn,
        query: &str,
    ) -> Result<(Transaction<'c>, Vec<Result<T, FromRowError>>), Error> {
        let mut rows = Vec::new();
        let mut results = conn.query_iter(format!("START TRANSACTION; {query}"))?;
        while let Some(result) = results.iter() {
            for row in result {
                rows.push(T::from_row_opt(row?));
            }
        }
        drop(results);
        Ok((Transaction { conn }, rows))
    }

    pub fn commit(self) -> Result<(), Error> {
        Ok(self.conn.query_drop("COMMIT")?)
    }

    pub fn roll_back(self) -> Result<(), Error> {
        Ok(self.conn.query_drop("ROLLBACK")?)
    }
}

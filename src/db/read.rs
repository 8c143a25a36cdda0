//! Typed reads. The driver's own panic at a value that does not fit its type, and any tool may alter a column of resq's
//! tables or restore an older one: here that is an error. Knows no table.

use mysql::prelude::{FromRow, Queryable};

use super::Error;

/// What every connection of the driver can read.
pub trait ReadRows: Queryable {
    /// All rows of a query.
    ///
    /// # Errors
    /// The server's; [`Error::Corrupt`] if a value does not fit its type.
    fn read_rows<T: FromRow>(&mut self, sql: impl AsRef<str>) -> Result<Vec<T>, Error> {
        self.read_map(sql, |row| row)
    }

    /// All rows of a query, each as `make` makes it.
    ///
    /// # Errors
    /// As for [`ReadRows::read_rows`].
    fn read_map<T: FromRow, U>(&mut self, sql: impl AsRef<str>, mut make: impl FnMut(T) -> U) -> Result<Vec<U>, Error> {
        self.query_opt::<T, _>(sql)?.into_iter().map(|row| Ok(make(row?))).collect()
    }

    /// The first row of a query, if it has any.
    ///
    /// # Errors
    /// As for [`ReadRows::read_rows`].
    fn read_first<T: FromRow>(&mut self, sql: impl AsRef<str>) -> Result<Option<T>, Error> {
        Ok(self.query_first_opt::<T, _>(sql)?.transpose()?)
    }
}

impl<C: Queryable> ReadRows for C {}

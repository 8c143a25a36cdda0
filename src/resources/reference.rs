//! What a database of a type and version should look like: runs its files in a scratch database and reads the shape.

use mysql::{Conn, prelude::Queryable};

use super::{
    migrate::files::Migration,
    scratch::ScratchDatabases,
    shape::{Difference, Identity, Reader, Shape, compare},
    template::Values,
    template_sets::TemplateSet,
};
use crate::{
    base::clock,
    db::{self, Error, ErrorClass, RACE_BACKOFF, ReadRows, ident},
};

/// How often files are run that lose races for locks.
const TRIES: u32 = 3;

/// The shape that some files make, and the values with which they were rendered.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The shape.
    pub shape: Shape,
    /// Values that occur nowhere else, so that they are recognised in the shape.
    pub identity: Identity,
}

/// Why there is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A statement of a file failed.
    #[error("{file}, statement {statement}: {error}")]
    File {
        /// The file's path below the folder of templates.
        file: String,
        /// The statement, from 1.
        statement: usize,
        /// The server's words.
        error: Error,
    },
    /// The files make no database of the name that they were given.
    #[error("the files create no database named {{{{RES_DB_NAME}}}}")]
    NoDatabase,
    /// Another statement failed.
    #[error(transparent)]
    Other(#[from] Error),
}

impl ReferenceError {
    /// What the files are to blame for.
    ///
    /// # Errors
    /// What another statement would have met as well: it says nothing about the files.
    pub fn of_files(self) -> Result<ReferenceError, Error> {
        match self {
            ReferenceError::Other(error) => Err(error),
            ReferenceError::File { error, .. } if error.class() != ErrorClass::Permanent => Err(error),
            own => Ok(own),
        }
    }
}

impl From<mysql::Error> for ReferenceError {
    fn from(error: mysql::Error) -> ReferenceError {
        Error::from(error).into()
    }
}

/// Runs the files of `set` in a scratch database, which one of them creates, and then these migrations; again in another
/// one where they lost a race for locks, as for rows of the global database.
///
/// # Errors
/// A file failed, or the server cannot be used.
pub fn build(
    scratch: &mut ScratchDatabases,
    global_db: &str,
    res_type: &str,
    set: &TemplateSet,
    migrations: &[&Migration],
) -> Result<Reference, ReferenceError> {
    let mut tries = 1;
    loop {
        match build_once(scratch, global_db, res_type, set, migrations) {
            Err(ReferenceError::File { error, .. }) if error.class() == ErrorClass::Retry && tries < TRIES => {
                clock::sleep(RACE_BACKOFF.pause(tries, fastrand::f64()));
                tries += 1;
            }
            built => return built,
        }
    }
}

fn build_once(
    scratch: &mut ScratchDatabases,
    global_db: &str,
    res_type: &str,
    set: &TemplateSet,
    migrations: &[&Migration],
) -> Result<Reference, ReferenceError> {
    scratch.with(&format!("the shape of type {res_type}"), |conn, db_name| {
        let identity = marked(db_name);
        let Identity { res_name, res_url, res_id, .. } = &identity;
        let values = Values { global_db, res_db: db_name, res_name, res_type, res_url, res_id: *res_id };
        let mut runner = Runner { conn, db_name, is_selected: false };
        for (templates, in_database) in [(&set.res_db, false), (&set.res_tables, true)] {
            for template in templates {
                runner.run(&template.name, &[&template.render(&values)], in_database, template.leaves_trace)?;
            }
        }
        for migration in migrations {
            let statements = migration.statements(&values);
            let texts: Vec<&str> = statements.iter().map(|statement| statement.text.as_str()).collect();
            runner.run(&migration.path, &texts, true, migration.leaves_trace())?;
        }
        db::session::reset(conn)?;
        let builder = conn.read_first("SELECT CURRENT_USER()")?.unwrap_or_default();
        let mut shapes = Reader::new(conn)?.read(conn, &[db_name])?;
        let shape = shapes.remove(db_name).ok_or(ReferenceError::NoDatabase)?;
        Ok(Reference { shape: Shape { builder, ..shape }, identity })
    })
}

impl Reference {
    /// How a database differs from it.
    pub fn compare(&self, found: &Shape, identity: &Identity) -> Vec<Difference> {
        compare(&self.shape, &self.identity, found, identity)
    }
}

/// Random values of the kinds that templates may ask for. The number fits into a column of type INT.
fn marked(db_name: &str) -> Identity {
    Identity {
        db_name: db_name.into(),
        res_name: format!("n{:012x}", fastrand::u64(0..1 << 48)),
        res_url: format!("u{:012x}", fastrand::u64(0..1 << 48)),
        res_id: fastrand::u64(1_000_000_000..=i32::MAX as u64),
    }
}

/// Runs files in a session that none of them leaves changed for the next.
struct Runner<'a> {
    conn: &'a mut Conn,
    db_name: &'a str,
    /// The database is the current one.
    is_selected: bool,
}

impl Runner<'_> {
    /// Runs the parts of one file. An error names the statement, counted through all parts.
    fn run(&mut self, file: &str, parts: &[&str], in_database: bool, leaves_trace: bool) -> Result<(), ReferenceError> {
        if in_database && !self.is_selected {
            self.conn.query_drop(format!("USE {}", ident(self.db_name)))?;
            self.is_selected = true;
        }
        for (before, part) in parts.iter().enumerate() {
            db::run_script(self.conn, part).map_err(|failed| ReferenceError::File {
                file: file.into(),
                statement: before + failed.statement,
                error: failed.error,
            })?;
        }
        if leaves_trace {
            self.conn.query_drop("COMMIT")?;
            db::session::reset(self.conn)?;
            self.is_selected = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::codes::{ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT, ER_PARSE_ERROR};

    #[test]
    fn files_are_to_blame_for_lasting_errors_alone() {
        for (code, is_their_fault) in [(ER_PARSE_ERROR, true), (ER_LOCK_DEADLOCK, false), (ER_LOCK_WAIT_TIMEOUT, false)]
        {
            let error = Error::Server { code, state: String::new(), message: String::new() };
            let failed = ReferenceError::File { file: "a".into(), statement: 1, error };
            assert_eq!(failed.of_files().is_ok(), is_their_fault, "{code}");
        }
        let lost = ReferenceError::File { file: "a".into(), statement: 1, error: Error::Unavailable("x".into()) };
        assert!(lost.of_files().is_err());
    }
}

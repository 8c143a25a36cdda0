//! What a database of a type and version should look like: runs its files in a scratch database and reads the shape.

use mysql::{Conn, prelude::Queryable};

use super::{
    scratch::ScratchDatabases,
    shape::{Identity, Reader, Shape},
    template::{Template, Values},
};
use crate::db::{self, Error, ReadRows, ident};

/// The folder of the files that run before there is a database to be in.
const BEFORE: &str = "res_db/";

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

impl From<mysql::Error> for ReferenceError {
    fn from(error: mysql::Error) -> ReferenceError {
        Error::from(error).into()
    }
}

/// Runs `files` in their order in a scratch database: those of `res_db`, which create it, then all others in it.
///
/// # Errors
/// A file failed, or the server cannot be used.
pub fn build(
    scratch: &mut ScratchDatabases,
    global_db: &str,
    res_type: &str,
    files: &[&Template],
) -> Result<Reference, ReferenceError> {
    scratch.with(&format!("the shape of type {res_type}"), |conn, db_name| {
        let identity = marked(db_name);
        let Identity { res_name, res_url, res_id, .. } = &identity;
        let values = Values { global_db, res_db: db_name, res_name, res_type, res_url, res_id: *res_id };
        run(conn, &values, files)?;
        db::session::reset(conn)?;
        let builder = conn.read_first("SELECT CURRENT_USER()")?.unwrap_or_default();
        let mut shapes = Reader::new(conn)?.read(conn, &[db_name])?;
        let shape = shapes.remove(db_name).ok_or(ReferenceError::NoDatabase)?;
        Ok(Reference { shape: Shape { builder, ..shape }, identity })
    })
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

/// Runs each file as a whole in a session that the one before it has not changed.
fn run(conn: &mut Conn, values: &Values<'_>, files: &[&Template]) -> Result<(), ReferenceError> {
    let mut is_selected = false;
    for template in files {
        let select = !is_selected && !template.name.starts_with(BEFORE);
        is_selected |= select;
        let prefix = if select { format!("USE {}; ", ident(values.res_db)) } else { String::new() };
        let done = db::run_script(conn, &(prefix + &template.render(values)));
        done.map_err(|failed| ReferenceError::File {
            file: template.name.clone(),
            statement: failed.statement.saturating_sub(usize::from(select)).max(1),
            error: failed.error,
        })?;
        if template.leaves_trace {
            conn.query_drop("COMMIT")?;
            db::session::reset(conn)?;
            is_selected = false;
        }
    }
    Ok(())
}

//! The migrations that some database has, as the control database keeps their texts. Expects the global database as the
//! current one.

use mysql::Conn;

use super::files::{Migration, MigrationError};
use crate::{
    base::failure::{Exit, Failure},
    db::{Error, ReadRows},
    resources::Templates,
};

/// Every migration that some database has, in the order of their numbers; or the first text that this program refuses.
///
/// # Errors
/// Those of the database.
pub fn all(conn: &mut Conn) -> Result<Result<Vec<Migration>, MigrationError>, Error> {
    let rows = texts(conn)?;
    Ok(rows.iter().map(|(_, path, text)| Migration::parse(path, text)).collect())
}

fn texts(conn: &mut Conn) -> Result<Vec<(u32, String, String)>, Error> {
    conn.read_rows("SELECT number, path, text FROM res_migration ORDER BY number")
}

/// Refuses files that have changed since some database got them.
///
/// # Errors
/// The first such file, or those of the database.
pub fn check(conn: &mut Conn, templates: &Templates) -> Result<(), Failure> {
    let rows = texts(conn)?;
    let applied = rows.iter().map(|(number, path, text)| (*number, path.as_str(), text.as_str()));
    templates.migrations.check_applied(applied).map_err(refused)
}

fn refused(error: MigrationError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

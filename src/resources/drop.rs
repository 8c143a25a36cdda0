//! Dropping databases that resq made, and only those: what the registry does not name stays. Each is dropped under
//! the lock of its name, first the database and then its rows, so that a crash in between is made good by a repeat.

use mysql::{Conn, prelude::Queryable};

use super::registry;
use crate::{
    db::{Error, id_list, ident},
    queue::JobError,
};

/// A database of the registry, with the job that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub db_name: String,
    pub res_id: u64,
}

/// Which databases.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Of resources made by `resqctl seed`.
    Seeded,
    All,
    Of(&'a [u64]),
    /// Those of these jobs that ended in error and left half a database.
    HalfMade(&'a [u64]),
}

/// The databases to drop, by name; `conn` is in the global database, here and below.
pub fn list(conn: &mut Conn, which: Which) -> Result<Vec<Owned>, Error> {
    let condition = match which {
        Which::Seeded => "EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.seeded)".to_string(),
        Which::All => "TRUE".to_string(),
        Which::Of([]) | Which::HalfMade([]) => "FALSE".to_string(),
        Which::Of(ids) => format!("d.res_id IN ({})", id_list(ids)),
        Which::HalfMade(ids) => format!(
            "d.res_id IN ({}) AND d.state = 'making' \
             AND EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.status = 'error')",
            id_list(ids)
        ),
    };
    Ok(conn.query_map(
        format!("SELECT db_name, res_id FROM res_database d WHERE {condition} ORDER BY db_name"),
        |(db_name, res_id)| Owned { db_name, res_id },
    )?)
}

/// Drops one database and forgets it.
pub fn drop_database(conn: &mut Conn, global_db: &str, owned: &Owned) -> Result<(), JobError> {
    let row = match registry::lock_idle(conn, global_db, &owned.db_name, owned.res_id) {
        Ok(row) => row,
        Err(error) => {
            registry::unlock(conn, &owned.db_name)?;
            return Err(error);
        }
    };
    let dropped = if row.is_some_and(|row| row.res_id == owned.res_id) {
        conn.query_drop(format!("DROP DATABASE IF EXISTS {}", ident(&owned.db_name))).and_then(|()| {
            let gone = registry::gone(&owned.db_name);
            conn.exec_drop(
                format!("DELETE FROM res_database WHERE db_name = ? AND res_id = ? AND {gone}"),
                (&owned.db_name, owned.res_id),
            )
        })
    } else {
        Ok(())
    };
    registry::unlock(conn, &owned.db_name)?;
    Ok(dropped?)
}

/// Deletes waiting seeded rows, in pieces, so that no daemon starts them while their like are dropped.
pub fn delete_waiting_seeded(conn: &mut Conn) -> Result<(), Error> {
    delete_in_pieces(conn, "DELETE FROM res_queue WHERE seeded AND status = 'new' LIMIT 1000")
}

/// Deletes the rows of all seeded resources that are not running, with the history of their errors.
pub fn delete_seeded(conn: &mut Conn) -> Result<(), Error> {
    delete_in_pieces(conn, "DELETE FROM res_queue WHERE seeded AND status IN ('new', 'done', 'error') LIMIT 1000")?;
    delete_in_pieces(
        conn,
        "DELETE FROM res_error WHERE NOT EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = res_error.res_id) LIMIT 1000",
    )
}

fn delete_in_pieces(conn: &mut Conn, delete: &str) -> Result<(), Error> {
    loop {
        conn.query_drop(delete)?;
        if conn.affected_rows() < 1000 {
            return Ok(());
        }
    }
}

/// Deletes the rows of these jobs unless they run, with the history of their errors.
pub fn delete_rows(conn: &mut Conn, ids: &[u64]) -> Result<u64, Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let ids = id_list(ids);
    conn.query_drop(format!(
        "DELETE FROM res_queue WHERE res_id IN ({ids}) AND (status <> 'in_progress' OR status IS NULL)"
    ))?;
    let deleted = conn.affected_rows();
    conn.query_drop(format!("DELETE FROM res_error WHERE res_id IN ({ids}) AND NOT EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = res_error.res_id)"))?;
    Ok(deleted)
}

/// How many jobs run now, of `ids` or of all.
pub fn running(conn: &mut Conn, ids: Option<&[u64]>) -> Result<u64, Error> {
    let of = ids.map_or_else(String::new, |ids| format!("AND res_id IN ({})", id_list(ids)));
    Ok(conn
        .query_first(format!("SELECT COUNT(*) FROM res_queue WHERE status = 'in_progress' {of}"))?
        .unwrap_or_default())
}

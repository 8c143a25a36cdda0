//! Statements on the server that holds a resource's database: lock the database's name, find out whether the database
//! exists, drop it. Never reads or writes the queue or the registry, which may be on another server.

use mysql::{Conn, prelude::Queryable};

use crate::db::{Error, ReadRows, codes::*, ident, literal, zero_if};

/// The state of a name after an attempt to lock it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// This session holds the lock.
    pub held: bool,
    /// A database of that name exists.
    pub exists: bool,
}

/// Waits at most `wait_s` seconds for the lock of `db_name`, which lasts as long as the session, and then looks for the
/// database. One round trip: the server starts a statement only when the previous one is done. SHOW
/// CREATE DATABASE is the cheapest way to ask for a single database: a query of the information schema takes MySQL five
/// times as long.
///
/// # Errors
/// The server's. The lock is not held.
pub fn lock(conn: &mut Conn, db_name: &str, wait_s: u32) -> Result<Locked, Error> {
    lock_and_look(conn, db_name, wait_s).inspect_err(|_| {
        // On a connection that fails here, too, nothing lasts.
        let _ = unlock(conn, db_name);
    })
}

fn lock_and_look(conn: &mut Conn, db_name: &str, wait_s: u32) -> Result<Locked, Error> {
    let mut results = conn.query_iter(format!(
        "SELECT GET_LOCK({}, {wait_s}); SHOW CREATE DATABASE {}",
        lock_name(db_name),
        ident(db_name)
    ))?;
    let mut locked: Option<u8> = None;
    if let Some(mut rows) = results.iter() {
        locked = rows.next().transpose()?.and_then(|mut row| row.take_opt(0)).and_then(Result::ok).flatten();
    }
    let shown = match results.iter() {
        Some(mut rows) => rows.next().transpose(),
        None => Err(mysql::Error::server_disconnected()),
    };
    let exists = match shown.map_err(Error::from) {
        Ok(row) => row.is_some(),
        // Also if this account may not see it: creating it then fails, which is reported.
        Err(error) if matches!(error.code(), Some(ER_BAD_DB_ERROR | ER_DBACCESS_DENIED_ERROR)) => false,
        Err(error) => return Err(error),
    };
    Ok(Locked { held: locked == Some(1), exists })
}

/// Releases the lock before the session ends.
pub fn unlock(conn: &mut Conn, db_name: &str) -> Result<(), Error> {
    Ok(conn.query_drop(release_lock(db_name))?)
}

/// Whether some session holds the lock: the database is being built, changed or dropped.
pub fn is_locked(conn: &mut Conn, db_name: &str) -> Result<bool, Error> {
    let free: Option<u8> = conn.read_first(format!("SELECT IS_FREE_LOCK({})", lock_name(db_name)))?.flatten();
    Ok(free == Some(0))
}

/// The statement that releases the lock of the name `held` and takes that of `db_name`. It fails if that is not free, or the
/// `condition` is not true.
pub fn change_lock(held: Option<&str>, db_name: &str, condition: &str) -> String {
    let release = held.map(|held| format!("RELEASE_LOCK({}), ", lock_name(held))).unwrap_or_default();
    let take = zero_if(&format!("GET_LOCK({}, 0) = 1 AND {condition}", lock_name(db_name)));
    format!("SELECT {release}{take}")
}

/// The statement that takes the lock of `db_name` if it is free.
pub fn take_lock(db_name: &str) -> String {
    format!("SELECT GET_LOCK({}, 0)", lock_name(db_name))
}

/// The statement that releases the lock.
pub fn release_lock(db_name: &str) -> String {
    format!("DO RELEASE_LOCK({})", lock_name(db_name))
}

/// A condition: this session holds the lock.
pub fn holds_lock(db_name: &str) -> String {
    format!("IS_USED_LOCK({}) = CONNECTION_ID()", lock_name(db_name))
}

/// Ends the session that holds the lock of `db_name`, if there is one. Needs no privilege if that session belongs to the
/// same account. After a failure the next [`lock`] times out.
pub fn kill_holder(conn: &mut Conn, db_name: &str) {
    match conn.query_drop(format!("KILL IS_USED_LOCK({})", lock_name(db_name))).map_err(Error::from) {
        Ok(()) => log::warn!("resource lock: held by a stale attempt; killed its session database={db_name}"),
        // It has ended by itself: IS_USED_LOCK is NULL, or the session no longer exists.
        Err(error) if matches!(error.code(), Some(ER_NO_SUCH_THREAD | ER_KILL_DENIED_ERROR)) => {}
        Err(error) => {
            log::debug!("resource lock: cannot kill the holder; waiting for it database={db_name}: {error}");
        }
    }
}

/// Ends the session that holds the lock of `db_name` here, if there is one. False: after `wait_s` seconds it still holds it.
pub fn end_holder(conn: &mut Conn, db_name: &str, wait_s: u32) -> Result<bool, Error> {
    if !is_locked(conn, db_name)? {
        return Ok(true);
    }
    kill_holder(conn, db_name);
    let is_free = lock(conn, db_name, wait_s)?.held;
    unlock(conn, db_name)?;
    Ok(is_free)
}

/// Drops a database that was found a moment ago.
pub fn drop_found(conn: &mut Conn, db_name: &str) -> Result<(), Error> {
    Ok(conn.query_drop(format!("DROP DATABASE {}", ident(db_name)))?)
}

/// Drops a database that may exist, in one round trip; true if it certainly does not exist afterwards. MariaDB without a
/// free file descriptor cannot read a database's folder, and DROP DATABASE IF EXISTS then reports success.
pub fn drop_if_exists(conn: &mut Conn, db_name: &str) -> Result<bool, Error> {
    let mut results = conn.query_iter(format!(
        "DROP DATABASE IF EXISTS {}; SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
        ident(db_name),
        literal(db_name)
    ))?;
    let mut is_gone = true;
    while let Some(rows) = results.iter() {
        for row in rows {
            row?;
            is_gone = false;
        }
    }
    Ok(is_gone)
}

/// A foreign key of one database into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The database whose table has the constraint.
    pub from_db: String,
    /// That table.
    pub from_table: String,
    /// The constraint.
    pub name: String,
    /// The database that it refers to.
    pub to_db: String,
    /// The table that it refers to.
    pub to_table: String,
}

/// The foreign keys by which other databases refer to tables of these, which DROP DATABASE will refuse. Only those that
/// this account may see: it needs some privilege on the table that has the constraint.
pub fn foreign_keys_into(conn: &mut Conn, db_names: &[&str]) -> Result<Vec<ForeignKey>, Error> {
    if db_names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = db_names.iter().map(|name| literal(name)).collect();
    conn.read_map(
        format!(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME \
             FROM information_schema.KEY_COLUMN_USAGE \
             WHERE REFERENCED_TABLE_SCHEMA IN ({}) AND TABLE_SCHEMA <> REFERENCED_TABLE_SCHEMA",
            names.join(", ")
        ),
        |(from_db, from_table, name, to_db, to_table)| ForeignKey { from_db, from_table, name, to_db, to_table },
    )
}

/// The bytes of tables and indexes in each of these databases that has any, as the server estimates them.
///
/// # Errors
/// Those of the database.
pub fn sizes(conn: &mut Conn, db_names: &[&str]) -> Result<Vec<(String, u64)>, Error> {
    if db_names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = db_names.iter().map(|name| literal(name)).collect();
    conn.read_rows(format!(
        "SELECT TABLE_SCHEMA, CAST(SUM(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0)) AS UNSIGNED) \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({}) GROUP BY TABLE_SCHEMA",
        names.join(", ")
    ))
}

/// A lock's name has at most 64 characters, and MySQL ignores their case while MariaDB does not: hence the hash. SHA2
/// and not SHA1, which MySQL 9.6 has moved into a component that few installations load.
fn lock_name(db_name: &str) -> String {
    format!("CONCAT('resq.', SHA2({}, 224))", literal(db_name))
}

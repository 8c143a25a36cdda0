//! Scratch databases: made for a moment, to see what templates and migrations make of an empty database. Owns their names,
//! which no resource's database can have, and their removal, also after a crash. Never touches another database.

use mysql::{Conn, prelude::Queryable};

use super::resource_server;
use crate::db::{self, Db, Error, Link, ReadRows, ServerInfo, literal};

/// Between the prefix of resources' databases and a random number. Names of resources' databases contain no `-`.
const MARK: &str = "scratch-";

/// For how long a scratch database of another node's session is left alone, in seconds.
const LEASE_S: u32 = 600;

/// Makes and removes scratch databases. Each call that makes one needs three connections in all.
pub struct ScratchDatabases {
    control: Link,
    resources: Db,
    prefix: String,
    is_cluster: bool,
}

impl ScratchDatabases {
    /// Registered with `control`, made on `resources` under names that begin with `prefix`, as the account may create them.
    pub fn new(control: &Db, resources: &Db, prefix: &str, server: &ServerInfo) -> ScratchDatabases {
        ScratchDatabases {
            control: Link::new(control),
            resources: resources.clone(),
            prefix: prefix.to_ascii_lowercase(),
            is_cluster: server.is_cluster,
        }
    }

    /// Registers the name of a new scratch database and calls `work`, which creates the database, with a fresh session and
    /// that name. The database is gone afterwards, however `work` ends; what a crash leaves, the next [`Self::sweep`] removes.
    ///
    /// # Errors
    /// Those of `work`; or a statement failed before it.
    pub fn with<T, E: From<Error>>(
        &mut self,
        purpose: &str,
        work: impl FnOnce(&mut Conn, &str) -> Result<T, E>,
    ) -> Result<T, E> {
        let db_name = format!("{}{MARK}{:016x}", self.prefix, fastrand::u64(..));
        let mut holder = self.resources.any()?;
        let locked = resource_server::lock(&mut holder, &db_name, 0)?;
        if !locked.held || locked.exists {
            return Err(Error::Corrupt("the random name of a scratch database is taken").into());
        }
        let name = literal(&db_name);
        let entered = format!(
            "INSERT INTO res_scratch (db_name, purpose, until) VALUES ({name}, {}, NOW(6) + INTERVAL {LEASE_S} SECOND)",
            literal(&purpose.chars().take(255).collect::<String>())
        );
        self.control.run(|conn| Ok(conn.query_drop(&entered)?))?;
        let done = self.work(&db_name, work);
        if let Err(error) = self.remove(&mut holder, &db_name) {
            log::debug!("scratch database: not removed; the next sweep does it database={db_name}: {error}");
        }
        let _ = resource_server::unlock(&mut holder, &db_name);
        done
    }

    fn work<T, E: From<Error>>(
        &self,
        db_name: &str,
        work: impl FnOnce(&mut Conn, &str) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut conn = self.resources.any()?;
        db::session::reset(&mut conn)?;
        let done = work(&mut conn, db_name);
        // Whatever the files have set or locked ends here.
        if db::session::reset(&mut conn).is_err() {
            conn.give_up();
        }
        done
    }

    /// Removes the scratch databases that a crash has left; returns how many.
    ///
    /// # Errors
    /// A statement failed.
    pub fn sweep(&mut self) -> Result<usize, Error> {
        let lease = if self.is_cluster { "WHERE until < NOW(6) OR until IS NULL" } else { "" };
        let listed = format!("SELECT db_name FROM res_scratch {lease} ORDER BY db_name LIMIT 1000");
        let names: Vec<String> = self.control.run(|conn| conn.read_rows(&listed))?;
        if names.is_empty() {
            return Ok(0);
        }
        let mut holder = self.resources.any()?;
        let mut removed = 0;
        for db_name in names {
            if resource_server::lock(&mut holder, &db_name, 0)?.held {
                self.remove(&mut holder, &db_name)?;
                resource_server::unlock(&mut holder, &db_name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn remove(&mut self, holder: &mut Conn, db_name: &str) -> Result<(), Error> {
        if resource_server::drop_if_exists(holder, db_name)? {
            let forget = format!("DELETE FROM res_scratch WHERE db_name = {}", literal(db_name));
            self.control.run(|conn| Ok(conn.query_drop(&forget)?))?;
        }
        Ok(())
    }
}

/// Whether a database of this name can only be a scratch database of an installation with this prefix.
pub fn is_scratch(prefix: &str, db_name: &str) -> bool {
    let rest = db_name.to_ascii_lowercase();
    rest.strip_prefix(&prefix.to_ascii_lowercase()).is_some_and(|rest| rest.starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::name::Naming;

    #[test]
    fn no_resource_has_a_database_of_such_a_name() {
        let naming = Naming { prefix: "res_".into(), global_db: "resq".into(), folds_case: false };
        assert!(is_scratch("res_", "res_scratch-0123456789abcdef"));
        for name in ["scratch-0123456789abcdef", "scratch_1", "scratch-"] {
            assert!(!is_scratch("res_", &naming.db_name(name, 7).unwrap()), "{name}");
        }
    }
}

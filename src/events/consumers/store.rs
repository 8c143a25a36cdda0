//! The SQL of consumers' positions: the table `res_consumer`, and where in the log a time lies. Expects the global database
//! as the current one.

use std::collections::{BTreeMap, HashMap};

use mysql::{Conn, prelude::Queryable};

use super::{Claim, ConsumerStore, Loss, Progress, Taken};
use crate::{
    db::{Db, Error, Link, ReadRows, literal},
    events::{store as log_store, times},
    wire::Start,
};

/// Consumers that may exist; everyone who may subscribe can create some.
pub const MOST: u64 = 20_000;
/// Consumers in one statement: more as constants are slow.
const BATCH: usize = 300;
/// Characters that are kept of what is for people.
const SHOWN: usize = 255;

/// The keeper's access to a server's global database.
pub struct SqlConsumers {
    link: Link,
}

impl SqlConsumers {
    /// Connects at the first call.
    pub fn new(db: &Db) -> SqlConsumers {
        SqlConsumers { link: Link::new(db) }
    }
}

impl ConsumerStore for SqlConsumers {
    fn take(&mut self, claim: &Claim) -> Result<Option<Taken>, Error> {
        self.link.run(|conn| take(conn, claim))
    }

    fn locate(&mut self, unix_time_us: u64) -> Result<u64, Error> {
        self.link.run(|conn| times::locate(conn, unix_time_us))
    }

    fn store(&mut self, progress: &[Progress]) -> Result<(), Error> {
        self.link.run(|conn| progress.chunks(BATCH).try_for_each(|chunk| store(conn, chunk)))
    }

    fn lost(&mut self, held: &BTreeMap<Box<str>, u64>) -> Result<Vec<(Box<str>, Loss)>, Error> {
        let names: Vec<&str> = held.keys().map(|name| &**name).collect();
        let mut lost = Vec::new();
        for names in names.chunks(BATCH) {
            let found = self.link.run(|conn| holders(conn, names))?;
            lost.extend(names.iter().filter_map(|name| match found.get(*name) {
                Some((holder, _)) if held.get(*name) == Some(holder) => None,
                Some((_, true)) => Some((Box::from(*name), Loss::TakenOver)),
                _ => Some((Box::from(*name), Loss::Moved)),
            }));
        }
        Ok(lost)
    }
}

fn take(conn: &mut Conn, claim: &Claim) -> Result<Option<Taken>, Error> {
    let name = literal(&claim.name);
    let exists: Option<u8> = conn.read_first(format!("SELECT 1 FROM res_consumer WHERE name = {name}"))?;
    let is_new = exists.is_none();
    if is_new && conn.read_first("SELECT COUNT(*) FROM res_consumer")?.unwrap_or(0u64) >= MOST {
        return Ok(None);
    }
    let head = log_store::head(conn)?;
    let beginning = head.first_seq - 1;
    let position = match claim.start {
        _ if !is_new => beginning,
        Start::Now => claim.head_seq,
        Start::Beginning => beginning,
        Start::After(seq) => seq,
        Start::Time(unix_time_us) => times::locate(conn, unix_time_us)?,
    };
    let holder = fastrand::u64(1..);
    let (client, states) = (literal(&cut(&claim.client)), literal(&cut(&claim.states)));
    let log_id = head.log_id;
    conn.query_drop("START TRANSACTION")?;
    // The assignments are made from left to right: `log_id` comes after its use. Numbers of another log mean nothing in this
    // one, which is read from its beginning.
    conn.query_drop(format!(
        "INSERT INTO res_consumer (name, log_id, position, holder, client, states) \
         VALUES ({name}, {log_id}, {position}, {holder}, {client}, {states}) \
         ON DUPLICATE KEY UPDATE position = IF(log_id = {log_id}, position, {beginning}), log_id = {log_id}, \
         holder = {holder}, client = {client}, states = {states}, taken_at = NOW(6)"
    ))?;
    let position: Option<u64> = conn.read_first(format!("SELECT position FROM res_consumer WHERE name = {name}"))?;
    conn.query_drop("COMMIT")?;
    let position = position.ok_or(Error::Corrupt("res_consumer lost a row that was just written"))?;
    Ok(Some(Taken { holder, position }))
}

/// One statement, which commits by itself: by primary key, whatever the optimizer thinks of the small table.
fn store(conn: &mut Conn, progress: &[Progress]) -> Result<(), Error> {
    let rows = progress.iter().map(|Progress { name, holder, position, .. }| {
        format!(
            "SELECT CONVERT({} USING ascii) COLLATE ascii_bin AS name, {holder} AS holder, {position} AS position",
            literal(name)
        )
    });
    let rows: Vec<String> = rows.collect();
    Ok(conn.query_drop(format!(
        "UPDATE ({}) z STRAIGHT_JOIN res_consumer c FORCE INDEX (PRIMARY) ON c.name = z.name \
         SET c.updated_at = NOW(6), c.position = z.position WHERE c.holder = z.holder",
        rows.join(" UNION ALL ")
    ))?)
}

/// The holders of these consumers, and whether each is a connection rather than an operator.
fn holders(conn: &mut Conn, names: &[&str]) -> Result<HashMap<String, (u64, bool)>, Error> {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    let rows: Vec<(String, u64, bool)> = conn.read_rows(format!(
        "SELECT name, holder, client IS NOT NULL FROM res_consumer WHERE name IN ({})",
        names.join(", ")
    ))?;
    Ok(rows.into_iter().map(|(name, holder, is_connection)| (name, (holder, is_connection))).collect())
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

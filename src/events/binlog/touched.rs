//! Which commits may have left work: rules that read the binary log's events one by one. Pure; decodes no row.

use std::collections::HashMap;

use super::{
    bytes::{Bytes, Malformed},
    kind::{self, Op, Rows},
    statement::Statement,
};
use crate::db::dump::LogEvent;

/// Who has work after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes {
    /// A job was inserted.
    pub dispatcher: bool,
    /// An event was written, or numbered by someone else.
    pub sequencer: bool,
    /// The daemon that reads watched tables numbered it.
    pub by_watcher: bool,
}

impl Wakes {
    /// Something of which only the server knows what it did.
    pub const ALL: Wakes = Wakes { dispatcher: true, sequencer: true, by_watcher: false };
}

/// A table of resq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Queue,
    Outbox,
    EventLog,
    Watch,
}

/// Follows the log from one commit to the next.
pub struct Touched {
    global_db: String,
    /// By the numbers of the table maps of this transaction.
    tables: HashMap<u64, Table>,
    wakes: Wakes,
    /// Events got numbers.
    is_numbering: bool,
    /// The position in the binary log was stored.
    is_watcher: bool,
    in_transaction: bool,
}

impl Touched {
    /// For the tables of this global database.
    pub fn new(global_db: &str) -> Touched {
        Touched {
            global_db: global_db.into(),
            tables: HashMap::new(),
            wakes: Wakes::default(),
            is_numbering: false,
            is_watcher: false,
            in_transaction: false,
        }
    }

    /// The next event; what to wake if it ended a transaction.
    ///
    /// # Errors
    /// It cannot be read. The transaction then counts as one that may have done anything.
    pub fn observe(&mut self, event: LogEvent<'_>) -> Result<Wakes, Malformed> {
        match event.kind {
            kind::TABLE_MAP => self.map(event.body)?,
            kind::XID | kind::XA_PREPARE => return Ok(self.end()),
            kind::QUERY | kind::QUERY_COMPRESSED => return self.statement(event),
            other => {
                if let Some(rows) = Rows::of(other) {
                    self.rows(rows.op, event.body)?;
                }
            }
        }
        Ok(Wakes::default())
    }

    /// What to wake after an event that could not be read.
    pub fn unknown(&mut self) -> Wakes {
        self.end();
        Wakes::ALL
    }

    fn map(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut body = Bytes(body);
        let id = body.little(6)?;
        body.take(2)?;
        let (db, table) = (body.name()?, body.name()?);
        // Without case, as some servers store names: a wakeup too many is harmless.
        let is = |name: &str| table.eq_ignore_ascii_case(name.as_bytes());
        let known = match db.eq_ignore_ascii_case(self.global_db.as_bytes()) {
            true if is("res_queue") => Some(Table::Queue),
            true if is("res_outbox") => Some(Table::Outbox),
            true if is("res_event") => Some(Table::EventLog),
            true if is("res_watch") => Some(Table::Watch),
            _ => None,
        };
        match known {
            Some(table) => self.tables.insert(id, table),
            None => self.tables.remove(&id),
        };
        Ok(())
    }

    fn rows(&mut self, op: Op, body: &[u8]) -> Result<(), Malformed> {
        let id = Bytes(body).little(6)?;
        match (self.tables.get(&id), op) {
            (Some(Table::Queue), Op::Insert) => self.wakes.dispatcher = true,
            // What makes a job ready again also writes an event, and the sequencer wakes the dispatcher for that.
            (Some(Table::Outbox), Op::Insert) => self.wakes.sequencer = true,
            // They leave the outbox for the log.
            (Some(Table::Outbox), _) => self.is_numbering = true,
            // Rows that came into the log on another way have no other wakeup.
            (Some(Table::EventLog), Op::Insert) => self.wakes.sequencer = true,
            // Together with the events, it stores its position.
            (Some(Table::Watch), _) => self.is_watcher = true,
            _ => {}
        }
        Ok(())
    }

    fn statement(&mut self, event: LogEvent<'_>) -> Result<Wakes, Malformed> {
        match Statement::parse(event.kind, event.body)?.verb().as_str() {
            "BEGIN" | "XA START" => self.in_transaction = true,
            "COMMIT" => return Ok(self.end()),
            "ROLLBACK" => drop(self.end()),
            "SAVEPOINT" | "XA END" | "XA ROLLBACK" => {}
            "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "RENAME" | "GRANT" | "REVOKE" | "ANALYZE" | "OPTIMIZE"
            | "FLUSH" => {}
            // Logged as a statement, whose triggers may have done anything; or what was prepared before.
            _ => {
                self.wakes = Wakes::ALL;
                self.is_numbering = false;
                if !self.in_transaction {
                    return Ok(self.end());
                }
            }
        }
        Ok(Wakes::default())
    }

    fn end(&mut self) -> Wakes {
        self.tables.clear();
        self.in_transaction = false;
        let wakes = std::mem::take(&mut self.wakes);
        let is_watcher = std::mem::take(&mut self.is_watcher);
        let is_numbering = std::mem::take(&mut self.is_numbering);
        let wakes = Wakes { by_watcher: is_watcher && wakes.sequencer && !wakes.dispatcher, ..wakes };
        // The daemon that numbered them reads them at once; other daemons read them by the wakeup that this one had.
        if is_numbering && !wakes.dispatcher { Wakes::default() } else { wakes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Wakes = Wakes { dispatcher: false, sequencer: false, by_watcher: false };
    const JOB: Wakes = Wakes { dispatcher: true, ..EVENT };
    const EVENT: Wakes = Wakes { sequencer: true, ..NONE };

    fn event(kind: u8, body: &[u8]) -> LogEvent<'_> {
        LogEvent { kind, at_s: 0, end: 0, server_id: 0, gtid: None, body }
    }

    fn query(text: &str) -> (u8, Vec<u8>) {
        (kind::QUERY, [&[0; 13][..], b"\0", text.as_bytes()].concat())
    }

    fn map(id: u8, db: &str, table: &str) -> (u8, Vec<u8>) {
        let name = |name: &str| [&[name.len() as u8][..], name.as_bytes(), b"\0"].concat();
        (kind::TABLE_MAP, [&[id, 0, 0, 0, 0, 0, 1, 0][..], &name(db), &name(table), &[1, 3, 0, 1]].concat())
    }

    fn rows(kind: u8, id: u8) -> (u8, Vec<u8>) {
        (kind, vec![id, 0, 0, 0, 0, 0, 0, 0])
    }

    const INSERT: u8 = 30;
    const UPDATE: u8 = 24;
    const DELETE: u8 = 25;
    const XID: (u8, Vec<u8>) = (kind::XID, Vec::new());

    /// What is woken after each event that wakes anything.
    fn woken(events: Vec<(u8, Vec<u8>)>) -> Vec<Wakes> {
        let mut touched = Touched::new("resq");
        let seen = events.iter().map(|(kind, body)| event(*kind, body));
        seen.map(|event| touched.observe(event).unwrap()).filter(|wakes| *wakes != NONE).collect()
    }

    #[test]
    fn commits_that_leave_work_wake_those_who_have_it() {
        let (queue, outbox, log, watch, other) = (
            map(1, "resq", "res_queue"),
            map(2, "RESQ", "res_outbox"),
            map(3, "resq", "res_event"),
            map(4, "resq", "res_watch"),
            map(1, "a", "res_queue"),
        );
        for (events, expected, why) in [
            (
                vec![queue.clone(), outbox.clone(), rows(INSERT, 1), rows(INSERT, 2), XID],
                vec![JOB],
                "an insert and its trigger",
            ),
            (vec![outbox.clone(), rows(INSERT, 2), XID], vec![EVENT], "publish"),
            (vec![queue.clone(), outbox.clone(), rows(UPDATE, 1), rows(INSERT, 2), XID], vec![EVENT], "a claim"),
            (vec![queue.clone(), rows(UPDATE, 1), XID], vec![], "an update that no trigger announces"),
            (vec![log.clone(), outbox.clone(), rows(INSERT, 3), rows(DELETE, 2), XID], vec![], "numbering"),
            (vec![log.clone(), rows(INSERT, 3), XID], vec![EVENT], "events from elsewhere"),
            (
                vec![
                    watch.clone(),
                    rows(UPDATE, 4),
                    log.clone(),
                    rows(INSERT, 3),
                    XID,
                    log.clone(),
                    rows(INSERT, 3),
                    XID,
                ],
                vec![Wakes { by_watcher: true, ..EVENT }, EVENT],
                "changes of watched tables, then events from elsewhere",
            ),
            (vec![watch, rows(UPDATE, 4), XID], vec![], "a position alone"),
            (vec![log.clone(), rows(DELETE, 3), XID], vec![], "pruning"),
            (vec![other, rows(INSERT, 1), XID], vec![], "another database"),
            (vec![queue.clone(), rows(INSERT, 1), query("COMMIT")], vec![Wakes { sequencer: false, ..JOB }], "no XID"),
            (vec![query("BEGIN"), outbox.clone(), rows(INSERT, 2), query("ROLLBACK"), XID], vec![], "rolled back"),
            (vec![query("INSERT INTO t VALUES (1)")], vec![JOB], "a statement"),
            (vec![query("BEGIN"), query("CALL p()"), XID, XID], vec![JOB], "a statement in a transaction"),
            (vec![query("CREATE TABLE t (a INT)"), query("GRANT ALL")], vec![], "DDL"),
            (
                vec![outbox.clone(), rows(INSERT, 2), (kind::XA_PREPARE, vec![]), query("XA COMMIT 'a'")],
                vec![EVENT, JOB],
                "XA",
            ),
        ] {
            assert_eq!(woken(events), expected, "{why}");
        }
    }

    #[test]
    fn unreadable_event_may_have_been_anything() {
        let mut touched = Touched::new("resq");
        for kind in [kind::TABLE_MAP, kind::QUERY, kind::QUERY_COMPRESSED, INSERT] {
            assert!(touched.observe(event(kind, &[1, 2])).is_err(), "{kind}");
        }
        assert_eq!(touched.unknown(), Wakes::ALL);
    }
}

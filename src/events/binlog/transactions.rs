//! From the events of the log to the events of watched tables, transaction by transaction, in the order of their commits.
//! Holds no more than a piece of a transaction at a time; knows no connection but the one that character sets ask.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    bytes::{Bytes, Malformed},
    charset::Charsets,
    kind::{self, Rows},
    payload::{Context, Rules, Watched},
    rows,
    statement::Statement,
    table_map::{self, TableMap},
    temporal,
    text::quoted,
    value::Undecodable,
};
use crate::db::{Error, dump::LogEvent};

/// The state of an event that stands for changes that could not be read.
pub const GAP: &str = "resq.watch_gap";
/// Payload bytes after which a piece of a transaction is passed on.
const PIECE_BYTES: usize = 256 << 10;
/// Tables that are remembered.
const TABLES: usize = 1024;
/// The longest statement in a gap.
const SHOWN_CHARACTERS: usize = 200;

/// An event that has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its state.
    pub state: String,
    /// Its payload.
    pub payload: String,
    /// When the transaction was committed, or the statement begun where the log does not have that: µs since 1970.
    pub at_us: u64,
}

impl NewEvent {
    /// With a payload as it can be stored: bytes that are no UTF-8 are replaced.
    pub fn new(state: &str, payload: Vec<u8>, at_us: u64) -> NewEvent {
        let payload = String::from_utf8(payload);
        let payload = payload.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        NewEvent { state: state.into(), payload, at_us }
    }
}

/// Where a transaction ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The file.
    pub file: Arc<str>,
    /// The position in it.
    pub pos: u64,
    /// Its GTID, if it has one.
    pub gtid: Option<String>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A piece of a transaction that is still being read.
    Piece(Vec<NewEvent>),
    /// The last piece of a transaction, and where it ends.
    End(Vec<NewEvent>, Step),
    /// What was passed on of this transaction was rolled back.
    RolledBack(Step),
    /// Nothing happened.
    Idle,
}

impl Item {
    /// Bytes of its payloads.
    pub fn bytes(&self) -> usize {
        match self {
            Item::Piece(events) | Item::End(events, _) => events.iter().map(|event| event.payload.len()).sum(),
            Item::RolledBack(_) | Item::Idle => 0,
        }
    }
}

/// A table of the log; None: it is not watched.
type Known = Option<Arc<(TableMap, Vec<Watched>)>>;

/// Reads transactions.
pub struct Transactions {
    rules: Rules,
    limit: usize,
    /// The largest payload in a statement.
    statement_limit: usize,
    tables: HashMap<u64, (Vec<u8>, Known)>,
    file: Arc<str>,
    has_format: bool,
    gtid: Option<String>,
    commit_us: Option<u64>,
    in_transaction: bool,
    piece: Vec<NewEvent>,
    piece_bytes: usize,
    /// Pieces of this transaction were passed on.
    is_passed_on: bool,
    /// What this transaction's gaps say.
    gaps: BTreeSet<String>,
}

impl Transactions {
    /// By these rules, with payloads of at most `limit` bytes, and that a statement of `max_packet_bytes` can hold.
    pub fn new(rules: Rules, limit: usize, max_packet_bytes: usize) -> Transactions {
        Transactions {
            rules,
            limit,
            statement_limit: max_packet_bytes.saturating_sub(4096),
            tables: HashMap::new(),
            file: "".into(),
            has_format: false,
            gtid: None,
            commit_us: None,
            in_transaction: false,
            piece: Vec::new(),
            piece_bytes: 0,
            is_passed_on: false,
            gaps: BTreeSet::new(),
        }
    }

    /// The next event of the log; appends what came of it to `items`. What cannot be decoded is announced in its place, as
    /// an event with the state [`GAP`].
    ///
    /// # Errors
    /// The server could not be asked about a character set.
    pub fn observe(
        &mut self,
        event: LogEvent<'_>,
        charsets: &mut dyn Charsets,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        match self.read(event, charsets, items) {
            Ok(()) => Ok(()),
            Err(Undecodable::Database(error)) => Err(error),
            Err(Undecodable::Malformed(malformed)) => {
                self.gap(malformed.0, None, event.at_s);
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        event: LogEvent<'_>,
        charsets: &mut dyn Charsets,
        items: &mut Vec<Item>,
    ) -> Result<(), Undecodable> {
        match event.kind {
            kind::ROTATE => {
                let mut body = Bytes(event.body);
                body.take(8)?;
                // Before the format is known, a checksum may follow the name, which ends in six digits.
                let name = match self.has_format {
                    true => body.0,
                    false => {
                        let dot = body.0.iter().position(|byte| *byte == b'.').unwrap_or_default();
                        body.0.get(..dot + 7).unwrap_or(body.0)
                    }
                };
                self.file = String::from_utf8_lossy(name).into();
            }
            kind::FORMAT_DESCRIPTION => self.has_format = true,
            kind::GTID | kind::TAGGED_GTID => {
                items.extend(self.begin(event.gtid.map(|gtid| gtid.text.clone())));
                self.commit_us = event.gtid.map(|gtid| gtid.commit_us).filter(|us| *us > 0);
            }
            kind::ANONYMOUS_GTID => items.extend(self.begin(None)),
            kind::MARIADB_GTID => {
                let mut body = Bytes(event.body);
                let (number, domain, flags) = (body.little(8)?, body.little(4)?, body.byte()?);
                items.extend(self.begin(Some(format!("{domain}-{}-{number}", event.server_id))));
                self.in_transaction = flags & 1 == 0;
            }
            kind::QUERY | kind::QUERY_COMPRESSED => items.extend(self.statement(event)?),
            kind::XID => items.push(self.end(event)),
            kind::XA_PREPARE => match Bytes(event.body).byte()? {
                0 if self.is_passed_on || !self.piece.is_empty() => {
                    self.discard();
                    self.gap("an XA transaction was prepared; whether it is committed shows later", None, event.at_s);
                    items.extend([Item::RolledBack(Step::default()), self.end(event)]);
                }
                _ => items.push(self.end(event)),
            },
            kind::INCIDENT => self.gap("the server lost events of its binary log", None, event.at_s),
            kind::HEARTBEAT | kind::HEARTBEAT_2 => items.push(Item::Idle),
            kind::TABLE_MAP => self.map(event.body)?,
            other => {
                if let Some(rows) = Rows::of(other) {
                    self.rows(rows, event, charsets, items)?;
                }
            }
        }
        Ok(())
    }

    /// A transaction begins. The one before has ended, unless a server that was killed was writing it.
    fn begin(&mut self, gtid: Option<String>) -> Option<Item> {
        self.discard();
        (self.gtid, self.commit_us, self.in_transaction) = (gtid, None, false);
        std::mem::take(&mut self.is_passed_on).then(|| Item::RolledBack(Step::default()))
    }

    /// Forgets the rows of a transaction.
    fn discard(&mut self) {
        self.piece.retain(|event| event.state == GAP);
        self.piece_bytes = 0;
        self.gaps.clear();
    }

    fn end(&mut self, event: LogEvent<'_>) -> Item {
        let step = Step { file: self.file.clone(), pos: event.end, gtid: self.gtid.take() };
        let piece = std::mem::take(&mut self.piece);
        self.is_passed_on = false;
        self.begin(None);
        Item::End(piece, step)
    }

    fn statement(&mut self, event: LogEvent<'_>) -> Result<Option<Item>, Malformed> {
        let statement = Statement::parse(event.kind, event.body)?;
        match statement.verb().as_str() {
            "BEGIN" | "XA START" => self.in_transaction = true,
            "COMMIT" | "XA COMMIT" | "XA ROLLBACK" => return Ok(Some(self.end(event))),
            "ROLLBACK" if !statement.is_to_savepoint() => {
                self.discard();
                return Ok(Some(match self.end(event) {
                    Item::End(_, step) => Item::RolledBack(step),
                    other => other,
                }));
            }
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "CALL" | "SELECT" => {
                let text = String::from_utf8_lossy(&statement.text);
                let shown = text.chars().take(SHOWN_CHARACTERS).collect::<String>();
                let why = "a session with binlog_format = STATEMENT changed rows that the binary log does not have";
                self.gap(why, Some(&shown), event.at_s);
                if !self.in_transaction {
                    return Ok(Some(self.end(event)));
                }
            }
            _ if !self.in_transaction => return Ok(Some(self.end(event))),
            _ => {}
        }
        Ok(None)
    }

    fn map(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (id, db, table) = table_map::head(&mut Bytes(body))?;
        if self.tables.get(&id).is_some_and(|(known, _)| known == body) {
            return Ok(());
        }
        if self.tables.len() >= TABLES {
            self.tables.clear();
        }
        // Forgotten first, so that rows of a table that cannot be read are not taken for another's.
        self.tables.remove(&id);
        let (db, table) = (String::from_utf8_lossy(db), String::from_utf8_lossy(table));
        let known = match self.rules.concern(&db, &table) {
            false => None,
            true => {
                let map = TableMap::parse(body)?;
                let watched = self.rules.watched(&map);
                Some(Arc::new((map, watched)))
            }
        };
        self.tables.insert(id, (body.to_vec(), known));
        Ok(())
    }

    fn rows(
        &mut self,
        rows: Rows,
        event: LogEvent<'_>,
        charsets: &mut dyn Charsets,
        items: &mut Vec<Item>,
    ) -> Result<(), Undecodable> {
        let Some((_, Some(known))) = self.tables.get(&rows::table_id(event.body)?) else { return Ok(()) };
        let known = known.clone();
        let (map, watched) = (&known.0, &known.1);
        let at_us = self.at_us(event.at_s);
        let at = self.at(event.at_s);
        let gtid = self.gtid.clone();
        let context =
            Context { at: &at, gtid: gtid.as_deref(), limit: self.limit, statement_limit: self.statement_limit };
        rows::each(rows, event.body, map, |before, after| {
            for one in watched {
                let Some(state) = one.state(rows.op, before, after) else { continue };
                let payload = one.payload(map, rows.op, [before, after], context, charsets)?;
                self.piece_bytes += payload.len() + state.len();
                self.piece.push(NewEvent::new(state, payload, at_us));
            }
            if self.piece_bytes >= PIECE_BYTES {
                (self.piece_bytes, self.is_passed_on) = (0, true);
                items.push(Item::Piece(std::mem::take(&mut self.piece)));
            }
            Ok(())
        })
    }

    fn at_us(&self, at_s: u32) -> u64 {
        self.commit_us.unwrap_or(u64::from(at_s) * 1_000_000)
    }

    fn at(&self, at_s: u32) -> String {
        match self.commit_us {
            Some(us) => temporal::instant(us / 1_000_000, &format!(".{:06}", us % 1_000_000)),
            None => temporal::instant(at_s.into(), ""),
        }
    }

    /// Announces that something is missing here, once per transaction and reason.
    fn gap(&mut self, reason: &str, statement: Option<&str>, at_s: u32) {
        if !self.gaps.insert(reason.into()) {
            return;
        }
        let mut payload = b"{\"reason\":".to_vec();
        quoted(reason, &mut payload);
        for (name, value) in
            [("statement", statement), ("at", Some(self.at(at_s).as_str())), ("gtid", self.gtid.as_deref())]
        {
            if let Some(value) = value {
                payload.extend(format!(",\"{name}\":").bytes());
                quoted(value, &mut payload);
            }
        }
        payload.push(b'}');
        log::warn!("watched tables: changes cannot be read, {reason}; announcing resq.watch_gap in their place");
        self.piece_bytes += payload.len();
        self.piece.push(NewEvent::new(GAP, payload, self.at_us(at_s)));
    }
}

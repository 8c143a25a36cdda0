//! A change of a row as the payload of an event.

use super::{
    charset::Charsets,
    kind::Op,
    rows::Image,
    table_map::TableMap,
    text::{literal_bytes, quoted},
    value::{self, Undecodable},
};
use crate::config::{SYSTEM_DATABASES, Watch, watch_matches};

/// What a watch makes of one table, found once for all its rows.
#[derive(Debug)]
pub struct Watched {
    /// By insert, update, delete; None: it is no event.
    states: [Option<String>; 3],
    /// The places of the columns in the payload.
    shown: Vec<usize>,
    /// The places of `only_changed`; None: every update is an event.
    decisive: Option<Vec<usize>>,
}

/// When, and in which transaction.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// As text.
    pub at: &'a str,
    /// None: the server has no GTIDs.
    pub gtid: Option<&'a str>,
    /// The largest payload.
    pub limit: usize,
    /// The largest payload as a literal in a statement.
    pub statement_limit: usize,
}

/// The watches, as the server's names are compared.
#[derive(Clone, Debug)]
pub struct Rules {
    /// As in the settings.
    pub watches: Vec<Watch>,
    /// The database whose changes are never events, since they would be of events.
    pub global_db: String,
    /// Names that differ only in case are the same.
    pub folds_case: bool,
}

impl Rules {
    /// Whether any watch is for this table, by its names alone.
    pub fn concern(&self, db: &str, table: &str) -> bool {
        let is_own = SYSTEM_DATABASES.iter().chain([&self.global_db.as_str()]).any(|own| own.eq_ignore_ascii_case(db));
        !is_own && self.of(db, table).next().is_some()
    }

    fn of<'a>(&'a self, db: &'a str, table: &'a str) -> impl Iterator<Item = &'a Watch> {
        let folds = self.folds_case;
        self.watches
            .iter()
            .filter(move |watch| watch_matches(&watch.db, db, folds) && watch_matches(&watch.table, table, folds))
    }

    /// What each watch for this table makes of it.
    pub fn watched(&self, map: &TableMap) -> Vec<Watched> {
        let place = |name: &String| map.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        let places = |names: &[String]| names.iter().filter_map(place).collect::<Vec<_>>();
        let watched = self.of(&map.db, &map.table).map(|watch| Watched {
            states: ["insert", "update", "delete"].map(|op| {
                let wanted = watch.ops.iter().any(|wanted| wanted == op);
                wanted.then(|| watch.state_of(&map.db, &map.table, op))
            }),
            shown: match watch.columns.is_empty() {
                true => (0..map.columns.len()).collect(),
                false => (0..map.columns.len()).filter(|at| places(&watch.columns).contains(at)).collect(),
            },
            decisive: (!watch.only_changed.is_empty()).then(|| places(&watch.only_changed)),
        });
        watched.collect()
    }
}

impl Watched {
    /// The state of the event of this change; None: it is none.
    pub fn state(&self, op: Op, before: Option<&Image<'_>>, after: Option<&Image<'_>>) -> Option<&str> {
        let state = self.states[op as usize].as_deref()?;
        match (&self.decisive, before, after) {
            (Some(decisive), Some(before), Some(after)) => {
                decisive.iter().any(|at| before.get(*at) != after.get(*at)).then_some(state)
            }
            _ => Some(state),
        }
    }

    /// The payload of the event of this change.
    ///
    /// # Errors
    /// A value cannot be written as JSON.
    pub fn payload(
        &self,
        map: &TableMap,
        op: Op,
        images: [Option<&Image<'_>>; 2],
        context: Context<'_>,
        charsets: &mut dyn Charsets,
    ) -> Result<Vec<u8>, Undecodable> {
        let whole = write(map, op, images, &self.shown, context, charsets, false)?;
        match whole.len() <= context.limit && literal_bytes(&whole) <= context.statement_limit {
            true => Ok(whole),
            false => write(map, op, images, &map.key, context, charsets, true),
        }
    }
}

fn write(
    map: &TableMap,
    op: Op,
    images: [Option<&Image<'_>>; 2],
    shown: &[usize],
    context: Context<'_>,
    charsets: &mut dyn Charsets,
    is_truncated: bool,
) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::with_capacity(256);
    out.extend(b"{\"db\":");
    quoted(&map.db, &mut out);
    out.extend(b",\"table\":");
    quoted(&map.table, &mut out);
    out.extend(match op {
        Op::Insert => &b",\"op\":\"insert\""[..],
        Op::Update => b",\"op\":\"update\"",
        Op::Delete => b",\"op\":\"delete\"",
    });
    for (name, image) in [&b",\"before\":"[..], b",\"after\":"].into_iter().zip(images) {
        out.extend(name);
        let Some(image) = image else {
            out.extend(b"null");
            continue;
        };
        out.push(b'{');
        for (place, at) in shown.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let column = &map.columns[*at];
            quoted(&column.name, &mut out);
            out.push(b':');
            value::write(column, image[*at], charsets, &mut out)?;
        }
        out.push(b'}');
    }
    out.extend(b",\"at\":");
    quoted(context.at, &mut out);
    out.extend(b",\"gtid\":");
    match context.gtid {
        Some(gtid) => quoted(gtid, &mut out),
        None => out.extend(b"null"),
    }
    if is_truncated {
        out.extend(b",\"truncated\":true");
    }
    out.push(b'}');
    Ok(out)
}

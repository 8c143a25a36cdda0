//! `[[watch]]`: the tables whose changes become events. Reads the tables of the settings file and checks them; knows no
//! server.

use toml::{Spanned, de::DeValue};

use super::{Config, Invalid, SYSTEM_DATABASES};
use crate::{base::text::nearest, base::text::printable, wire::MAX_STATE, wire::State};

/// What happens to a row.
pub const OPS: [&str; 3] = ["insert", "update", "delete"];

const KEYS: [&str; 5] = ["table", "ops", "state", "columns", "only_changed"];
const DEFAULT_STATE: &str = "{table}.{op}";
/// `[[watch]]` entries.
const MOST: usize = 100;

/// Tables to watch, and what to announce of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The database; with `*` at its end, all whose names begin so.
    pub db: String,
    /// The table, likewise.
    pub table: String,
    /// Of [`OPS`].
    pub ops: Vec<String>,
    /// The state of the events, with `{table}`, `{db}` and `{op}`.
    pub state: String,
    /// The columns in the payload; empty: all.
    pub columns: Vec<String>,
    /// An update that changes none of these is no event; empty: every update is.
    pub only_changed: Vec<String>,
    /// `FILE:LINE`, for messages.
    pub place: String,
}

/// Whether `name` is meant by `pattern`.
pub fn matches(pattern: &str, name: &str, folds_case: bool) -> bool {
    let same = |a: &str, b: &str| if folds_case { a.eq_ignore_ascii_case(b) } else { a == b };
    match pattern.strip_suffix('*') {
        Some(prefix) => name.get(..prefix.len()).is_some_and(|begin| same(begin, prefix)),
        None => same(pattern, name),
    }
}

/// A name of the server's in the characters of a state.
fn valid(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    name.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

impl Watch {
    /// The state of an event of this table.
    pub fn state_of(&self, db: &str, table: &str, op: &str) -> String {
        let template = self.state.replace("{op}", op);
        let (mut db, mut table) = (valid(db), valid(table));
        loop {
            let state = template.replace("{table}", &table).replace("{db}", &db);
            // Names give way, never what tells the operations apart.
            let longer = match (template.contains("{table}"), template.contains("{db}")) {
                (true, true) if db.len() > table.len() => &mut db,
                (false, true) => &mut db,
                _ => &mut table,
            };
            if state.len() <= MAX_STATE || longer.pop().is_none() {
                return state.chars().take(MAX_STATE).collect();
            }
        }
    }

    /// One entry of the file.
    pub(super) fn parse(value: &Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> String) -> Result<Watch, Invalid> {
        let place = at(value.span().start);
        let wrong = |place: &str, what: &str| Invalid(format!("{place}: watch: {what}"));
        let entry = value.get_ref().as_table().ok_or_else(|| {
            wrong(&place, "has the wrong type; expected a table: [[watch]] in double brackets, then its keys")
        })?;
        let mut watch = Watch {
            db: String::new(),
            table: String::new(),
            ops: OPS.map(String::from).to_vec(),
            state: DEFAULT_STATE.into(),
            columns: Vec::new(),
            only_changed: Vec::new(),
            place: place.clone(),
        };
        for (key, value) in entry {
            let place = at(key.span().start);
            let name: &str = key.get_ref();
            let text = || match value.get_ref() {
                DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
                _ => Err(wrong(&place, &format!("{name} has the wrong type; expected text in quotes"))),
            };
            let list = || match value.get_ref() {
                DeValue::Array(items) => {
                    let items: Option<Vec<String>> =
                        items.iter().map(|item| item.get_ref().as_str().map(String::from)).collect();
                    items.filter(|items| !items.is_empty() && items.iter().all(|item| !item.is_empty()))
                }
                _ => None,
            };
            let names = || {
                list().ok_or_else(|| wrong(&place, &format!("{name} has the wrong type; expected an array of texts")))
            };
            match name {
                "table" => (watch.db, watch.table) = pattern(&text()?).ok_or_else(|| wrong(&place, TABLE))?,
                "state" => watch.state = text()?,
                "columns" => watch.columns = names()?,
                "only_changed" => watch.only_changed = names()?,
                "ops" => {
                    watch.ops = names()?;
                    if let Some(op) = watch.ops.iter().find(|op| !OPS.contains(&op.as_str())) {
                        let message = format!("ops has `{}`; expected insert, update or delete", printable(op));
                        return Err(wrong(&place, &message));
                    }
                }
                other => {
                    let hint = match nearest(other, KEYS) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("known are {}", KEYS.join(", ")),
                    };
                    return Err(wrong(&place, &format!("unknown key {}; {hint}", printable(other))));
                }
            }
        }
        if watch.table.is_empty() {
            return Err(wrong(&place, &format!("table is missing; {TABLE}")));
        }
        if !watch.has_valid_state() {
            let state = printable(&watch.state);
            return Err(wrong(&place, &format!("state `{state}` is none; {STATE}")));
        }
        if !watch.only_changed.is_empty() && !watch.ops.iter().any(|op| op == "update") {
            return Err(wrong(&place, "only_changed has no effect, since ops has no update"));
        }
        Ok(watch)
    }

    fn has_valid_state(&self) -> bool {
        let bare = OPS
            .iter()
            .chain(&["table", "db", "op"])
            .fold(self.state.clone(), |state, name| state.replace(&format!("{{{name}}}"), "x"));
        State::new(&bare).is_ok()
    }

    /// The states of its events, with the patterns in place of names.
    fn states(&self) -> impl Iterator<Item = String> {
        let filled = self.state.replace("{table}", &self.table).replace("{db}", &self.db);
        self.ops.iter().map(move |op| filled.replace("{op}", op))
    }
}

const STATE: &str = "expected 1 to 64 of A-Z a-z 0-9 _ . : - and {table}, {db}, {op}";
const TABLE: &str = "expected table = \"database.table\"; a * may stand at the end of either name";

fn pattern(text: &str) -> Option<(String, String)> {
    let (db, table) = text.split_once('.')?;
    let is_name = |name: &str| {
        let stem = name.strip_suffix('*').unwrap_or(name);
        !name.is_empty()
            && name.chars().count() <= 64
            && !stem.contains(['*', '.', '`'])
            && !stem.chars().any(char::is_control)
    };
    let fits = is_name(db) && is_name(table);
    fits.then(|| (db.into(), table.into()))
}

/// Checks the watches together, and against the other settings.
pub(super) fn check(config: &Config) -> Result<(), Invalid> {
    let watches = &config.watches;
    if let Some(watch) = watches.get(MOST) {
        return Err(Invalid(format!("{}: watch: more than {MOST} entries", watch.place)));
    }
    for (at, watch) in watches.iter().enumerate() {
        let wrong = |what: String| Err(Invalid(format!("{}: watch: {what}", watch.place)));
        if SYSTEM_DATABASES.iter().any(|db| watch.db.eq_ignore_ascii_case(db)) {
            return wrong(format!("`{}` belongs to the server; its tables cannot be watched", watch.db));
        }
        if watch.db.eq_ignore_ascii_case(&config.database.global_db) {
            return wrong(format!("`{}` holds the events themselves; its tables cannot be watched", watch.db));
        }
        let mine: Vec<String> = watch.states().collect();
        for other in &watches[..at] {
            if let Some(state) = other.states().find(|state| mine.contains(state)) {
                return wrong(format!(
                    "its events would have the state `{}`, as those of {}; give one of them another state",
                    printable(&state),
                    other.place
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_give_way_to_the_operation_in_a_state() {
        let long = "x".repeat(64);
        for (state, db, table, expected) in [
            ("{table}.{op}", "d", "t", "t.delete".to_string()),
            ("{table}.{op}", "d", "täble", "t_ble.delete".into()),
            ("{table}.{op}", "d", &long, format!("{}.delete", &long[..57])),
            ("{db}.{table}.{op}", &long, "orders", format!("{}.orders.delete", &long[..50])),
            ("{db}.{table}.{op}", &long, &long, format!("{}.{}.delete", &long[..28], &long[..28])),
            ("{db}", &long, &long, long.clone()),
        ] {
            let watch = Watch {
                db: String::new(),
                table: String::new(),
                ops: Vec::new(),
                state: state.into(),
                columns: Vec::new(),
                only_changed: Vec::new(),
                place: String::new(),
            };
            assert_eq!(watch.state_of(db, table, "delete"), expected, "{state} {db} {table}");
        }
    }

    #[test]
    fn names_match_whole_or_by_their_beginning() {
        for (pattern, name, folds, expected) in [
            ("shop", "shop", false, true),
            ("shop", "shops", false, false),
            ("shop", "Shop", false, false),
            ("shop", "Shop", true, true),
            ("res_*", "res_1", false, true),
            ("res_*", "re", false, false),
            ("*", "anything", false, true),
        ] {
            assert_eq!(matches(pattern, name, folds), expected, "{pattern} {name}");
        }
    }
}

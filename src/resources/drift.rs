//! What the last check found about each database, kept beside its row of the registry for those who did not run that check.
//! It belongs to a version: after a migration nothing is known until the next check. Expects the global database as the
//! current one.

use std::collections::BTreeMap;

use mysql::{Conn, prelude::Queryable};
use serde_json::{Value as Json, json};

use crate::db::{self, Error, ReadRows, limited, literal};

/// Lines that are kept of one database.
const LINES: usize = 20;
/// Characters that are kept of a line.
const LONGEST: usize = 300;
/// Databases that one transaction writes a text of: at most 600 kB as SQL, and locks that are soon free.
const AT_ONCE: usize = 25;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The database is as it should be.
    Same,
    /// It differs.
    Differs,
    /// It could not be compared.
    Unknown,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 3] = [Verdict::Same, Verdict::Differs, Verdict::Unknown];

    /// The column's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Differs => "differs",
            Verdict::Unknown => "unknown",
        }
    }

    /// The verdict with this column value, if there is one.
    pub fn parse(text: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// A database that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its name, unquoted.
    pub db_name: String,
    /// The version that it was compared with.
    pub version: u32,
    /// The result.
    pub verdict: Verdict,
    /// The differences, or why it could not be compared, as people read them.
    pub found: Vec<String>,
}

/// What is kept of the last check of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// When it was: UTC, as the server prints it.
    pub at: String,
    /// Its result.
    pub verdict: Verdict,
    /// The differences, or why the database could not be compared: the first 20 lines.
    pub found: Vec<String>,
}

impl Drift {
    /// What [`COLUMN`] selects.
    pub fn parse(text: &str) -> Option<Drift> {
        let mut lines = text.lines();
        let (verdict, at) = (Verdict::parse(lines.next()?)?, lines.next()?.to_string());
        Some(Drift { at, verdict, found: lines.map(String::from).collect() })
    }

    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({ "at": self.at, "verdict": self.verdict.as_str(), "found": self.found })
    }
}

/// Selects what is kept of a database `d` at its present version, for [`Drift::parse`]; NULL: nothing. It was checked last when
/// its row was written, or by the last check of all.
pub const COLUMN: &str = "IF(d.drift_version = d.version, CONCAT_WS('\n', d.drift, CAST(GREATEST(d.drift_at, \
     COALESCE((SELECT CAST(value AS DATETIME) FROM res_meta WHERE name = 'checked_at'), d.drift_at)) AS CHAR(19)), \
     d.drift_found), NULL)";

/// The condition that this was found about a database `d` at its present version.
pub fn is(verdict: Verdict) -> String {
    format!("d.drift = '{}' AND d.drift_version = d.version", verdict.as_str())
}

/// Which rows a check writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Each, with the time.
    All,
    /// Those of which something else was kept: the time is to follow by [`all_checked`].
    Changed,
}

/// The server's time, for [`all_checked`].
///
/// # Errors
/// Those of the database.
pub fn now(conn: &mut Conn) -> Result<String, Error> {
    let now: Option<String> = conn.read_first("SELECT CAST(NOW() AS CHAR)")?;
    now.ok_or(Error::Corrupt("the server has no time"))
}

/// Keeps that a check of all databases, which began `at` this time, has looked at each.
///
/// # Errors
/// Those of the database.
pub fn all_checked(conn: &mut Conn, at: &str) -> Result<(), Error> {
    Ok(conn.query_drop(format!("REPLACE INTO res_meta (name, value) VALUES ('checked_at', {})", literal(at)))?)
}

/// How many databases the last check found different.
///
/// # Errors
/// The server's, which stops a read after 5 seconds.
pub fn drifted(conn: &mut Conn) -> Result<u64, Error> {
    let different = is(Verdict::Differs);
    let sql = format!("SELECT COUNT(*) FROM res_database d FORCE INDEX (res_database_drift) WHERE {different}");
    Ok(limited::read_first(conn, &sql)?.unwrap_or(0))
}

/// Keeps what was found, unless the database has got another version meanwhile.
///
/// # Errors
/// Those of the database.
pub fn keep(conn: &mut Conn, checked: &[Checked], written: Written) -> Result<(), Error> {
    let (same, others): (Vec<&Checked>, Vec<&Checked>) = checked.iter().partition(|one| one.verdict == Verdict::Same);
    let mut by_version: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for one in same {
        by_version.entry(one.version).or_default().push(literal(&one.db_name));
    }
    for (version, names) in by_version {
        conn.query_drop(set(version, Verdict::Same, "NULL", &names.join(", "), written))?;
    }
    for part in others.chunks(AT_ONCE) {
        let sets = part
            .iter()
            .map(|one| set(one.version, one.verdict, &literal(&text(&one.found)), &literal(&one.db_name), written));
        db::run_script(conn, &format!("START TRANSACTION; {}; COMMIT", sets.collect::<Vec<_>>().join("; ")))?;
    }
    Ok(())
}

fn set(version: u32, verdict: Verdict, found: &str, names: &str, written: Written) -> String {
    let verdict = verdict.as_str();
    let unless = match written {
        Written::All => String::new(),
        Written::Changed => {
            format!(" AND NOT (drift <=> '{verdict}' AND drift_version <=> {version} AND drift_found <=> {found})")
        }
    };
    format!(
        "UPDATE res_database SET drift_at = NOW(), drift_version = {version}, drift = '{verdict}', drift_found = {found} \
         WHERE db_name IN ({names}) AND version = {version}{unless}"
    )
}

/// One line for each; what is left out is counted.
fn text(found: &[String]) -> String {
    let line = |one: &String| one.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }).take(LONGEST).collect();
    let mut lines: Vec<String> = found.iter().take(LINES).map(line).collect();
    if found.len() > LINES {
        lines.push(format!("and {} more", found.len() - LINES));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        for (kept, expected) in [
            ("same\n2026-11-26 10:00:00", Some((Verdict::Same, vec![]))),
            ("differs\n2026-11-26 10:00:00\ntable a: missing\nview v: unexpected", {
                Some((Verdict::Differs, vec!["table a: missing", "view v: unexpected"]))
            }),
            ("other\n2026-11-26 10:00:00", None),
            ("same", None),
            ("", None),
        ] {
            let read = Drift::parse(kept);
            let read = read.as_ref().map(|one| (one.verdict, one.found.iter().map(String::as_str).collect::<Vec<_>>()));
            assert_eq!(read, expected, "{kept}");
        }
    }

    #[test]
    fn text_is_lines_of_limited_number_and_length() {
        assert_eq!(text(&[]), "");
        assert_eq!(text(&["a\nb".into(), "c".into()]), "a b\nc");
        let long = text(&vec!["ä".repeat(1000); 30]);
        assert_eq!((long.lines().count(), long.lines().last()), (LINES + 1, Some("and 10 more")));
        assert!(long.lines().take(LINES).all(|line| line.chars().count() == LONGEST));
    }
}

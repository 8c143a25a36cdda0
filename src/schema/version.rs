//! The version of the tables, as the last `init` recorded it, against the one that this program works with: what a
//! difference means, and what to do about it. Reads only.

use mysql::Conn;

use super::problem::{Part, Problem, Severity};
use crate::{
    base::text::printable,
    db::{Error, ReadRows},
};

/// The version of the tables that this program works with. A step up adds to the tables and takes nothing away, so that
/// daemons of the version before may go on until they are restarted.
pub const SCHEMA_VERSION: u64 = 4;

/// The version of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableVersion {
    /// None is recorded: no `init` has reached its end.
    Missing,
    /// An older program's.
    Older(u64),
    /// This program's.
    Current,
    /// A newer program's.
    Newer(u64),
    /// Not a number. No resq known to this program writes such a thing, so that it may be a newer one's.
    Unknown(String),
}

impl TableVersion {
    /// Reads it from the current database.
    ///
    /// # Errors
    ///
    /// The server's, among them that there are no tables.
    pub fn read(conn: &mut Conn) -> Result<TableVersion, Error> {
        let select = "SELECT value FROM res_meta WHERE name = 'schema_version'";
        Ok(TableVersion::of(conn.read_first::<Option<String>>(select)?.flatten().as_deref()))
    }

    /// `recorded`: what `res_meta` holds.
    fn of(recorded: Option<&str>) -> TableVersion {
        let Some(text) = recorded else { return TableVersion::Missing };
        match text.parse() {
            Ok(SCHEMA_VERSION) => TableVersion::Current,
            Ok(version) if version < SCHEMA_VERSION => TableVersion::Older(version),
            Ok(version) => TableVersion::Newer(version),
            Err(_) => TableVersion::Unknown(text.into()),
        }
    }

    /// What `init` of this program must leave alone: it would put its own, older procedures in place of those that other
    /// programs call.
    pub fn is_beyond_this_program(&self) -> bool {
        matches!(self, TableVersion::Newer(_) | TableVersion::Unknown(_))
    }

    /// Why a program that starts must not use the tables, and what to do; None: it may.
    pub fn refusal(&self) -> Option<String> {
        let what = self.what()?;
        let remedy = match self {
            TableVersion::Newer(_) => "use the programs that upgraded them",
            TableVersion::Unknown(_) => UNKNOWN,
            _ => "run `resqctl init` with the same settings first",
        };
        Some(format!("{what}; {remedy}"))
    }

    /// What it means to a running daemon; None: nothing.
    pub(super) fn problem(&self) -> Option<Problem> {
        // What an older version lacks is found by itself. Of a newer one, this program has all that it needs.
        let severity = if matches!(self, TableVersion::Newer(_)) { Severity::Minor } else { Severity::Major };
        let problem = Problem::new(Part::Table, severity, self.what()?);
        Some(problem.with_remedy(self.remedy().into()))
    }

    fn what(&self) -> Option<String> {
        Some(match self {
            TableVersion::Current => return None,
            TableVersion::Missing => format!("the tables have no version, this program needs version {SCHEMA_VERSION}"),
            TableVersion::Older(found) => {
                format!("the tables have version {found}, older than this program's version {SCHEMA_VERSION}")
            }
            TableVersion::Newer(found) => {
                format!("the tables have version {found}, newer than this program's version {SCHEMA_VERSION}")
            }
            TableVersion::Unknown(found) => {
                let found = printable(found);
                format!("the tables have version `{found}`, which is no number; this program's is {SCHEMA_VERSION}")
            }
        })
    }

    fn remedy(&self) -> &'static str {
        match self {
            TableVersion::Newer(_) => "restart resqd with the programs that upgraded them",
            TableVersion::Unknown(_) => UNKNOWN,
            _ => "run `resqctl init`, which upgrades them",
        }
    }
}

const UNKNOWN: &str = "use the programs that wrote it; if none did, DELETE FROM res_meta WHERE name = 'schema_version' \
                       and run `resqctl init`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_older_or_newer_by_its_number_and_unknown_without_one() {
        use TableVersion::*;
        for (recorded, expected, beyond) in [
            (None, Missing, false),
            (Some("0"), Older(0), false),
            (Some("3"), Older(3), false),
            (Some("4"), Current, false),
            (Some("5"), Newer(5), true),
            (Some("10"), Newer(10), true),
            (Some("18446744073709551615"), Newer(u64::MAX), true),
            (Some("18446744073709551616"), Unknown("18446744073709551616".into()), true),
            (Some(""), Unknown(String::new()), true),
            (Some("-1"), Unknown("-1".into()), true),
            (Some("4.1"), Unknown("4.1".into()), true),
            (Some("4 "), Unknown("4 ".into()), true),
            (Some("x"), Unknown("x".into()), true),
        ] {
            let found = TableVersion::of(recorded);
            assert_eq!(found, expected, "{recorded:?}");
            assert_eq!(found.is_beyond_this_program(), beyond, "{recorded:?}");
            let is_current = found == Current;
            assert_eq!((found.refusal(), found.problem()) == (None, None), is_current, "{recorded:?}");
        }
    }
}

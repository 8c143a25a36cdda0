//! The registry as operators see it, page by page.

use mysql::Conn;
use serde_json::{Value as Json, json};

use super::drift::{self, Drift, Verdict};
use crate::{
    base::exact::integer,
    db::{Error, limited, literal, starts_with},
};

/// A database that resq built or builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job that it was made for.
    pub res_id: u64,
    /// The job's name; None: the job is gone.
    pub res_name: Option<String>,
    /// Its type.
    pub res_type: String,
    /// `making` or `ready`.
    pub state: String,
    /// Which templates built it.
    pub template_version: String,
    /// The greatest number among the migrations that it has.
    pub version: u32,
    /// When it was entered: UTC, as the server prints it.
    pub created_at: String,
    /// Since when it is being dropped.
    pub dropping_at: Option<String>,
    /// When it is to be dropped.
    pub drop_at: Option<String>,
    /// Why that has failed so far.
    pub drop_error: Option<String>,
    /// What the last check found. None: none since it has this version.
    pub drift: Option<Drift>,
}

/// Which databases are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Their names begin with this.
    pub name: Option<String>,
    /// The column `res_type`.
    pub res_type: Option<String>,
    /// What the last check found.
    pub drift: Option<Verdict>,
}

impl Database {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "db_name": self.db_name, "res_id": integer(self.res_id), "res_name": self.res_name,
            "res_type": self.res_type, "state": self.state, "template_version": self.template_version,
            "version": self.version,
            "created_at": self.created_at, "dropping_at": self.dropping_at, "drop_at": self.drop_at,
            "drop_error": self.drop_error, "drift": self.drift.as_ref().map(Drift::to_json),
        })
    }
}

/// Up to `limit` of these databases behind `after`, by name, and the name after which the list goes on.
///
/// # Errors
/// The server's, which stops a read after 5 seconds.
pub fn databases(
    conn: &mut Conn,
    chosen: &Chosen,
    after: Option<&str>,
    limit: u32,
) -> Result<(Vec<Database>, Option<String>), Error> {
    let mut all = vec!["TRUE".to_string()];
    all.extend(after.map(|after| format!("d.db_name > {}", literal(after))));
    all.extend(chosen.res_type.as_ref().map(|res_type| format!("d.res_type = {}", literal(res_type))));
    all.extend(chosen.drift.map(drift::is));
    all.extend(chosen.name.as_ref().map(|prefix| starts_with("d.db_name", prefix)));
    type Text = Option<String>;
    type Columns = (String, u64, Option<Vec<u8>>, String, String, String, u32, String, Text, Text, Text, Text);
    let rows: Vec<Columns> = limited::read(
        conn,
        &format!(
            "SELECT d.db_name, d.res_id, CAST(q.res_name AS BINARY), d.res_type, d.state, d.template_version, d.version, \
         CAST(d.created_at AS CHAR), CAST(d.dropping_at AS CHAR), CAST(d.drop_at AS CHAR), d.drop_error, {} \
         FROM res_database d FORCE INDEX (PRIMARY) LEFT JOIN res_queue q ON q.res_id = d.res_id \
         WHERE {} ORDER BY d.db_name LIMIT {}",
            drift::COLUMN,
            all.join(" AND "),
            limit + 1
        ),
    )?;
    let database = |row: Columns| {
        let (
            db_name,
            res_id,
            name,
            res_type,
            state,
            template_version,
            version,
            created_at,
            dropping_at,
            drop_at,
            drop_error,
            drift,
        ) = row;
        let res_name = Option::map(name, |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned());
        Database {
            db_name,
            res_id,
            res_name,
            res_type,
            state,
            template_version,
            version,
            created_at,
            dropping_at,
            drop_at,
            drop_error,
            drift: drift.as_deref().and_then(Drift::parse),
        }
    };
    let mut found: Vec<Database> = rows.into_iter().map(database).collect();
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| has_more).map(|last| last.db_name.clone());
    Ok((found, next))
}

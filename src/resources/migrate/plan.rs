//! What a rollout would do: the databases in groups of one type and version, and the migrations that each group lacks.

use mysql::Conn;
use serde_json::{Value as Json, json};

use crate::{
    base::exact::integer,
    db::{Error, ReadRows, literal},
    resources::Templates,
};

/// The databases of one type and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The type.
    pub res_type: String,
    /// The version.
    pub version: u32,
    /// How many databases.
    pub databases: u64,
    /// What follows for them.
    pub due: Due,
}

/// What a group of databases lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// These files, after which they have this version.
    Files {
        /// The newest version of the type.
        to: u32,
        /// The paths, in the order in which they run.
        paths: Vec<String>,
    },
    /// Other daemons have newer files: the version is not known here.
    NewerElsewhere,
    /// There is no such type here.
    UnknownType,
}

impl Group {
    /// Of these numbers, by the files of `templates`.
    pub fn new(templates: &Templates, res_type: &str, version: u32, databases: u64) -> Group {
        let to = templates.migrations.newest(res_type);
        let due = if templates.of_type(res_type).is_none() {
            Due::UnknownType
        } else if version > to {
            Due::NewerElsewhere
        } else if version == to {
            Due::Nothing
        } else {
            let lacking = templates.migrations.of_type(res_type).filter(|file| file.number > version);
            Due::Files { to, paths: lacking.map(|file| file.path.clone()).collect() }
        };
        Group { res_type: res_type.into(), version, databases, due }
    }

    /// An object for programs.
    pub fn to_json(&self) -> Json {
        let (to, files, note) = match &self.due {
            Due::Nothing => (Some(self.version), &[][..], None),
            Due::Files { to, paths } => (Some(*to), paths.as_slice(), None),
            Due::NewerElsewhere => (None, &[][..], Some("version is not known here")),
            Due::UnknownType => (None, &[][..], Some("type is not known here")),
        };
        json!({
            "type": self.res_type, "version": self.version, "databases": integer(self.databases), "to": to, "files": files,
            "note": note,
        })
    }
}

/// Every group, by type and version; of one type, or of all.
///
/// # Errors
/// Those of the database.
pub fn groups(conn: &mut Conn, templates: &Templates, res_type: Option<&str>) -> Result<Vec<Group>, Error> {
    let of_type = res_type.map_or_else(String::new, |name| format!("AND res_type = {}", literal(name)));
    let rows: Vec<(String, u32, u64)> = conn.read_rows(format!(
        "SELECT res_type, version, COUNT(*) FROM res_database WHERE state = 'ready' AND dropping_at IS NULL {of_type} \
         GROUP BY res_type, version ORDER BY res_type, version"
    ))?;
    Ok(rows.iter().map(|(name, version, count)| Group::new(templates, name, *version, *count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_lacks_the_files_above_its_version() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("res_db/1.sql", "CREATE DATABASE {{RES_DB_NAME}}"),
            ("res_tables/shop/1.sql", "SELECT 1"),
            ("res_migrations/0001_a.sql", "SELECT 1"),
            ("res_migrations/shop/0002_b.sql", "SELECT 2"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let templates = Templates::load(Some(dir.path())).unwrap();
        let files = |to, paths: &[&str]| Due::Files { to, paths: paths.iter().map(|path| path.to_string()).collect() };
        let (a, b) = ("res_migrations/0001_a.sql", "res_migrations/shop/0002_b.sql");
        for (res_type, version, expected) in [
            ("shop", 0, files(2, &[a, b])),
            ("shop", 1, files(2, &[b])),
            ("shop", 2, Due::Nothing),
            ("shop", 3, Due::NewerElsewhere),
            ("default", 0, files(1, &[a])),
            ("default", 1, Due::Nothing),
            ("gone", 0, Due::UnknownType),
        ] {
            assert_eq!(Group::new(&templates, res_type, version, 1).due, expected, "{res_type} {version}");
        }
    }
}

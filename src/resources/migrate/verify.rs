//! Proof before a database is touched: for each set of templates that databases were built by, builds a scratch database as
//! they were built, gives it the migrations that follow, and compares it with one that today's templates build.

use std::fmt;

use mysql::Conn;

use super::files::Migration;
use crate::{
    db::{Db, Error, ReadRows, literal},
    resources::{
        Templates,
        reference::{self, ReferenceError},
        scratch::ScratchDatabases,
        shape::Difference,
        template_sets::{self, SetError, TemplateSet},
    },
};

/// How some databases came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Their type.
    pub res_type: String,
    /// The templates that built them.
    pub template_version: String,
    /// The version that they had then.
    pub built_version: u32,
    /// How many they are.
    pub databases: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let template = self.template_version.get(..12).unwrap_or(&self.template_version);
        write!(f, "type {}, built at version {} by template {template}", self.res_type, self.built_version)
    }
}

/// What the proof found.
#[derive(Debug)]
pub enum Finding {
    /// The migrations lead to what today's templates build.
    Converges,
    /// They lead to something else.
    Differs(Vec<Difference>),
    /// A file fails.
    Fails(Fails),
    /// The templates were not kept.
    Unknown,
}

/// Which file fails, with the server's words.
#[derive(Debug, thiserror::Error)]
pub enum Fails {
    /// One that was kept.
    #[error(transparent)]
    Kept(SetError),
    /// One of today's templates.
    #[error("today's templates: {0}")]
    Today(ReferenceError),
    /// One that built the database, or a migration.
    #[error(transparent)]
    Migrated(ReferenceError),
}

/// How the databases of known types came to be; of one type, or of all. Those at a version that is not known here are left
/// out.
///
/// # Errors
/// Those of the database.
pub fn origins(conn: &mut Conn, templates: &Templates, res_type: Option<&str>) -> Result<Vec<Origin>, Error> {
    let of_type = res_type.map_or_else(String::new, |name| format!("AND res_type = {}", literal(name)));
    let rows: Vec<(String, String, u32, u32, u64)> = conn.read_rows(format!(
        "SELECT res_type, template_version, built_version, MIN(version), COUNT(*) FROM res_database \
         WHERE state = 'ready' AND dropping_at IS NULL {of_type} \
         GROUP BY res_type, template_version, built_version ORDER BY res_type, built_version, template_version"
    ))?;
    let known = rows.into_iter().filter(|(name, _, built_version, version, _)| {
        let newest = templates.migrations.newest(name);
        templates.of_type(name).is_some() && *built_version <= newest && *version <= newest
    });
    let origin = |(res_type, template_version, built_version, _, databases)| Origin {
        res_type,
        template_version,
        built_version,
        databases,
    };
    Ok(known.map(origin).collect())
}

/// Proves the migrations of one origin. `db` is the control server.
///
/// # Errors
/// Those of the database that say nothing about the files.
pub fn verify(
    db: &Db,
    scratch: &mut ScratchDatabases,
    templates: &Templates,
    origin: &Origin,
) -> Result<Finding, Error> {
    let Origin { res_type, template_version, built_version, .. } = origin;
    let due: Vec<&Migration> =
        templates.migrations.of_type(res_type).filter(|file| file.number > *built_version).collect();
    let Some(today) = TemplateSet::of(templates, res_type) else { return Ok(Finding::Unknown) };
    let before = match template_version == templates.version(res_type) {
        true if due.is_empty() => return Ok(Finding::Converges),
        true => today.clone(),
        false => match template_sets::load(&mut *db.global()?, template_version) {
            Ok(Some(set)) => set,
            Ok(None) => return Ok(Finding::Unknown),
            Err(SetError::Database(error)) => return Err(error),
            Err(error @ SetError::Template(_)) => return Ok(Finding::Fails(Fails::Kept(error))),
        },
    };
    let mut build =
        |set, migrations: &[&Migration]| reference::build(scratch, db.global_db(), res_type, set, migrations);
    let expected = match build(&today, &[]) {
        Ok(expected) => expected,
        Err(error) => return Ok(Finding::Fails(Fails::Today(error.of_files()?))),
    };
    let found = match build(&before, &due) {
        Ok(found) => found,
        Err(error) => return Ok(Finding::Fails(Fails::Migrated(error.of_files()?))),
    };
    let differences = expected.compare(&found.shape, &found.identity);
    Ok(if differences.is_empty() { Finding::Converges } else { Finding::Differs(differences) })
}

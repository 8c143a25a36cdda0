//! The sets of template files that databases were built by, as the control database keeps them: by them an older shape can be
//! built again, whatever is on disk today. Expects the global database as the current one.

use std::collections::BTreeSet;

use mysql::{Conn, prelude::Queryable};

use super::{
    template::{Template, TemplateError, Variable, parse},
    template_files::Templates,
};
use crate::db::{Error, ReadRows, literal};

/// The state of the event by which daemons learn that they are to read their templates again.
pub const RELOAD: &str = "ReloadTemplates";

/// Characters of a text that one statement carries: as SQL they take up to eight bytes each, and every server accepts 1 MiB.
const CHUNK: usize = 100_000;

/// The files of one set, in the order in which they run.
#[derive(Clone, Debug, Default)]
pub struct TemplateSet {
    /// Run in no database; one of them creates it.
    pub res_db: Vec<Template>,
    /// Run in the database.
    pub res_tables: Vec<Template>,
}

impl TemplateSet {
    /// Today's files of a type; None: there is no such type.
    pub fn of(templates: &Templates, res_type: &str) -> Option<TemplateSet> {
        let of_type = templates.of_type(res_type)?;
        let res_tables = templates.res_tables.iter().chain(of_type).cloned().collect();
        Some(TemplateSet { res_db: templates.res_db.clone(), res_tables })
    }
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] Error),
    /// A file is refused by this program, although an earlier one ran it.
    #[error("of templates that were kept: {0}")]
    Template(#[from] TemplateError),
}

/// Keeps the set of each type, unless it is there. What was kept stays.
///
/// # Errors
/// Those of the database.
pub fn keep(conn: &mut Conn, templates: &Templates) -> Result<(), Error> {
    let kept: BTreeSet<String> =
        conn.read_rows("SELECT template_version FROM res_template WHERE number = 1")?.into_iter().collect();
    for res_type in templates.types() {
        let version = templates.version(res_type);
        if kept.contains(version) {
            continue;
        }
        conn.query_drop("START TRANSACTION")?;
        for ((path, text), number) in templates.set(res_type).zip(1u32..) {
            let mut chunks = chunks(text).into_iter();
            let first = chunks.next().unwrap_or_default();
            // IGNORE: another daemon keeps the same set at this moment.
            conn.query_drop(format!(
                "INSERT IGNORE INTO res_template (template_version, number, path, text) VALUES ({}, {number}, {}, {})",
                literal(version),
                literal(path),
                literal(&first)
            ))?;
            if conn.affected_rows() == 0 {
                continue;
            }
            for chunk in chunks {
                conn.query_drop(format!(
                    "UPDATE res_template SET text = CONCAT(text, {}) WHERE template_version = {} AND number = {number}",
                    literal(&chunk),
                    literal(version)
                ))?;
            }
        }
        conn.query_drop("COMMIT")?;
    }
    Ok(())
}

/// The text in parts of at most [`CHUNK`] characters; at least one.
pub(super) fn chunks(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut parts: Vec<String> = chars.chunks(CHUNK).map(|part| part.iter().collect()).collect();
    if parts.is_empty() {
        parts.push(String::new());
    }
    parts
}

/// The set that `template_version` stands for. None: it was not kept, since no daemon of this version has served with it.
///
/// # Errors
/// Those of the database, or a file cannot be used.
pub fn load(conn: &mut Conn, template_version: &str) -> Result<Option<TemplateSet>, SetError> {
    let files: Vec<(String, String)> = conn.read_rows(format!(
        "SELECT path, text FROM res_template WHERE template_version = {} ORDER BY number",
        literal(template_version)
    ))?;
    if files.is_empty() {
        return Ok(None);
    }
    let mut set = TemplateSet::default();
    for (path, text) in &files {
        let list = if path.starts_with("res_db/") { &mut set.res_db } else { &mut set.res_tables };
        list.extend(parse(path, text, Variable::OF_RESOURCE)?);
    }
    Ok(Some(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_divided_between_characters() {
        assert_eq!(chunks(""), [""]);
        let text = "é".repeat(CHUNK) + "x";
        let parts = chunks(&text);
        assert_eq!((parts.len(), parts.concat() == text), (2, true));
    }
}

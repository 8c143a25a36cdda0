//! Looks whether databases have something already of what their migrations add. Only of those that have nothing, statements
//! are recorded together: what is there after an interruption is theirs then.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use mysql::Conn;

use super::work::{Candidate, Plan};
use crate::{
    base::clock::now,
    db::{Error, ReadRows, literal},
    resources::addition::{Addition, Kind},
};

/// How long a look counts.
const LASTS: Duration = Duration::from_secs(30);

/// The view that lists it, the database, the table and the name.
type Thing = (&'static str, String, String, String);

/// Sets [`Candidate::new_until`] of those that have nothing of what their files add.
///
/// # Errors
/// Those of the database; none is set then.
pub fn look(conn: &mut Conn, plan: &Plan, candidates: &mut [Candidate]) -> Result<(), Error> {
    let until = now() + LASTS;
    let wanted: Vec<Vec<Thing>> = candidates.iter().map(|candidate| additions(plan, candidate)).collect();
    let there = there(conn, wanted.iter().flatten())?;
    for (candidate, wanted) in candidates.iter_mut().zip(wanted) {
        candidate.new_until = (!wanted.iter().any(|thing| there.contains(&folded(thing)))).then_some(until);
    }
    Ok(())
}

/// What the files add that this database lacks.
fn additions(plan: &Plan, Candidate { database, registered, .. }: &Candidate) -> Vec<Thing> {
    let files = plan.due(database, registered.version);
    let statements = files.iter().flat_map(|file| file.statements(&plan.values(database, registered)));
    let thing =
        |Addition { kind, table, name, .. }: Addition<'_>| (kind.view().0, database.db_name.clone(), table, name);
    statements.filter_map(|statement| Addition::of(&statement.tokens).map(thing)).collect()
}

/// Servers differ in which names they compare with case.
fn folded((view, db_name, table, name): &Thing) -> Thing {
    (view, db_name.to_lowercase(), table.to_lowercase(), name.to_lowercase())
}

/// Those that are there, folded, and others of the same names.
fn there<'a>(conn: &mut Conn, wanted: impl Iterator<Item = &'a Thing>) -> Result<HashSet<Thing>, Error> {
    let mut by_view: BTreeMap<&str, [BTreeSet<&str>; 3]> = BTreeMap::new();
    for (view, db_name, table, name) in wanted {
        let names = by_view.entry(view).or_default();
        names.iter_mut().zip([db_name, table, name]).for_each(|(names, name)| _ = names.insert(name));
    }
    let mut there = HashSet::new();
    for kind in [Kind::Table, Kind::Column, Kind::Index] {
        let (view, column) = kind.view();
        let Some(names) = by_view.get(view) else { continue };
        let [databases, tables, names] =
            names.each_ref().map(|names| names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "));
        let found: Vec<(String, String, String)> = conn.read_rows(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, {column} FROM information_schema.{view} \
             WHERE TABLE_SCHEMA IN ({databases}) AND TABLE_NAME IN ({tables}) AND {column} IN ({names})"
        ))?;
        there.extend(found.into_iter().map(|(db_name, table, name)| folded(&(view, db_name, table, name))));
    }
    Ok(there)
}

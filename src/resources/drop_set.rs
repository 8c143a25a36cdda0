//! Which databases and rows a drop is about, and in which order databases go. Pure.

use std::collections::HashSet;

use super::{registry::Owned, resource_server::ForeignKey};
use crate::db::id_list;

/// A set of databases of the registry.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Of resources that `resqctl seed` made.
    Seeded,
    /// Every one.
    All,
    /// Of these jobs.
    Of(&'a [u64]),
}

impl Which<'_> {
    /// A condition on the rows `d` of the registry.
    pub fn condition(self) -> String {
        match self {
            // Or of rows that an earlier call has deleted before it was interrupted.
            Which::Seeded => "EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.seeded) OR \
                              (d.dropping_at IS NOT NULL \
                               AND NOT EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id))"
                .to_string(),
            Which::All => "TRUE".to_string(),
            Which::Of([]) => "FALSE".to_string(),
            Which::Of(ids) => format!("d.res_id IN ({})", id_list(ids)),
        }
    }
}

/// Deletes the rows of these jobs unless they are in progress.
pub fn delete_idle(ids: &[u64]) -> String {
    let ids = id_list(ids);
    format!("DELETE FROM res_queue WHERE res_id IN ({ids}) AND (status <> 'in_progress' OR status IS NULL)")
}

/// A condition on `res_error`: the history of a job that is gone.
pub const ORPHANED: &str = "NOT EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = res_error.res_id)";

/// Each database before those whose tables it refers to.
pub fn referring_first(owned: &[Owned], keys: &[ForeignKey]) -> Vec<Owned> {
    let mut left = owned.to_vec();
    let mut order = Vec::new();
    while !keys.is_empty() && !left.is_empty() {
        let names: HashSet<String> = left.iter().map(|one| one.db_name.clone()).collect();
        let is_referred_to =
            |one: &Owned| keys.iter().any(|key| key.to_db == one.db_name && names.contains(&key.from_db));
        let (later, now): (Vec<_>, Vec<_>) = left.into_iter().partition(is_referred_to);
        left = later;
        if now.is_empty() {
            break; // a circle, which the server will refuse
        }
        order.extend(now);
    }
    order.extend(left);
    order
}

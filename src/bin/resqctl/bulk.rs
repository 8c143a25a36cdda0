//! Changing all jobs that match a filter: recorded first, then done in small steps by this process. If it is killed, a
//! daemon goes on.

use std::{thread, time::Duration};

use resq::{
    api::{
        batch::Batches,
        batch_runner::{self, Ran},
    },
    base::text::printable,
    cli::{Exit, Failure, Output},
    db::{Capped, Db},
    queue::{Filter, audit::Actor, change::Change},
};

use crate::shared::{bar, count};

/// The filter of a command. None: it names jobs by their ids. `parts`: status, type, name prefix, database.
pub fn filter(change: Change, ids: &[u64], all: bool, parts: [&Option<String>; 4]) -> Result<Option<Filter>, Failure> {
    if !all && parts.iter().all(|part| part.is_none()) {
        return Ok(None);
    }
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if !ids.is_empty() {
        return Err(usage("give either res_ids or a filter, not both".into()));
    }
    let mut filter = Filter::default();
    for (key, value) in ["status", "type", "name", "database"].into_iter().zip(parts) {
        if let Some(value) = value {
            filter.set(key, value).map_err(|error| usage(error.to_string()))?;
        }
    }
    let from = change.from();
    if filter.status.is_some_and(|status| status != from) {
        return Err(usage(format!(
            "--status: `{}` changes jobs of the status {} only",
            change.as_str(),
            from.as_str()
        )));
    }
    Ok(Some(filter))
}

/// Changes the jobs, or with `dry_run` counts them.
pub fn change(
    db: &Db,
    change: Change,
    filter: &Filter,
    actor: &Actor,
    dry_run: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut batches = Batches::new(db);
    if dry_run {
        return preview(change, batches.count(change, filter)?, out);
    }
    let id = batches.start(change, filter, actor, true)?;
    let bar = bar(0);
    let ran = batch_runner::run(&mut batches, id, db, db, |progress| {
        bar.set_length(progress.up_to_id);
        bar.set_position(progress.done_to_id);
        true
    })?;
    let mut done = batches.result(id)?;
    while ran == Ran::Elsewhere && !done.has_ended {
        thread::sleep(Duration::from_millis(100));
        done = batches.result(id)?;
    }
    bar.finish_and_clear();
    report(change, done.count, out);
    match done.last_error {
        None => Ok(()),
        Some(error) => Err(Failure::new(
            Exit::Failed,
            format!("the server refused to change {}: {}", count(done.refused, "job"), printable(&error)),
        )),
    }
}

/// Prints what a call without --dry-run would do.
pub fn preview(change: Change, matching: Capped, out: &mut Output) -> Result<(), Failure> {
    let noun = if matching.count == 1 && !matching.is_more { "job" } else { "jobs" };
    out.line(match change {
        Change::Retry => format!("{matching} {noun} would be returned to the queue"),
        Change::Cancel => format!("{matching} {noun} would be cancelled"),
    });
    Ok(())
}

/// Prints what was done.
pub fn report(change: Change, changed: u64, out: &mut Output) {
    let jobs = count(changed, "job");
    out.line(match change {
        Change::Retry => format!("{jobs} returned to the queue"),
        Change::Cancel => format!("{jobs} cancelled"),
    });
}

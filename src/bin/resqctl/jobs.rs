//! The commands that enqueue jobs, change them, or wait for them.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use resq::{
    base::backoff::Backoff,
    cli::{Exit, Failure, Output},
    db::Db,
    queue::{NewJob, Queue, change::Change},
    resources::drop::Dropper,
};

use crate::{
    actor,
    args::{Add, Cancel, Retry, Seed},
    bulk,
    shared::{bar, count, need_ids},
};

/// Rows of one statement: far below any max_allowed_packet.
const SEED_BATCH: u64 = 1000;

pub fn seed(queue: &mut Queue, args: &Seed, out: &mut Output) -> Result<(), Failure> {
    // No two calls ever get the same part, so the names are new even if several seed at the same time.
    let seeding = queue.begin_seeding(&args.prefix, &args.res_type)?;
    let bar = bar(args.count);
    for start in (0..args.count).step_by(SEED_BATCH as usize) {
        let end = (start + SEED_BATCH).min(args.count);
        queue.seed(&seeding, start + 1..end + 1)?;
        bar.set_position(end);
    }
    bar.finish_and_clear();
    out.line(count(args.count, "resource"));
    Ok(())
}

pub fn add(queue: &mut Queue, args: Add, out: &mut Output) -> Result<(), Failure> {
    let Add { name, res_type, url, priority, delay, reason: _ } = args;
    out.line(queue.enqueue(&NewJob { name, res_type, url, priority, delay_s: delay })?);
    Ok(())
}

/// Shows a progress bar until no job is new or in progress.
pub fn wait(queue: &mut Queue, timeout_s: Option<u64>) -> Result<(), Failure> {
    let deadline = timeout_s.and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
    let failed_before: HashSet<u64> = queue.failed()?.into_iter().collect();
    let mut most = 0;
    let bar = bar(0);
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500), 0.0);
    loop {
        let (new, running) = queue.pending()?;
        let left = new + running;
        if left == 0 {
            break;
        }
        most = most.max(left);
        bar.set_length(most);
        bar.set_position(most - left);
        bar.set_message(format!("{running} running"));
        let pause = backoff.next(0.0);
        if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
            bar.finish_and_clear();
            let why = if queue.is_paused()? {
                "the queue is paused; continue with `resqctl resume`"
            } else {
                "see `resqctl status` for whether a resqd is running"
            };
            return Err(Failure::new(
                Exit::TimedOut,
                format!("{} not finished after {} s; {why}", count(left, "job"), timeout_s.unwrap_or_default()),
            ));
        }
        thread::sleep(pause);
    }
    bar.finish_and_clear();
    let failed = queue.failed()?.iter().filter(|id| !failed_before.contains(id)).count();
    if failed > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!("{} ended in error; see `resqctl list --status error`", count(failed as u64, "job")),
        ));
    }
    Ok(())
}

pub fn retry(db: &Db, args: &Retry, out: &mut Output) -> Result<(), Failure> {
    let Retry { ids, all_errors, status, res_type, name_prefix, database, dry_run, reason } = args;
    let actor = actor::of_system(reason);
    let what = "one or more res_ids, a filter, or --all-errors";
    if let Some(filter) = bulk::filter(Change::Retry, ids, *all_errors, [status, res_type, name_prefix, database])? {
        return bulk::change(db, Change::Retry, &filter, &actor, *dry_run, out);
    }
    need_ids(ids, what)?;
    if *dry_run {
        return bulk::preview(Change::Retry, Queue::on(db).count(Change::Retry, ids)?, out);
    }
    let mut queue = Queue::on(db).acting(actor);
    let changed = queue.retry(ids)?;
    bulk::report(Change::Retry, changed, out);
    all_of(ids, changed, "not in error")
}

pub fn cancel(db: &Db, args: &Cancel, out: &mut Output) -> Result<(), Failure> {
    let Cancel { ids, status, res_type, name_prefix, database, dry_run, reason } = args;
    let actor = actor::of_system(reason);
    if let Some(filter) = bulk::filter(Change::Cancel, ids, false, [status, res_type, name_prefix, database])? {
        return bulk::change(db, Change::Cancel, &filter, &actor, *dry_run, out);
    }
    need_ids(ids, "one or more res_ids, or a filter")?;
    if *dry_run {
        return bulk::preview(Change::Cancel, Queue::on(db).count(Change::Cancel, ids)?, out);
    }
    let changed = Dropper::new(db, db).acting(actor).cancel(ids)?;
    bulk::report(Change::Cancel, changed, out);
    all_of(ids, changed, "not waiting")
}

/// Fails if fewer jobs were changed than were asked for.
fn all_of(asked: &[u64], changed: u64, why_not: &str) -> Result<(), Failure> {
    let asked: HashSet<_> = asked.iter().collect();
    match (asked.len() as u64).saturating_sub(changed) {
        0 => Ok(()),
        left => Err(Failure::new(
            Exit::Failed,
            format!("{left} of {} {why_not}; see `resqctl show ID`", count(asked.len() as u64, "job")),
        )),
    }
}

pub fn pause(queue: &mut Queue, out: &mut Output) -> Result<(), Failure> {
    queue.pause()?;
    out.line("paused: running jobs continue, no new ones are claimed until `resqctl resume`");
    Ok(())
}

pub fn resume(queue: &mut Queue, out: &mut Output) -> Result<(), Failure> {
    queue.resume()?;
    out.line("resumed");
    Ok(())
}

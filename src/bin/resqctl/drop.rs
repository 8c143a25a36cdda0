//! The commands that drop databases: each shows first what it would drop.

use resq::{
    cli::{Exit, Failure},
    queue::{JobError, Queue},
    resources::drop::{self as dropping, Owned, Which},
};

use crate::{
    args::{Clear, Drop},
    bar, count, need_ids,
};

pub fn drop(queue: &mut Queue, global_db: &str, args: &Drop) -> Result<(), Failure> {
    need_ids(&args.ids, "their res_ids")?;
    refuse_running(queue, Some(&args.ids))?;
    let owned = queue.with(|conn| dropping::list(conn, Which::Of(&args.ids)))?;
    if !args.yes {
        return only_shown(&owned);
    }
    // Waiting ones first, so that no daemon starts what is about to go.
    queue.cancel(&args.ids)?;
    refuse_running(queue, Some(&args.ids))?;
    // Again, since some may have been finished in between.
    let owned = queue.with(|conn| dropping::list(conn, Which::Of(&args.ids)))?;
    drop_all(queue, global_db, &owned)?;
    let rows = queue.with(|conn| dropping::delete_rows(conn, &args.ids))?;
    println!("{} and {} dropped", count(owned.len() as u64, "database"), count(rows, "row"));
    if rows == 0 && owned.is_empty() {
        return Err(Failure::new(Exit::Failed, "there is no job with these res_ids"));
    }
    Ok(())
}

pub fn clear(queue: &mut Queue, global_db: &str, args: &Clear) -> Result<(), Failure> {
    refuse_running(queue, None)?;
    let which = if args.all { Which::All } else { Which::Seeded };
    if !args.yes {
        return only_shown(&queue.with(|conn| dropping::list(conn, which))?);
    }
    // Half-made databases of waiting rows are found through these, so the list is made before they go; and again when
    // nothing runs any more, since some may have been finished in between.
    let mut owned = queue.with(|conn| dropping::list(conn, which))?;
    queue.with(dropping::delete_waiting_seeded)?;
    refuse_running(queue, None)?;
    for late in queue.with(|conn| dropping::list(conn, which))? {
        if !owned.contains(&late) {
            owned.push(late);
        }
    }
    show(&owned);
    drop_all(queue, global_db, &owned)?;
    for owned in owned.chunks(1000) {
        let ids: Vec<u64> = owned.iter().map(|owned| owned.res_id).collect();
        queue.with(|conn| dropping::delete_rows(conn, &ids))?;
    }
    queue.with(dropping::delete_seeded)?;
    println!("{} dropped", count(owned.len() as u64, "database"));
    Ok(())
}

fn refuse_running(queue: &mut Queue, ids: Option<&[u64]>) -> Result<(), Failure> {
    match queue.with(|conn| dropping::running(conn, ids))? {
        0 => Ok(()),
        n => Err(Failure::new(
            Exit::Failed,
            format!("{} in progress, nothing was dropped; `resqctl pause`, then again when none is", count(n, "job")),
        )),
    }
}

fn show(owned: &[Owned]) {
    for Owned { db_name, res_id } in owned {
        println!("{db_name} (of job {res_id})");
    }
}

fn only_shown(owned: &[Owned]) -> Result<(), Failure> {
    show(owned);
    Err(Failure::new(
        Exit::Usage,
        format!(
            "{} would be dropped, with all that is in it; say --yes to do it",
            count(owned.len() as u64, "database")
        ),
    ))
}

fn drop_all(queue: &mut Queue, global_db: &str, owned: &[Owned]) -> Result<(), Failure> {
    let bar = bar(owned.len() as u64);
    for owned in owned {
        drop_one(queue, global_db, owned)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

pub fn drop_one(queue: &mut Queue, global_db: &str, owned: &Owned) -> Result<(), Failure> {
    match queue.with(|conn| Ok(dropping::drop_database(conn, global_db, owned)))? {
        Ok(()) => Ok(()),
        Err(JobError::Failed(why) | JobError::Permanent(why) | JobError::Interrupted(why)) => Err(Failure::new(
            Exit::Failed,
            format!("database {} could not be dropped: {why}; run the same again", owned.db_name),
        )),
    }
}

//! The commands that drop databases: ask, show, print. The protocol is `resq::resources::drop`.

use indicatif::ProgressBar;
use resq::{
    cli::{Exit, Failure, Output},
    resources::{
        drop::{Dropper, Progress, Which},
        registry::Owned,
    },
};

use crate::{
    args::{Clear, Drop},
    shared::{bar, count, need_ids},
};

pub fn drop(dropper: &mut Dropper, args: &Drop, out: &mut Output) -> Result<(), Failure> {
    need_ids(&args.ids, "one or more res_ids")?;
    if !args.yes {
        return only_shown(&dropper.preview(Which::Of(&args.ids))?, out);
    }
    let bar = bar(0);
    let dropped = dropper.drop_jobs(&args.ids, |progress| advance(&bar, progress))?;
    bar.finish_and_clear();
    out.line(format_args!(
        "{} and {} dropped",
        count(dropped.databases as u64, "database"),
        count(dropped.rows, "row")
    ));
    if dropped.rows == 0 && dropped.databases == 0 {
        return Err(Failure::new(Exit::Failed, "no job has one of these res_ids; `resqctl list` shows the newest"));
    }
    Ok(())
}

pub fn clear(dropper: &mut Dropper, args: &Clear, out: &mut Output) -> Result<(), Failure> {
    if !args.yes {
        return only_shown(&dropper.preview(if args.all { Which::All } else { Which::Seeded })?, out);
    }
    let bar = bar(0);
    let dropped = dropper.clear(args.all, |progress| {
        if let Progress::Found(owned) = progress {
            show(owned, out);
            // Before anything is dropped.
            out.flush();
        }
        advance(&bar, progress);
    })?;
    bar.finish_and_clear();
    out.line(format_args!("{} dropped", count(dropped.databases as u64, "database")));
    Ok(())
}

fn advance(bar: &ProgressBar, progress: Progress<'_>) {
    match progress {
        Progress::Found(owned) => bar.set_length(owned.len() as u64),
        Progress::Dropped => bar.inc(1),
    }
}

fn show(owned: &[Owned], out: &mut Output) {
    for Owned { db_name, res_id } in owned {
        out.line(format_args!("{db_name} (job {res_id})"));
    }
}

fn only_shown(owned: &[Owned], out: &mut Output) -> Result<(), Failure> {
    show(owned, out);
    let databases = count(owned.len() as u64, "database");
    Err(Failure::new(
        Exit::Usage,
        format!("{databases} would be dropped with all data in them; repeat with --yes to drop"),
    ))
}

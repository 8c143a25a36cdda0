//! The commands that drop databases: ask, show, print. The protocol is `resq::resources::drop`.

use indicatif::ProgressBar;
use resq::{
    cli::{Exit, Failure},
    resources::drop::{Dropper, Owned, Progress, Which},
};

use crate::{
    args::{Clear, Drop},
    shared::{bar, count, need_ids},
};

pub fn drop(dropper: &mut Dropper, args: &Drop) -> Result<(), Failure> {
    need_ids(&args.ids, "one or more res_ids")?;
    if !args.yes {
        return only_shown(&dropper.preview(Which::Of(&args.ids))?);
    }
    let bar = bar(0);
    let dropped = dropper.drop_jobs(&args.ids, |progress| advance(&bar, progress))?;
    bar.finish_and_clear();
    println!("{} and {} dropped", count(dropped.databases as u64, "database"), count(dropped.rows, "row"));
    if dropped.rows == 0 && dropped.databases == 0 {
        return Err(Failure::new(Exit::Failed, "no job has one of these res_ids; `resqctl list` shows the newest"));
    }
    Ok(())
}

pub fn clear(dropper: &mut Dropper, args: &Clear) -> Result<(), Failure> {
    if !args.yes {
        return only_shown(&dropper.preview(if args.all { Which::All } else { Which::Seeded })?);
    }
    let bar = bar(0);
    let dropped = dropper.clear(args.all, |progress| {
        if let Progress::Found(owned) = progress {
            show(owned);
        }
        advance(&bar, progress);
    })?;
    bar.finish_and_clear();
    println!("{} dropped", count(dropped.databases as u64, "database"));
    Ok(())
}

fn advance(bar: &ProgressBar, progress: Progress<'_>) {
    match progress {
        Progress::Found(owned) => bar.set_length(owned.len() as u64),
        Progress::Dropped => bar.inc(1),
    }
}

fn show(owned: &[Owned]) {
    for Owned { db_name, res_id } in owned {
        println!("{db_name} (job {res_id})");
    }
}

fn only_shown(owned: &[Owned]) -> Result<(), Failure> {
    show(owned);
    let databases = count(owned.len() as u64, "database");
    Err(Failure::new(
        Exit::Usage,
        format!("{databases} would be dropped with all data in them; repeat with --yes to drop"),
    ))
}

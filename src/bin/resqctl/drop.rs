//! The commands that drop databases: ask, show, print. The protocol is `resq::resources::drop`.

use indicatif::ProgressBar;
use resq::{
    base::text::age_s,
    cli::{Exit, Failure, Output},
    resources::{
        drop::{Dropper, Progress, Which},
        grace::LONGEST_S,
        registry::Owned,
    },
};

use crate::{
    args::{Clear, Drop, Restore},
    shared::{bar, count, need_ids},
};

pub fn drop(dropper: &mut Dropper, args: &Drop, out: &mut Output) -> Result<(), Failure> {
    need_ids(&args.ids, "one or more res_ids")?;
    let after_s = args.after.as_ref().map(after_s).transpose()?;
    if !args.yes {
        return only_shown(&dropper.preview(Which::Of(&args.ids))?, out);
    }
    if let Some(after_s) = after_s {
        let marked = dropper.drop_later(&args.ids, after_s)?;
        let ids: Vec<String> = args.ids.iter().map(u64::to_string).collect();
        show(&marked, out);
        out.line(format_args!(
            "{} will be dropped in {}; `resqctl restore {}` prevents it",
            count(marked.len() as u64, "database"),
            args.after.as_deref().unwrap_or_default(),
            ids.join(" ")
        ));
        return Ok(());
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

pub fn restore(dropper: &mut Dropper, args: &Restore, out: &mut Output) -> Result<(), Failure> {
    need_ids(&args.ids, "one or more res_ids")?;
    out.line(format_args!("{} restored", count(dropper.restore(&args.ids)?, "database")));
    Ok(())
}

fn after_s(text: &String) -> Result<u64, Failure> {
    age_s(text, LONGEST_S).ok_or_else(|| {
        let message = format!("--after {text}: expected a number and d, h, m or s, such as 7d, at most ten years");
        Failure::new(Exit::Usage, message)
    })
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

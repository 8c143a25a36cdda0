//! The commands that change nothing: tables and lines for people, JSON for programs.

use resq::{
    base::text::printable,
    cli::{Exit, Failure, Output},
    client::Event,
    config::Config,
    db::{Db, ServerInfo},
    events::{chosen_rows, consumers::admin as consumers, store, times},
    output::line,
    queue::{
        Filter, Queue, SetAside, Status, Waiting,
        overview::{self, Overview},
        search::LARGEST_PAGE,
    },
    resources::registry::{self, Owned},
    schema::{
        doctor::{Check, Functions, Verdict, Wakeups, trigger_names},
        problem::Problem,
    },
    wire::{Pattern, Start},
};
use serde_json::{Value as Json, json};

use crate::{
    args::{Events, List, Show},
    shared::count,
};

pub fn status(db: &Db, config: &Config, problems: &[Problem], as_json: bool, out: &mut Output) -> Result<(), Failure> {
    let server = ServerInfo::query(&mut *db.any()?)?;
    let queue = &mut Queue::on(db);
    let (running, set_aside, waiting) = (queue.running()?, queue.set_aside()?, queue.waiting()?);
    let mut conn = db.global()?;
    let overview = overview::overview(&mut conn)?;
    let [new, in_progress, done, error] = overview.counts;
    let Overview { delayed, oldest_waiting_s: oldest, is_paused: paused, .. } = overview;
    let functions = Functions::query(&mut conn)?;
    let wakeups = Wakeups::query(db, config, &functions);
    let triggers = trigger_names(&mut conn)?;
    let dropping = registry::dropping(&mut conn)?;
    let events_set_aside = chosen_rows::set_aside(&mut conn)?;
    let consumers = (consumers::count(&mut conn)?, consumers::furthest_behind(&mut conn, 1)?.pop());
    if as_json {
        let running: Vec<Json> = running
            .iter()
            .map(|job| json!({"res_id": job.id, "res_name": job.name, "owner": job.owner, "lease_s": job.lease_s}))
            .collect();
        let set_aside: Vec<Json> = set_aside.iter().map(SetAside::to_json).collect();
        let events_set_aside: Vec<Json> = events_set_aside.iter().map(chosen_rows::SetAside::to_json).collect();
        let waiting: Vec<Json> = waiting.iter().map(Waiting::to_json).collect();
        let dropping: Vec<Json> =
            dropping.iter().map(|one| json!({"db_name": one.db_name, "res_id": one.res_id})).collect();
        out.line(json!({
            "new": new.count, "delayed": delayed.count, "in_progress": in_progress.count, "done": done.count,
            "error": error.count, "capped": overview.capped(),
            "oldest_waiting_s": oldest, "paused": paused, "running": running, "set_aside": set_aside,
            "events_set_aside": events_set_aside,
            "waiting": waiting,
            "server": server.version, "host": server.host,
            "global_db": db.global_db(), "udf": functions.present(),
            "wakeups": wakeups.describe(), "triggers": triggers, "dropping": dropping,
            "consumers": {"count": consumers.0, "lag_max": consumers.1.as_ref().map(|furthest| furthest.lag)},
            "schema": problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    out.line(format_args!(
        "server       {} at {} (database `{}`)",
        printable(&server.version),
        printable(&server.host),
        db.global_db()
    ));
    out.line(format_args!("functions    {}", functions.describe()));
    out.line(format_args!("wakeups      {}", printable(&wakeups.describe())));
    out.line(format_args!("triggers     {}", if triggers.is_empty() { "none".into() } else { triggers.join(", ") }));
    for problem in problems {
        out.line(format_args!("schema       {}; {}", printable(&problem.what), printable(problem.remedy())));
    }
    out.line(format_args!(
        "new          {new}{}",
        if delayed.count > 0 { format!(" ({delayed} delayed)") } else { String::new() }
    ));
    out.line(format_args!("in progress  {in_progress}"));
    out.line(format_args!("done         {done}"));
    out.line(format_args!("error        {error}"));
    if let Some(oldest) = oldest {
        out.line(format_args!("oldest wait  {oldest} s"));
    }
    if let (number, Some(furthest)) = &consumers {
        out.line(format_args!(
            "consumers    {number}, at most {} behind ({})",
            count(furthest.lag, "event"),
            furthest.name
        ));
    }
    if paused {
        out.line("paused       yes; continue with `resqctl resume`");
    }
    if let Some(first) = waiting.first() {
        out.line(format_args!(
            "waiting      {} for the server; job {} `{}`, next try in {} s: {}",
            count(waiting.len() as u64, "job"),
            first.id,
            printable(&first.name),
            first.retry_s,
            printable(&first.reason)
        ));
    }
    for job in set_aside {
        out.line(format_args!(
            "set aside    job {} `{}`: the server refuses its {} since {}; next try in {} s: {}",
            job.id,
            printable(&job.name),
            job.change,
            job.since,
            job.retry_s,
            printable(&job.message)
        ));
    }
    for row in events_set_aside {
        out.line(format_args!(
            "set aside    {} `{}`: the server refuses its {} since {}; next try in {} s: {}",
            row.name(),
            printable(&row.state),
            row.what,
            row.since,
            row.retry_s,
            printable(&row.message)
        ));
    }
    for Owned { db_name, res_id } in dropping {
        out.line(format_args!(
            "dropping     {} of job {res_id}; if no drop runs, complete it with `resqctl drop {res_id} --yes`",
            printable(&db_name)
        ));
    }
    for job in running {
        let lease = match job.lease_s {
            Some(s) if s >= 0.0 => format!("lease expires in {s:.0} s"),
            _ => "lease expired".into(),
        };
        out.line(format_args!(
            "running      job {} `{}` by {}, {lease}",
            job.id,
            printable(&job.name),
            printable(job.owner.as_deref().unwrap_or("(no owner)"))
        ));
    }
    Ok(())
}

pub fn list(queue: &mut Queue, args: &List, out: &mut Output) -> Result<(), Failure> {
    let mut filter = Filter::default();
    let parts = [&args.status, &args.res_type, &args.name_prefix, &args.database];
    for (key, value) in ["status", "type", "name", "database"].into_iter().zip(parts) {
        if let Some(value) = value {
            filter.set(key, value).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        }
    }
    let mut rows = Vec::new();
    let (mut left, mut after) = (args.limit, args.after);
    while left > 0 {
        let page = queue.find(&filter, after, left.min(LARGEST_PAGE))?;
        left -= page.items.len() as u32;
        rows.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if args.json {
        out.line(Json::Array(rows.iter().map(resq::queue::admin::Row::to_json).collect()));
        return Ok(());
    }
    if rows.is_empty() {
        out.line("no rows");
    } else {
        out.line(format_args!(
            "{:>8}  {:11}  {:>8}  {:32}  {:24}  last error",
            "res_id", "status", "attempts", "name", "database"
        ));
    }
    for row in rows {
        let status = row.status.map_or("(null)", Status::as_str);
        let error = row.last_error.as_deref().map(|text| text.lines().next().unwrap_or_default()).unwrap_or_default();
        let line = format!(
            "{:>8}  {status:11}  {:>8}  {:32}  {:24}  {}",
            row.id,
            row.attempts,
            printable(&row.name),
            printable(row.result.as_deref().unwrap_or_default()),
            printable(error)
        );
        out.line(line.trim_end());
    }
    Ok(())
}

pub fn show(queue: &mut Queue, args: &Show, out: &mut Output) -> Result<(), Failure> {
    let Some(row) = queue.get(args.id)? else {
        return Err(Failure::new(
            Exit::Failed,
            format!("job {} does not exist; see `resqctl list` for the newest jobs", args.id),
        ));
    };
    let attempts = queue.attempts(args.id)?;
    let mut object = row.to_json();
    if args.json {
        object["errors"] =
            attempts.iter().map(|a| json!({"attempt": a.attempt, "at": a.at, "message": a.message})).collect();
        out.line(format_args!("{object}"));
        return Ok(());
    }
    for (key, value) in object.as_object().into_iter().flatten() {
        match value {
            Json::Null => out.line(format_args!("{key:13} -")),
            Json::String(text) => out.line(format_args!("{key:13} {}", printable(text))),
            other => out.line(format_args!("{key:13} {other}")),
        }
    }
    for attempt in attempts {
        out.line(format_args!("attempt {} failed at {}: {}", attempt.attempt, attempt.at, printable(&attempt.message)));
    }
    Ok(())
}

/// Prints events as resq-client does, one by one as they are read, since their payloads may be large.
pub fn events(conn: &mut mysql::Conn, args: &Events, out: &mut Output) -> Result<(), Failure> {
    let pattern = args.state.as_deref().map(Pattern::new).transpose();
    let pattern = pattern.map_err(|error| Failure::new(Exit::Usage, format!("--state: {error}")))?;
    let since = match args.since {
        None | Some(Start::Now) => None,
        Some(Start::Beginning) => Some(0),
        Some(Start::After(seq)) => Some(seq),
        Some(Start::Time(unix_time_us)) => Some(times::locate(conn, unix_time_us)?),
    };
    store::each(conn, since, pattern, args.limit, |(seq, unix_time_us, state, payload)| {
        let event = Event { seq, unix_time_us, state, payload };
        out.line(if args.json { line::json(&event) } else { line::human(&event) });
        out.is_open()
    })?;
    let waiting = store::waiting(conn)?;
    if waiting > 0 {
        log::warn!(
            "event log: {} committed but not numbered yet; check that resqd is running",
            count(waiting, "event")
        );
    }
    Ok(())
}

pub fn doctor(checks: &[Check], out: &mut Output) -> Result<(), Failure> {
    for check in checks {
        match &check.verdict {
            Verdict::Good(what) => out.line(format_args!("ok       {}: {}", check.name, printable(what))),
            Verdict::Warning { what, fix } => {
                out.line(format_args!("warning  {}: {}; {}", check.name, printable(what), printable(fix)))
            }
            Verdict::Failed { what, fix } => {
                out.line(format_args!("FAILED   {}: {}; {}", check.name, printable(what), printable(fix)))
            }
        }
    }
    match checks.iter().filter(|check| matches!(check.verdict, Verdict::Failed { .. })).count() {
        0 => Ok(()),
        n => {
            // Only the check of the login was made.
            let exit = if checks.len() == 1 { Exit::Unreachable } else { Exit::Failed };
            Err(Failure::new(
                exit,
                format!("{} failed; fix what is reported before you start resqd", count(n as u64, "check")),
            ))
        }
    }
}

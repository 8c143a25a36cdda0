//! The commands about migrations: what would run, starting a rollout, following it, acting on it.

use std::{
    thread,
    time::{Duration, Instant},
};

use mysql::Conn;
use resq::{
    base::{backoff::Backoff, text::printable},
    cli::{Exit, Failure, Output},
    config::Config,
    db::{Db, ServerInfo, ring},
    resources::{
        Templates,
        migrate::{
            applied,
            operator::{self, Action, Refused, Request},
            plan::{self, Due, Group},
            progress::{self, Noted, Progress},
            rules::State,
            store,
            verify::{self, Finding},
        },
        scratch::ScratchDatabases,
    },
};
use serde_json::{Value as Json, json};

use crate::{
    actor,
    args::Migrate,
    shared::{bar, count},
};

/// Rollouts that `status` lists.
const LISTED: u32 = 20;
/// Lines that a pipe gets from `wait`, at most one in so many seconds.
const LINE_S: u64 = 10;

const ACTIONS: &str = "plan, verify, start, status, wait, pause, resume, abort or retry";

pub fn run(db: &Db, config: &Config, args: &Migrate, out: &mut Output) -> Result<(), Failure> {
    let action = args.action.as_str();
    check(args, action)?;
    match action {
        "plan" => plan(db, config, args, out),
        "verify" => verify(db, config, args, out),
        "start" => start(db, config, args, out),
        "status" => status(&mut *db.global()?, args, out),
        "wait" => wait(&mut *db.global()?, need_number(args)?, args.timeout, out),
        "pause" => act(db, args, Action::Pause, out),
        "resume" => act(db, args, Action::Resume, out),
        "abort" => act(db, args, Action::Abort, out),
        "retry" => act(db, args, Action::Retry, out),
        other => Err(usage(format!("migrate: unknown action `{}`; expected {ACTIONS}", printable(other)))),
    }
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Refuses options that the action does not have.
fn check(args: &Migrate, action: &str) -> Result<(), Failure> {
    let is_start = action == "start";
    let is_look = action == "plan" || action == "verify";
    let acts = ["start", "pause", "resume", "abort", "retry"].contains(&action);
    let given = [
        ("--type", args.res_type.is_some(), is_start || is_look),
        ("--only", !args.only.is_empty(), is_start),
        ("--canary", args.canary.is_some(), is_start),
        ("--confirm-canary", args.confirm_canary, is_start),
        ("--wave", args.wave.is_some(), is_start),
        ("--max-failures", args.max_failures.is_some(), is_start),
        ("--no-verify", args.no_verify, is_start),
        ("--yes", args.yes, is_start),
        ("--reason", args.reason.is_some(), acts),
        ("--timeout", args.timeout.is_some(), action == "wait"),
        ("--json", args.json, action == "plan" || action == "status"),
    ];
    match given.iter().find(|(_, is_given, is_allowed)| *is_given && !is_allowed) {
        Some((option, ..)) => Err(usage(format!("{option} is not an option of `resqctl migrate {action}`"))),
        None if args.rollout.is_some() && (is_start || is_look) => {
            Err(usage(format!("`resqctl migrate {action}` takes no rollout's number")))
        }
        None => Ok(()),
    }
}

fn need_number(args: &Migrate) -> Result<u64, Failure> {
    args.rollout.ok_or_else(|| {
        usage(format!(
            "missing argument: the rollout's number (see `resqctl migrate status`) of `migrate {}`",
            args.action
        ))
    })
}

/// The templates on disk, if every database that has a migration got the text that is there.
fn templates(conn: &mut Conn, config: &Config, res_type: Option<&str>) -> Result<Templates, Failure> {
    let templates = Templates::load(config.sql_dir.as_deref())?;
    applied::check(conn, &templates)?;
    match res_type.filter(|name| templates.of_type(name).is_none()) {
        Some(name) => {
            let known = templates.types().collect::<Vec<_>>().join(", ");
            Err(usage(format!("--type {}: there is no such type; known types: {known}", printable(name))))
        }
        None => Ok(templates),
    }
}

fn plan(db: &Db, config: &Config, args: &Migrate, out: &mut Output) -> Result<(), Failure> {
    let mut conn = db.global()?;
    let res_type = args.res_type.as_deref();
    let templates = templates(&mut conn, config, res_type)?;
    let groups = plan::groups(&mut conn, &templates, res_type)?;
    if args.json {
        out.line(Json::Array(groups.iter().map(Group::to_json).collect()));
    } else {
        show_plan(&groups, out);
    }
    Ok(())
}

/// Proves the files, and prints what differs.
fn verify(db: &Db, config: &Config, args: &Migrate, out: &mut Output) -> Result<(), Failure> {
    let res_type = args.res_type.as_deref();
    let templates = templates(&mut *db.global()?, config, res_type)?;
    let server = ServerInfo::query(&mut *db.any()?)?;
    let mut scratch = ScratchDatabases::new(db, db, &config.queue.db_prefix, &server);
    scratch.sweep()?;
    let origins = verify::origins(&mut *db.global()?, &templates, res_type)?;
    let (mut refused, mut unknown, bar) = (0, 0, bar(origins.len() as u64));
    for origin in &origins {
        let found = verify::verify(db, &mut scratch, &templates, origin)?;
        bar.inc(1);
        let label = origin.to_string();
        match &found {
            Finding::Converges => out.line(format_args!("ok      {label}")),
            Finding::Differs(differences) => {
                out.line(format_args!("differs {label}: the migrations do not lead to today's templates"));
                differences.iter().for_each(|one| out.line(format_args!("    {}", printable(&one.to_string()))));
            }
            Finding::Fails(why) => out.line(format_args!("fails   {label}: {}", printable(&why.to_string()))),
            Finding::Unknown => out.line(format_args!(
                "unknown {label}: the templates that built them were not kept, so there is nothing to compare with"
            )),
        }
        refused += u64::from(!matches!(found, Finding::Converges));
        unknown += u64::from(matches!(found, Finding::Unknown));
    }
    bar.finish_and_clear();
    if origins.is_empty() {
        out.line("there are no databases that these files change");
    }
    match refused {
        0 => Ok(()),
        _ if refused == unknown => Err(Failure::new(
            Exit::Failed,
            "the migrations cannot be proved for databases whose templates were not kept; start resqd once with the files \
             that built them, or make sure yourself that the migrations fit",
        )),
        _ => Err(Failure::new(
            Exit::Failed,
            "the migrations are not proved; correct them, so that existing databases get the shape of the templates",
        )),
    }
}

fn show_plan(groups: &[Group], out: &mut Output) {
    let mut is_empty = true;
    for Group { res_type, version, databases, due } in groups {
        let what = format!("{} of type {} at version {version}", count(*databases, "database"), printable(res_type));
        match due {
            Due::Nothing => continue,
            Due::Files { to, paths } => {
                out.line(format_args!("{what} → {to}"));
                paths.iter().for_each(|path| out.line(format_args!("    {path}")));
            }
            Due::NewerElsewhere => out.line(format_args!("{what}: left alone, that version is not known here")),
            Due::UnknownType => out.line(format_args!("{what}: left alone, there is no such type here")),
        }
        is_empty = false;
    }
    if is_empty {
        out.line("every database has all migrations of its type");
    }
}

fn start(db: &Db, config: &Config, args: &Migrate, out: &mut Output) -> Result<(), Failure> {
    let mut conn = db.global()?;
    let res_type = args.res_type.as_deref();
    let templates = templates(&mut conn, config, res_type)?;
    if !args.yes {
        show_plan(&plan::groups(&mut conn, &templates, res_type)?, out);
        return Err(usage("nothing was started; repeat with --yes to start a rollout".into()));
    }
    if args.wave == Some(0) {
        return Err(usage("--wave 0: a wave has at least one database".into()));
    }
    if !args.no_verify {
        if let Some(open) = store::current(&mut conn)? {
            return Err(refused(Refused::Open(open.id, open.state.as_str())));
        }
        drop(conn);
        verify(db, config, args, out).map_err(|failure| {
            let hint = "; nothing was started; --no-verify starts without this proof";
            Failure::new(failure.exit, failure.message + hint)
        })?;
        conn = db.global()?;
    }
    let request = Request {
        res_type: args.res_type.clone(),
        only: args.only.clone(),
        canaries: args.canary.unwrap_or(1),
        confirm_canary: args.confirm_canary,
        wave: args.wave.unwrap_or(100),
        max_failures: args.max_failures.unwrap_or(0),
    };
    match operator::start(&mut conn, &templates, &request, &actor::of_system(&args.reason)).map_err(refused)? {
        None => out.line("every database has all migrations of its type; nothing was started"),
        Some((id, databases)) => {
            ring(&mut conn);
            out.line(format_args!(
                "rollout {id}: {}; follow it with `resqctl migrate wait {id}`",
                count(databases, "database")
            ));
        }
    }
    Ok(())
}

fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::Database(error) => error.into(),
        other => Failure::new(Exit::Failed, other.to_string()),
    }
}

fn act(db: &Db, args: &Migrate, action: Action, out: &mut Output) -> Result<(), Failure> {
    let id = need_number(args)?;
    let mut conn = db.global()?;
    let databases = operator::act(&mut conn, id, action, &actor::of_system(&args.reason)).map_err(refused)?;
    ring(&mut conn);
    out.line(match action {
        Action::Pause => {
            format!("rollout {id} is paused: databases that are under way are completed, no others are begun")
        }
        Action::Resume => format!("rollout {id} goes on"),
        Action::Abort => format!("rollout {id} is aborted: {} left as they are", count(databases, "database")),
        Action::Retry => format!("rollout {id} goes on; {} tried again", count(databases, "database")),
    });
    Ok(())
}

fn status(conn: &mut Conn, args: &Migrate, out: &mut Output) -> Result<(), Failure> {
    let Some(id) = args.rollout else {
        let rollouts = progress::newest(conn, None, LISTED)?;
        if args.json {
            out.line(Json::Array(rollouts.iter().map(Progress::to_json).collect()));
        } else if rollouts.is_empty() {
            out.line("no rollouts");
        } else {
            rollouts.iter().for_each(|rollout| out.line(line(rollout)));
        }
        return Ok(());
    };
    let rollout = find(conn, id)?;
    let noted = progress::noted(conn, id)?;
    if args.json {
        let mut object = rollout.to_json();
        object["noted"] = json!(noted.iter().map(Noted::to_json).collect::<Vec<_>>());
        out.line(object);
        return Ok(());
    }
    out.line(line(&rollout));
    for Noted { db_name, res_id, state, message } in &noted {
        let message = message.as_deref().map(printable).unwrap_or_default();
        out.line(format_args!("{state:>10}  {} (job {res_id})  {message}", printable(db_name)));
    }
    if let Some(hint) = hint(&rollout) {
        out.line(hint);
    }
    Ok(())
}

fn find(conn: &mut Conn, id: u64) -> Result<Progress, Failure> {
    progress::one(conn, id)?.ok_or_else(|| refused(Refused::Unknown(id)))
}

/// `rollout 3: running, wave 2 of 8, 120 of 800 migrated, 2 under way, 1 failed`.
fn line(rollout: &Progress) -> String {
    let mut line = format!("rollout {}: {}", rollout.id, rollout.state.as_str());
    if !rollout.state.has_ended() {
        line += &format!(", {}", rollout.place());
    }
    line += &format!(", {} of {} migrated", rollout.migrated, rollout.total());
    for (what, count) in [("under way", rollout.running), ("failed", rollout.failed), ("skipped", rollout.skipped)] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

/// What an operator can do now.
fn hint(rollout: &Progress) -> Option<String> {
    let id = rollout.id;
    match rollout.state {
        State::Unconfirmed => {
            Some(format!("the canaries are migrated: `resqctl migrate resume {id}` goes on with the others"))
        }
        State::Paused => Some(format!("`resqctl migrate resume {id}` goes on")),
        State::Halted => Some(format!(
            "mend what failed, then `resqctl migrate retry {id}`; or end it with `resqctl migrate abort {id}`"
        )),
        State::Finished if rollout.failed > 0 => Some(format!("mend what failed, then `resqctl migrate retry {id}`")),
        State::Running | State::Finished | State::Aborted => None,
    }
}

/// Follows a rollout until nothing happens any more without an operator.
fn wait(conn: &mut Conn, id: u64, timeout_s: Option<u64>, out: &mut Output) -> Result<(), Failure> {
    let deadline = timeout_s.and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
    let bar = bar(0);
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500), 0.0);
    let (mut shown, mut next_line) = (String::new(), Instant::now());
    let rollout = loop {
        let rollout = find(conn, id)?;
        bar.set_length(rollout.total());
        bar.set_position(rollout.left());
        bar.set_message(format!("{}, {} under way, {} failed", rollout.place(), rollout.running, rollout.failed));
        if rollout.is_at_rest() {
            break rollout;
        }
        if bar.is_hidden() && Instant::now() >= next_line && shown != line(&rollout) {
            shown = line(&rollout);
            out.line(&shown);
            out.flush();
            next_line = Instant::now() + Duration::from_secs(LINE_S);
        }
        let pause = backoff.next(0.0);
        if deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
            bar.finish_and_clear();
            return Err(Failure::new(
                Exit::TimedOut,
                format!(
                    "{} after {} s; see `resqctl status` for whether a resqd is running",
                    line(&rollout),
                    timeout_s.unwrap_or_default()
                ),
            ));
        }
        thread::sleep(pause);
    };
    bar.finish_and_clear();
    if rollout.state == State::Finished && rollout.failed == 0 {
        out.line(line(&rollout));
        return Ok(());
    }
    let hint = hint(&rollout).map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(Failure::new(Exit::Failed, format!("{}{hint}; see `resqctl migrate status {id}`", line(&rollout))))
}

//! The operator's program: parses, calls the library, prints. `inspect` and `top` show, `jobs` changes the queue, `drop` drops
//! databases.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod actor;
mod adopt;
mod args;
mod audit;
mod bulk;
mod check;
mod consumers;
mod database_args;
mod databases;
mod drop;
mod inspect;
mod jobs;
mod migrate;
mod reload;
mod shared;
mod top;

use std::process::ExitCode;

use mysql::prelude::Queryable;
use resq::{
    cli::{self, Exit, Failure, Output, Program},
    config::Config,
    daemon,
    db::{ANSWER, Db, ServerInfo},
    events::store,
    queue::{Queue, audit::record},
    resources::{Templates, drop::Dropper},
    schema::doctor,
    schema::inspection::Inspection,
    schema::install,
    schema::problem::{self, Problem},
};

use args::{Args, Command};

const PROGRAM: Program = Program {
    name: "resqctl",
    takes: &["database", "sql", "queue.db_prefix", "client", "broker.token", "queue.workers"],
    handles_signals: false,
    commit: option_env!("RESQ_COMMIT"),
};

/// The queue's, the two of a [`Dropper`], and that of a batch. A check needs five: two, and three for scratch databases.
const CONNECTIONS: u32 = 5;

fn main() -> ExitCode {
    cli::run(&PROGRAM, |args: Args, config, out| {
        run(args.command, &config, out)?;
        out.finish()
            .map_err(|failed| Failure::new(failed.exit, format!("{failed}; the command itself was carried out")))
    })
}

fn run(command: Command, config: &Config, out: &mut Output) -> Result<(), Failure> {
    if let Command::Doctor(_) = command {
        return inspect::doctor(&doctor::examine(config, daemon::connections(config.queue.workers)), out);
    }
    // These may legitimately take long: they alter tables, make or drop databases, or read many rows.
    let is_long = matches!(
        command,
        Command::Init(_)
            | Command::Drop(_)
            | Command::Clear(_)
            | Command::Cancel(_)
            | Command::Migrate(_)
            | Command::Events(_)
            | Command::Check(_)
            | Command::Adopt(_)
    );
    let db = Db::open_within(&config.database, CONNECTIONS, (!is_long).then_some(ANSWER))?;
    if let Command::Init(args) = command {
        let templates = Templates::load(config.sql_dir.as_deref())?;
        let server = ServerInfo::query(&mut *db.any()?)?;
        templates.check_sizes(server.max_packet_bytes)?;
        let report = install::init(&db, &server, &templates)?;
        report.mended.iter().for_each(|problem| out.line(format_args!("mended   {problem}")));
        report.left.iter().for_each(|problem| out.line(format_args!("left     {problem}; {}", problem.remedy())));
        out.line(format_args!("database `{}` is set up on server {}", db.global_db(), server.version));
        if args.new_log {
            let mut conn = db.global()?;
            let head = store::head(&mut conn)?;
            conn.query_drop("START TRANSACTION")?;
            store::renew_log_id(&mut conn, head.log_id, None)?;
            record(&mut conn, &actor::of_system(&None), "new-log", "the event log", 0)?;
            conn.query_drop("COMMIT")?;
            out.line(format_args!(
                "the event log, which ends at event {}, has a new identity; every client reads it from its beginning",
                head.head_seq
            ));
        }
        return Ok(());
    }
    match command {
        Command::Status(_) => install::check_readable(&db)?,
        _ => install::check_done(&db)?,
    }
    let acting = |reason: &Option<String>| Queue::on(&db).acting(actor::of_system(reason));
    let dropper = |reason: &Option<String>| Dropper::new(&db, &db).acting(actor::of_system(reason));
    match command {
        Command::Init(_) | Command::Doctor(_) => Ok(()),
        Command::Seed(args) => jobs::seed(&mut acting(&args.reason), &args, out),
        Command::Add(args) => jobs::add(&mut acting(&args.reason), args, out),
        Command::Wait(args) => jobs::wait(&mut Queue::on(&db), args.timeout),
        Command::Retry(args) => jobs::retry(&db, &args, out),
        Command::Cancel(args) => jobs::cancel(&db, &args, out),
        Command::Pause(args) => jobs::pause(&mut acting(&args.reason), out),
        Command::Resume(args) => jobs::resume(&mut acting(&args.reason), out),
        Command::Status(args) => {
            let problems = schema_problems(&db, config)?;
            let status = inspect::status(&db, config, &problems, args.json, out);
            status.map_err(|failure| match problem::fatal(&problems, db.global_db()) {
                // All that is missing, instead of the first statement that failed because of it.
                Some(message) if failure.exit == Exit::Failed => Failure::new(Exit::Failed, message),
                _ => failure,
            })
        }
        Command::List(args) => inspect::list(&mut Queue::on(&db), &args, out),
        Command::Show(args) => inspect::show(&mut Queue::on(&db), &args, out),
        Command::Events(args) => inspect::events(&mut *db.global()?, &args, out),
        Command::Consumers(args) => consumers::list(&db, args.json, out),
        Command::Consumer(args) => consumers::change(&db, &actor::of_system(&args.reason), &args, out),
        Command::Top(args) => top::top(&db, &args, out),
        Command::Audit(args) => audit::list(&mut Queue::on(&db), &args, out),
        Command::Databases(args) => databases::list(&db, config, &args, out),
        Command::Reload(args) => reload::run(&db, config, &args, out),
        Command::Migrate(args) => migrate::run(&db, config, &args, out),
        Command::Adopt(args) => adopt::adopt(&db, config, &args, out),
        Command::Restore(args) => drop::restore(&mut dropper(&args.reason), &args, out),
        Command::Check(args) => check::check(&db, config, &args, out),
        Command::Drop(args) => drop::drop(&mut dropper(&args.reason), &args, out),
        Command::Clear(args) => drop::clear(&mut dropper(&args.reason), &args, out),
    }
}

/// What differs in resq's own objects from what `init` creates.
fn schema_problems(db: &Db, config: &Config) -> Result<Vec<Problem>, Failure> {
    // resqd and doctor report files that cannot be used.
    let templates = Templates::load(config.sql_dir.as_deref()).or_else(|_| Templates::load(None))?;
    Ok(Inspection::new(&templates).run(&mut *db.global()?)?)
}

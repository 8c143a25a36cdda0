//! The operator's program: parses, calls the library, prints. `inspect` shows, `jobs` changes the queue, `drop` drops
//! databases.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod drop;
mod inspect;
mod jobs;
mod shared;

use std::process::ExitCode;

use resq::{
    cli::{self, Failure, Output, Program},
    config::Config,
    db::{ANSWER, Db, ServerInfo},
    events::store,
    queue::Queue,
    resources::{Templates, drop::Dropper},
    schema::doctor,
    schema::inspection::Inspection,
    schema::install,
    schema::problem::Problem,
};

use args::{Args, Command};

const PROGRAM: Program = Program {
    name: "resqctl",
    takes: &["database", "sql", "queue.db_prefix", "client", "broker.token", "queue.workers"],
    handles_signals: false,
    commit: option_env!("RESQ_COMMIT"),
};

/// The queue's, and the three of a [`Dropper`].
const CONNECTIONS: u32 = 4;

fn main() -> ExitCode {
    cli::run(&PROGRAM, |args: Args, config, out| {
        run(args.command, &config, out)?;
        out.finish()
            .map_err(|failed| Failure::new(failed.exit, format!("{failed}; the command itself was carried out")))
    })
}

fn run(command: Command, config: &Config, out: &mut Output) -> Result<(), Failure> {
    if let Command::Doctor(_) = command {
        return inspect::doctor(&doctor::examine(config), out);
    }
    // These may legitimately take long: they alter tables, drop databases or read many rows.
    let is_long = matches!(command, Command::Init(_) | Command::Drop(_) | Command::Clear(_) | Command::Events(_));
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
            store::renew_log_id(&mut conn, head.log_id, None)?;
            out.line(format_args!(
                "the event log, which ends at event {}, has a new identity; every client reads it from its beginning",
                head.head_seq
            ));
        }
        return Ok(());
    }
    install::check_done(&db)?;
    let mut queue = Queue::on(&db);
    match command {
        Command::Init(_) | Command::Doctor(_) => Ok(()),
        Command::Seed(args) => jobs::seed(&mut queue, &args, out),
        Command::Add(args) => jobs::add(&mut queue, args, out),
        Command::Wait(args) => jobs::wait(&mut queue, args.timeout),
        Command::Retry(args) => jobs::retry(&mut queue, &args, out),
        Command::Cancel(args) => jobs::cancel(&mut Dropper::new(&db, &db), &args.ids, out),
        Command::Pause(_) => jobs::pause(&mut queue, out),
        Command::Resume(_) => jobs::resume(&mut queue, out),
        Command::Status(args) => inspect::status(&db, &mut queue, &schema_problems(&db, config)?, args.json, out),
        Command::List(args) => inspect::list(&mut queue, &args, out),
        Command::Show(args) => inspect::show(&mut queue, &args, out),
        Command::Events(args) => inspect::events(&mut *db.global()?, &args, out),
        Command::Drop(args) => drop::drop(&mut Dropper::new(&db, &db), &args, out),
        Command::Clear(args) => drop::clear(&mut Dropper::new(&db, &db), &args, out),
    }
}

/// What differs in resq's own objects from what `init` creates.
fn schema_problems(db: &Db, config: &Config) -> Result<Vec<Problem>, Failure> {
    // resqd and doctor report files that cannot be used.
    let templates = Templates::load(config.sql_dir.as_deref()).or_else(|_| Templates::load(None))?;
    Ok(Inspection::new(&templates).run(&mut *db.global()?)?)
}

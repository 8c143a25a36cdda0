//! The operator's program: parses, calls the library, prints. `inspect` shows, `jobs` changes the queue, `drop` drops
//! databases.

mod args;
mod drop;
mod inspect;
mod jobs;
mod shared;

use std::process::ExitCode;

use resq::{
    cli::{self, Failure, Program},
    config::Config,
    db::{ANSWER, Db, ServerInfo},
    queue::Queue,
    resources::{Templates, drop::Dropper},
    schema::doctor,
    schema::install,
};

use args::{Args, Command};

const PROGRAM: Program = Program {
    name: "resqctl",
    takes: &["database", "sql", "queue.db_prefix", "client", "broker.token", "queue.workers"],
};

/// The queue's, and the three of a [`Dropper`].
const CONNECTIONS: u32 = 4;

fn main() -> ExitCode {
    cli::run(&PROGRAM, |args: Args, config| run(args.command, &config))
}

fn run(command: Command, config: &Config) -> Result<(), Failure> {
    if let Command::Doctor(_) = command {
        return inspect::doctor(&doctor::examine(config));
    }
    // These may legitimately take long: they alter tables, drop databases or read many rows.
    let is_long = matches!(command, Command::Init(_) | Command::Drop(_) | Command::Clear(_) | Command::Events(_));
    let db = Db::open_within(&config.database, CONNECTIONS, (!is_long).then_some(ANSWER))?;
    if let Command::Init(_) = command {
        let templates = Templates::load(config.sql_dir.as_deref())?;
        let server = ServerInfo::ask(&mut *db.any()?)?;
        templates.check_sizes(server.max_packet_bytes)?;
        install::init(&db, &server, &templates)?;
        println!("database `{}` is set up on server {}", db.global_db(), server.version);
        return Ok(());
    }
    install::check_done(&db)?;
    let mut queue = Queue::on(&db);
    match command {
        Command::Init(_) | Command::Doctor(_) => Ok(()),
        Command::Seed(args) => jobs::seed(&mut queue, &args),
        Command::Add(args) => jobs::add(&mut queue, args),
        Command::Wait(args) => jobs::wait(&mut queue, args.timeout),
        Command::Retry(args) => jobs::retry(&mut queue, &args),
        Command::Cancel(args) => jobs::cancel(&mut Dropper::new(&db, &db), &args.ids),
        Command::Pause(_) => jobs::pause(&mut queue),
        Command::Resume(_) => jobs::resume(&mut queue),
        Command::Status(args) => inspect::status(&db, &mut queue, args.json),
        Command::List(args) => inspect::list(&mut queue, &args),
        Command::Show(args) => inspect::show(&mut queue, &args),
        Command::Events(args) => inspect::events(&mut *db.global()?, &args),
        Command::Drop(args) => drop::drop(&mut Dropper::new(&db, &db), &args),
        Command::Clear(args) => drop::clear(&mut Dropper::new(&db, &db), &args),
    }
}

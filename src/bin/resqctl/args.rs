//! The command line of `resqctl`, from which its help is made.

use argh::{ArgsInfo, FromArgs};
use resq::wire::Start;

pub use crate::database_args::{Adopt, Check, Drop, Restore};

/// Set up, fill, inspect, repair and empty the queue.
#[derive(FromArgs, ArgsInfo)]
pub struct Args {
    #[argh(subcommand)]
    pub command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum Command {
    Init(Init),
    Seed(Seed),
    Add(Add),
    Status(Status),
    List(List),
    Show(Show),
    Wait(Wait),
    Retry(Retry),
    Cancel(Cancel),
    Pause(Pause),
    Resume(Resume),
    Check(Check),
    Adopt(Adopt),
    Drop(Drop),
    Restore(Restore),
    Clear(Clear),
    Events(Events),
    Consumers(Consumers),
    Consumer(Consumer),
    Audit(Audit),
    Top(Top),
    Databases(Databases),
    Migrate(Migrate),
    Reload(Reload),
    Doctor(Doctor),
}

/// create or upgrade the global database with its tables, procedures and triggers; safe to repeat
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "init")]
pub struct Init {
    /// give the event log a new identity, after it was restored from a backup: every client reads it from its beginning
    #[argh(switch)]
    pub new_log: bool,
}

/// enqueue test resources under names never used before
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "seed")]
pub struct Seed {
    /// number of resources
    #[argh(option)]
    pub count: u64,
    /// res_type of the resources (default: default)
    #[argh(option, long = "type", default = "\"default\".into()")]
    pub res_type: String,
    /// prefix of the names (default: seed)
    #[argh(option, default = "\"seed\".into()")]
    pub prefix: String,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// enqueue one resource and print its res_id
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "add")]
pub struct Add {
    /// res_name of the resource
    #[argh(positional)]
    pub name: String,
    /// res_type of the resource, which selects its templates (default: default)
    #[argh(option, long = "type", default = "\"default\".into()")]
    pub res_type: String,
    /// res_url of the resource
    #[argh(option)]
    pub url: Option<String>,
    /// priority of the job; lower ones are claimed first (default 0)
    #[argh(option, default = "0")]
    pub priority: i16,
    /// seconds to wait before the job may be claimed (default 0)
    #[argh(option, default = "0")]
    pub delay: u32,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// show jobs by status, the age of the oldest waiting one, running jobs and their leases, the server, functions, triggers
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// list the newest jobs
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// only jobs of this status: new, in_progress, done or error
    #[argh(option)]
    pub status: Option<String>,
    /// jobs of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// jobs whose res_name begins with this
    #[argh(option)]
    pub name_prefix: Option<String>,
    /// the job that this database was built for
    #[argh(option)]
    pub database: Option<String>,
    /// only jobs with smaller res_ids
    #[argh(option)]
    pub after: Option<u64>,
    /// maximum number to print (default 50)
    #[argh(option, default = "50")]
    pub limit: u32,
    /// print a JSON array
    #[argh(switch)]
    pub json: bool,
}

/// show one job with its failed attempts
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// res_id of the job
    #[argh(positional)]
    pub id: u64,
    /// print a JSON object
    #[argh(switch)]
    pub json: bool,
}

/// wait until no job is new or in progress; exit with 1 if one ended in error meanwhile, with 4 on time-out
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "wait")]
pub struct Wait {
    /// maximum number of seconds to wait (default: no limit)
    #[argh(option)]
    pub timeout: Option<u64>,
}

/// return failed jobs to the queue with all their attempts
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "retry")]
pub struct Retry {
    /// res_ids of the jobs
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// retry every failed job
    #[argh(switch)]
    pub all_errors: bool,
    /// jobs of this status: error, the only one that can be retried
    #[argh(option)]
    pub status: Option<String>,
    /// jobs of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// jobs whose res_name begins with this
    #[argh(option)]
    pub name_prefix: Option<String>,
    /// the job that this database was built for
    #[argh(option)]
    pub database: Option<String>,
    /// only print how many jobs match
    #[argh(switch)]
    pub dry_run: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// end waiting jobs in error, so that they do not run
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cancel")]
pub struct Cancel {
    /// res_ids of the jobs
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// jobs of this status: new, the only one that can be cancelled
    #[argh(option)]
    pub status: Option<String>,
    /// jobs of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// jobs whose res_name begins with this
    #[argh(option)]
    pub name_prefix: Option<String>,
    /// the job that this database was built for
    #[argh(option)]
    pub database: Option<String>,
    /// only print how many jobs match
    #[argh(switch)]
    pub dry_run: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// stop claiming jobs, for every daemon on this queue; running jobs continue
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "pause")]
pub struct Pause {
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// resume claiming jobs after pause
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "resume")]
pub struct Resume {
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// drop the databases of seeded test resources and delete their rows
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "clear")]
pub struct Clear {
    /// drop the databases; without this option they are only listed
    #[argh(switch)]
    pub yes: bool,
    /// drop every database that resq made, not only those of seeded resources
    #[argh(switch)]
    pub all: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// print the newest events of the event log, or those from a place on
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "events")]
pub struct Events {
    /// print the first events after this number, from this time (2026-11-25T10:00:00Z) or of this age (2h) on
    #[argh(option, arg_name = "WHEN", from_str_fn(resq::cli::since))]
    pub since: Option<Start>,
    /// only events of this state; a * at the end matches any rest
    #[argh(option)]
    pub state: Option<String>,
    /// maximum number to print (default 50)
    #[argh(option, default = "50")]
    pub limit: u32,
    /// print each event as one line of JSON
    #[argh(switch)]
    pub json: bool,
}

/// list the consumers whose positions the server keeps, and how far behind each is
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "consumers")]
pub struct Consumers {
    /// print a JSON array
    #[argh(switch)]
    pub json: bool,
}

/// move or remove a consumer
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "consumer")]
pub struct Consumer {
    /// name of the consumer
    #[argh(positional)]
    pub name: String,
    /// continue after this number, or at start (the oldest event kept) or now
    #[argh(option, arg_name = "WHERE")]
    pub set: Option<String>,
    /// forget the consumer
    #[argh(switch)]
    pub remove: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// list what operators did, newest first
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "audit")]
pub struct Audit {
    /// only actions before this one
    #[argh(option)]
    pub after: Option<u64>,
    /// maximum number to print (default 50)
    #[argh(option, default = "50")]
    pub limit: u32,
    /// print a JSON array
    #[argh(switch)]
    pub json: bool,
}

/// show the queue live, in a terminal until q is pressed, otherwise as lines
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "top")]
pub struct Top {
    /// seconds between two views (default 1)
    #[argh(option, default = "1")]
    pub interval: u64,
    /// end after this number of views
    #[argh(option)]
    pub count: Option<u64>,
}

/// list the databases that resq built, by name
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "databases")]
pub struct Databases {
    /// databases of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// only databases that lack migrations
    #[argh(switch)]
    pub outdated: bool,
    /// also read the size of each from the server, which takes a while
    #[argh(switch)]
    pub sizes: bool,
    /// print a JSON array
    #[argh(switch)]
    pub json: bool,
}

/// bring existing databases to the newest shape: plan, verify, start, status, wait, pause, resume, abort or retry
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "migrate")]
pub struct Migrate {
    /// what to do: plan, verify, start, status, wait, pause, resume, abort or retry
    #[argh(positional)]
    pub action: String,
    /// number of the rollout, for all but plan, verify and start; status without it lists the newest
    #[argh(positional)]
    pub rollout: Option<u64>,
    /// plan, verify, start: databases of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// start: only the databases of these res_ids
    #[argh(option)]
    pub only: Vec<u64>,
    /// start: number of databases that are migrated before all others (default 1)
    #[argh(option)]
    pub canary: Option<u32>,
    /// start: wait for `resume` after the canaries
    #[argh(switch)]
    pub confirm_canary: bool,
    /// start: number of databases in a wave; the next begins when all of them are done (default 100)
    #[argh(option)]
    pub wave: Option<u32>,
    /// start: number of databases that may fail before the rollout halts (default 0)
    #[argh(option)]
    pub max_failures: Option<u32>,
    /// start: do not verify the migrations in scratch databases before
    #[argh(switch)]
    pub no_verify: bool,
    /// start: without this option only the plan is shown
    #[argh(switch)]
    pub yes: bool,
    /// wait: maximum number of seconds (default: no limit)
    #[argh(option)]
    pub timeout: Option<u64>,
    /// plan, status: print JSON
    #[argh(switch)]
    pub json: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// make every resqd read its templates and migrations again, after they were checked
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "reload")]
pub struct Reload {
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// check everything that resq needs, and say how to fix what is missing
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "doctor")]
pub struct Doctor {}

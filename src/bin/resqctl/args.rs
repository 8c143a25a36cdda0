//! What `resqctl` can be asked for.

use argh::{ArgsInfo, FromArgs};

/// Set up, fill, look at, fix and empty the queue.
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
    Drop(Drop),
    Clear(Clear),
    Events(Events),
    Doctor(Doctor),
}

/// create the global database, its tables, procedures and triggers, or bring older ones up to date; safe to repeat
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "init")]
pub struct Init {}

/// insert test resources under names never used before
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "seed")]
pub struct Seed {
    /// how many
    #[argh(option)]
    pub count: u64,
    /// their res_type (default: default)
    #[argh(option, long = "type", default = "\"default\".into()")]
    pub res_type: String,
    /// what their names begin with (default: seed)
    #[argh(option, default = "\"seed\".into()")]
    pub prefix: String,
}

/// enqueue one resource and print its res_id
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "add")]
pub struct Add {
    /// the resource's name
    #[argh(positional)]
    pub name: String,
    /// its res_type, which picks the templates (default: default)
    #[argh(option, long = "type", default = "\"default\".into()")]
    pub res_type: String,
    /// its res_url
    #[argh(option)]
    pub url: Option<String>,
    /// smaller is claimed first (default 0)
    #[argh(option, default = "0")]
    pub priority: i16,
    /// seconds from now before which it is not claimed (default 0)
    #[argh(option, default = "0")]
    pub delay: u32,
}

/// depth by status, oldest waiting age, running jobs and their leases, the server, functions and triggers
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// as one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// the newest rows
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// of one status: new, in_progress, done or error
    #[argh(option)]
    pub status: Option<String>,
    /// how many at most (default 50)
    #[argh(option, default = "50")]
    pub limit: u32,
    /// as a JSON array
    #[argh(switch)]
    pub json: bool,
}

/// one row with its attempts and errors
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// its res_id
    #[argh(positional)]
    pub id: u64,
    /// as a JSON object
    #[argh(switch)]
    pub json: bool,
}

/// wait until nothing is new or in progress; exit 1 if any of it ended in error, 4 on time-out
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "wait")]
pub struct Wait {
    /// seconds to wait at most (default: without end)
    #[argh(option)]
    pub timeout: Option<u64>,
}

/// put failed jobs back to new with fresh attempts
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "retry")]
pub struct Retry {
    /// their res_ids
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// every failed job
    #[argh(switch)]
    pub all_errors: bool,
}

/// end waiting jobs in error
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cancel")]
pub struct Cancel {
    /// their res_ids
    #[argh(positional)]
    pub ids: Vec<u64>,
}

/// stop claiming, for every daemon on this queue; running jobs go on
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "pause")]
pub struct Pause {}

/// claim again
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "resume")]
pub struct Resume {}

/// drop resources' databases and their rows
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "drop")]
pub struct Drop {
    /// their res_ids
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// yes, drop them; without it they are only listed
    #[argh(switch)]
    pub yes: bool,
}

/// drop the databases that resq made for seeded test resources, and their rows
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "clear")]
pub struct Clear {
    /// yes, drop them; without it they are only listed
    #[argh(switch)]
    pub yes: bool,
    /// every database that resq made, not the seeded ones alone
    #[argh(switch)]
    pub all: bool,
}

/// read the event log: the newest events, or those after a number
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "events")]
pub struct Events {
    /// the first ones after this number
    #[argh(option)]
    pub since: Option<u64>,
    /// of this state alone; a * at its end stands for any rest
    #[argh(option)]
    pub state: Option<String>,
    /// how many at most (default 50)
    #[argh(option, default = "50")]
    pub limit: u32,
    /// each as a line of JSON
    #[argh(switch)]
    pub json: bool,
}

/// check everything that resq needs and say how to fix what is missing
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "doctor")]
pub struct Doctor {}

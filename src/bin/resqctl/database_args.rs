//! The part of the command line that is about resources' databases: check, adopt, drop, restore.

use argh::{ArgsInfo, FromArgs};

/// compare databases with what their own version should look like; exit with 1 if one differs
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// res_ids of the jobs whose databases to check
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// check every database
    #[argh(switch)]
    pub all: bool,
    /// only databases of this res_type
    #[argh(option, long = "type")]
    pub res_type: Option<String>,
    /// print a line of JSON for each database, and one for the numbers
    #[argh(switch)]
    pub json: bool,
}

/// register databases that were made by others, if they look as their version should; nothing in them is changed
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "adopt")]
pub struct Adopt {
    /// names of the databases
    #[argh(positional)]
    pub databases: Vec<String>,
    /// res_name of the resource, for one database (default: the name of the database without queue.db_prefix)
    #[argh(option)]
    pub name: Option<String>,
    /// res_type of the resources, whose templates they are compared with (default: default)
    #[argh(option, long = "type", default = "\"default\".into()")]
    pub res_type: String,
    /// number of the newest migration that they have (default: the newest there is)
    #[argh(option)]
    pub version: Option<u32>,
    /// register those that differ, too
    #[argh(switch)]
    pub force: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// remove the marks of drop --after
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "restore")]
pub struct Restore {
    /// res_ids of the jobs
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

/// drop the databases of resources and delete their rows
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "drop")]
pub struct Drop {
    /// res_ids of the jobs
    #[argh(positional)]
    pub ids: Vec<u64>,
    /// not now but after this time, such as 7d, 12h, 30m or 90s; until then `restore` prevents it
    #[argh(option)]
    pub after: Option<String>,
    /// drop the databases; without this option they are only listed
    #[argh(switch)]
    pub yes: bool,
    /// why, for the audit
    #[argh(option)]
    pub reason: Option<String>,
}

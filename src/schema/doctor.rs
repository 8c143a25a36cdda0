//! Checks every prerequisite of the daemon by doing what the daemon would do. Leaves nothing behind; prints nothing.

mod daemon;
mod events;
mod functions;
mod objects;
mod privileges;
mod server;
mod variables;
mod verdict;
mod wakeups;
mod watched;

pub use events::trigger_names;
pub use functions::Functions;
pub use verdict::Verdict;
pub use wakeups::Wakeups;

use crate::{
    base::failure::Failure,
    config::Config,
    db::{ANSWER, Db, ServerInfo},
    resources::Templates,
    schema::{inspection::Inspection, install, problem::Part, version::SCHEMA_VERSION},
};
use verdict::{AGAIN, failed, good};

/// The result of one check.
#[derive(Clone, Debug)]
pub struct Check {
    /// One or two lower-case words, the same in every version.
    pub name: &'static str,
    /// What was found.
    pub verdict: Verdict,
}

/// Runs all checks in the order in which they build on each other; stops where the next ones would mean nothing. `connections`:
/// how many a daemon needs.
pub fn examine(config: &Config, connections: u32) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, verdict| checks.push(Check { name, verdict });
    let opened = Db::open_within(&config.database, 2, Some(ANSWER)).map_err(Failure::from);
    let (db, mut conn) = match opened.and_then(|db| Ok((db.clone(), db.any()?))) {
        Ok(both) => both,
        Err(failure) => {
            add("login", failed(failure.message, AGAIN));
            return checks;
        }
    };
    let user = privileges::account(&mut conn);
    add("login", good(user.clone()));
    add("encryption", server::encryption(&mut conn, config));
    let mut max_packet_bytes = usize::MAX;
    match ServerInfo::query(&mut conn) {
        Err(error) => {
            let fix = "cannot query the server's version; make sure that this is MySQL or MariaDB";
            add("server", failed(error.to_string(), fix));
        }
        Ok(info) => {
            max_packet_bytes = info.max_packet_bytes;
            add("server", server::version(&info));
            add("binary log", server::binary_log(&info));
        }
    }
    add("variables", variables::needed(&mut conn));
    add("presets", variables::presets(&mut conn));
    add("connections", server::connections(&mut conn, connections));
    add("privileges", privileges::resources(&mut conn, &config.queue.db_prefix, &user));
    add(
        "templates",
        match Templates::load(config.sql_dir.as_deref())
            .and_then(|templates| templates.check_sizes(max_packet_bytes).map(|()| templates))
        {
            Ok(templates) => good(format!("types: {}", templates.types().collect::<Vec<_>>().join(", "))),
            Err(error) => failed(error.to_string(), "fix the file; resqd reads all of them when it starts"),
        },
    );
    add("clock", server::clock(&mut conn));
    let done = install::check_done(&db);
    add("init", privileges::init(&mut conn, db.global_db(), &user, done.is_ok()));
    if let Err(failure) = done {
        add("tables", failed(failure.message, AGAIN));
        return checks;
    }
    if let Ok(mut conn) = db.global() {
        let templates = Templates::load(config.sql_dir.as_deref()).or_else(|_| Templates::load(None));
        let found = Inspection::new(&templates.unwrap_or_default()).run(&mut conn);
        let tables = format!("database `{}`, version {}", db.global_db(), SCHEMA_VERSION);
        add("tables", objects::check(&found, Part::Table, tables));
        add("procedures", objects::check(&found, Part::Procedure, "as `resqctl init` creates them".into()));
        add("triggers", objects::check(&found, Part::Trigger, "as `resqctl init` creates them".into()));
        add("access", privileges::access(&mut conn, db.global_db(), &user));
        if config.database.hosts.len() > 1 {
            add("nodes", privileges::nodes(&mut conn, &user));
        }
        add("functions", functions::check(&mut conn, &config.database));
        add("wakeups", wakeups::check(&db, &mut conn, config, &user));
        if !config.watches.is_empty() {
            add("watched tables", watched::check(&db, &mut conn, config, &user));
        }
        add("publish", events::publish(&mut conn, &user, db.global_db()));
        add("daemons", daemon::daemons(&mut conn));
        add("set aside", daemon::set_aside(&mut conn));
    }
    add("broker", daemon::broker(config));
    checks
}

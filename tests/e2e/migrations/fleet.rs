//! Databases of one type at version 0, and the folder of their templates, to which tests add migrations.

use std::path::{Path, PathBuf};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{DEADLINE, Instance, Program, Running, Server, templates, wait_or_report};

/// Three tables, as a resource of the tests has them before any migration.
pub const OLD: &[(&str, &str)] = &[
    ("res_db/10.sql", templates::CREATE),
    (
        "res_tables/10.sql",
        "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INT PRIMARY KEY); CREATE TABLE c (id INT PRIMARY KEY)",
    ),
];

/// So short that a killed daemon's databases are free again soon.
pub const LEASE_S: &str = "2";

pub struct Fleet<'a> {
    pub instance: Instance<'a>,
    pub sql: PathBuf,
}

impl<'a> Fleet<'a> {
    /// Builds so many databases of version 0 on the shared server.
    pub fn new(name: &str, databases: u32) -> Fleet<'static> {
        Fleet::on(Server::shared(), name, databases)
    }

    pub fn on(server: &'a Server, name: &str, databases: u32) -> Fleet<'a> {
        let instance = Instance::on(server, name);
        instance.resqctl(["init"]).ok();
        let sql = instance.sql_dir(OLD);
        let fleet = Fleet { instance, sql };
        let names: Vec<String> = (1..=databases).map(|n| format!("('d{n:04}')")).collect();
        fleet.app(&format!("INSERT INTO res_queue (res_name) VALUES {}", names.join(",")));
        let resqd = fleet.resqd().spawn_ready();
        fleet.instance.resqctl(["wait", "--timeout", "120"]).ok();
        assert_eq!(resqd.stop().code(), Some(0));
        fleet
    }

    fn app(&self, sql: &str) {
        self.instance.app().query_drop(sql).unwrap();
    }

    /// Adds files below the folder of templates.
    pub fn add(&self, files: &[(&str, &str)]) {
        self.instance.sql_dir(files);
    }

    /// Without a socket, so that several run side by side.
    pub fn resqd(&self) -> Program {
        self.resqd_by(&self.sql)
    }

    /// The same with another folder of templates.
    pub fn resqd_by(&self, sql: &Path) -> Program {
        self.resqd_of(sql, LEASE_S)
    }

    /// With a lease that outlasts the moments in which a cluster that has lost a node stores nothing.
    pub fn resqd_long_lease(&self) -> Program {
        self.resqd_of(&self.sql, "60")
    }

    fn resqd_of(&self, sql: &Path, lease_s: &str) -> Program {
        let program = self.instance.resqd().env("RESQ_SOCKET", "");
        program.args(["--lease-s", lease_s, "--poll-ms", "100"]).arg("--sql-dir").arg(sql)
    }

    /// `resqctl migrate` with this fleet's templates.
    pub fn migrate<const N: usize>(&self, args: [&str; N]) -> Program {
        self.migrate_by(&self.sql, args)
    }

    /// The same with those of another folder.
    pub fn migrate_by<const N: usize>(&self, sql: &Path, args: [&str; N]) -> Program {
        self.instance.resqctl(["migrate"]).args(args).arg("--sql-dir").arg(sql)
    }

    /// Starts a rollout of everything that is due with these options, without proof: most tests change no template.
    pub fn start<const N: usize>(&self, options: [&str; N]) -> String {
        self.migrate(["start", "--yes", "--no-verify"]).args(options).ok()
    }

    /// The number of the newest rollout. On clusters numbers have gaps.
    pub fn number(&self) -> u64 {
        self.conn().query_first::<u64, _>("SELECT MAX(id) FROM res_rollout").unwrap().unwrap()
    }

    /// `rollout 1 is aborted`, of the newest one.
    pub fn says(&self, what: &str) -> String {
        let space = if what.is_empty() || what.starts_with(':') { "" } else { " " };
        format!("rollout {}{space}{what}", self.number())
    }

    /// `resqctl migrate` with this action on the newest rollout.
    pub fn newest(&self, action: &str) -> Program {
        self.migrate([action, &self.number().to_string()])
    }

    /// The job of the database `n`, from 1.
    pub fn id(&self, conn: &mut Conn, n: u32) -> u64 {
        conn.exec_first("SELECT res_id FROM res_database WHERE db_name = ?", (self.database(n),)).unwrap().unwrap()
    }

    /// The name of the database `n`, from 1.
    pub fn database(&self, n: u32) -> String {
        format!("{}d{n:04}", self.instance.db_prefix)
    }

    pub fn conn(&self) -> Conn {
        self.instance.conn()
    }

    /// How many databases have which version.
    pub fn versions(&self, conn: &mut Conn) -> Vec<(u32, u64)> {
        conn.query("SELECT version, COUNT(*) FROM res_database GROUP BY version ORDER BY version").unwrap()
    }

    /// `state` and `failed` of the newest rollout.
    pub fn rollout(&self, conn: &mut Conn) -> (String, u32) {
        conn.query_first("SELECT state, failed FROM res_rollout ORDER BY id DESC LIMIT 1").unwrap().unwrap()
    }

    /// Waits until the newest rollout has this state and no database is under way; the deadline is for each database.
    pub fn wait_for(&self, conn: &mut Conn, state: &str) {
        let mut before = 0;
        loop {
            let mut migrated = 0;
            let mut is_there = false;
            wait_or_report(DEADLINE, &format!("a rollout that is {state}"), || {
                let is = self.rollout(conn).0;
                let rows: Vec<(String, u64, Option<String>)> = conn
                    .query("SELECT state, COUNT(*), MAX(message) FROM res_rollout_database GROUP BY state")
                    .unwrap();
                let count = |state: &str| rows.iter().find(|row| row.0 == state).map_or(0, |row| row.1);
                is_there = is == state && count("running") == 0;
                migrated = count("migrated");
                if is_there || migrated > before { Ok(()) } else { Err(format!("{is}, {rows:?}")) }
            });
            if is_there {
                return;
            }
            before = migrated;
        }
    }

    /// The databases whose rollout's row has this state, with the message.
    pub fn with_state(&self, conn: &mut Conn, state: &str) -> Vec<(String, Option<String>)> {
        conn.exec("SELECT db_name, message FROM res_rollout_database WHERE state = ? ORDER BY db_name", (state,))
            .unwrap()
    }

    /// In how many databases this column is there.
    pub fn with_column(&self, conn: &mut Conn, table: &str, column: &str) -> u64 {
        let pattern = format!("{}d%", self.instance.db_prefix.replace('_', "\\_"));
        conn.exec_first(
            "SELECT COUNT(*) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA LIKE ? AND TABLE_NAME = ? AND COLUMN_NAME = ?",
            (pattern, table, column),
        )
        .unwrap()
        .unwrap()
    }

    /// The payloads of the events of this state, numbered or not.
    pub fn events(&self, conn: &mut Conn, state: &str) -> Vec<serde_json::Value> {
        let sql =
            "SELECT payload FROM res_event WHERE state = ? UNION ALL SELECT payload FROM res_outbox WHERE state = ?";
        let rows: Vec<String> = conn.exec(sql, (state, state)).unwrap();
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }
}

/// Ends it and expects that it drained.
pub fn stop(resqd: Running) {
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

//! A global database for a test or a benchmark that drives the library itself: initialised, filled with rows, and dropped
//! with the value. Tests of the programs use [`Instance`](crate::Instance) instead.

use mysql::{Conn, OptsBuilder, prelude::Queryable};
use resq::{
    config::{Config, Database, Queue, Secret, Tls},
    db::{Db, ServerInfo},
    resources::Templates,
    schema::install,
};

use crate::{
    account::Account,
    server::{self, Server},
};

/// A global database as `resqctl init` creates it, and the settings to reach it.
pub struct TestDatabase {
    pub config: Config,
    pub db: Db,
    pub info: ServerInfo,
    opts: OptsBuilder,
    is_hostile: bool,
}

impl TestDatabase {
    pub fn new(server: &Server, name: &str) -> TestDatabase {
        let global_db = format!("resq_{name}");
        (1..=server.nodes().len()).for_each(|n| server.trust_creators_of_triggers(n));
        let account = Account::daemon(server, &global_db, &Queue::default().db_prefix);
        let database = Database {
            host: "127.0.0.1".into(),
            port: server.port(),
            user: account.user,
            password: Secret(account.password),
            global_db,
            // Unencrypted, so that a proxy can read the statements and a comparison with bare connections is fair.
            tls: Tls::Off,
            ..Database::default()
        };
        let config = Config { database, ..Config::default() };
        let db = Db::open(&config.database, 16).expect("the server runs");
        let info = ServerInfo::query(&mut db.any().expect("a connection")).expect("facts about the server");
        let templates = Templates::load(None).expect("the built-in templates are right");
        install::init(&db, &info, &templates).expect("init");
        let opts = OptsBuilder::new().ip_or_hostname(Some("127.0.0.1")).tcp_port(server.port()).prefer_socket(false);
        TestDatabase { opts: opts.user(Some("root")), is_hostile: server.is_hostile(), config, db, info }
    }

    /// Drops the triggers on the queue, for measurements of the table alone.
    pub fn drop_triggers(&self) {
        let mut conn = self.bare();
        let schema = &self.config.database.global_db;
        let triggers: Vec<String> = conn
            .exec("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?", (schema,))
            .expect("triggers");
        for trigger in triggers {
            conn.query_drop(format!("DROP TRIGGER `{trigger}`")).expect("drop");
        }
    }

    /// A plain driver connection to the global database, with resq's isolation level. Numbers rows 1, 2, 3 in a replication
    /// group as well; Galera sets its own step before each statement.
    pub fn bare(&self) -> Conn {
        let mut conn = server::open(self.opts.clone(), self.is_hostile).expect("root logs in without a password");
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").expect("a session");
        conn.query_drop("SET SESSION auto_increment_increment = 1, auto_increment_offset = 1").expect("a session");
        conn.select_db(&self.config.database.global_db).expect("the global database");
        conn
    }

    /// Inserts 10^`digits` rows; `columns` and `values` add to their names.
    pub fn fill(&self, digits: u32, columns: &str, values: &str) {
        const DIGIT: &str = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
                             UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
        let name: Vec<String> = (0..digits).map(|i| format!("t{i}.d")).collect();
        let from: Vec<String> = (0..digits).map(|i| format!("{DIGIT} t{i}")).collect();
        let sql = format!(
            "INSERT INTO res_queue (res_name{columns}) SELECT CONCAT('b', {}){values} FROM {}",
            name.join(","),
            from.join(" JOIN ")
        );
        self.bare().query_drop(sql).expect("rows");
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let _ = self.bare().query_drop(format!("DROP DATABASE `{}`", self.config.database.global_db));
    }
}

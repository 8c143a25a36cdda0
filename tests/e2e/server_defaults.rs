//! A session of resq depends on nothing that a server, an account or `init_connect` presets.

mod classes;

use std::collections::{BTreeMap, BTreeSet};

use mysql::{Conn, prelude::Queryable};
use resq::{
    config::{Database, Secret},
    db::{
        Db,
        session::{On, SET_FIRST, SETTINGS},
    },
};
use resq_test_support::{Account, Doctor, Instance, Server, Verdict, wait_until};

/// All variables that a session of this server has.
fn session_variables(conn: &mut Conn) -> BTreeSet<String> {
    let of_mysql =
        "SELECT VARIABLE_NAME FROM performance_schema.variables_metadata WHERE VARIABLE_SCOPE LIKE '%SESSION%'";
    let of_mariadb =
        "SELECT VARIABLE_NAME FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE LIKE 'SESSION%'";
    let names: Vec<String> = conn.query(of_mysql).or_else(|_| conn.query(of_mariadb)).expect("the server's variables");
    names.into_iter().map(|name| name.to_lowercase()).collect()
}

/// A session of resq's, as its programs open them, under an account without any privilege.
fn session_of_resq(server: &Server, account: &Account) -> Db {
    let database = Database {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: account.user.clone(),
        password: Secret(account.password.clone()),
        ..Database::default()
    };
    Db::open(&database, 1).expect("the server takes the account")
}

/// The variables that resq sets, as its sessions on that server have them.
fn values(server: &Server, account: &Account) -> BTreeMap<String, String> {
    let mut conn = session_of_resq(server, account).any().unwrap();
    let rows: Vec<(String, String)> = conn.query("SHOW SESSION VARIABLES").unwrap();
    let set = |name: &str| SET_FIRST.contains(&name) || SETTINGS.iter().any(|setting| setting.name == name);
    rows.into_iter().filter(|(name, _)| set(name)).collect()
}

fn is_single(server: &Server) -> bool {
    server.nodes().len() == 1
}

#[test]
fn every_session_variable_is_set_or_has_a_reason_not_to_be() {
    let mut count = BTreeMap::<&str, u32>::new();
    let unset = classes::UNSET.iter().flat_map(|(_, names)| *names).copied();
    let set = SETTINGS.iter().map(|setting| setting.name).chain(SET_FIRST.iter().copied());
    unset.chain(set).for_each(|name| *count.entry(name).or_default() += 1);
    let twice: Vec<_> = count.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "in two classes: {twice:?}");
    let there = session_variables(&mut Server::shared().conn());
    assert!(there.len() > 150, "{there:?}");
    let unknown: Vec<_> = there.iter().filter(|name| !count.contains_key(name.as_str())).collect();
    assert!(unknown.is_empty(), "new in this server, and in no class: {unknown:?}");
    // None is left out because it was written wrong.
    let is_mysql = matches!(Server::shared().kind(), "mysql97" | "group");
    let here = |on| on == On::Both || (on == On::MySql) == is_mysql;
    let missing: Vec<_> = SETTINGS.iter().filter(|s| here(s.on) && !there.contains(s.name)).map(|s| s.name).collect();
    assert!(missing.is_empty(), "not in this server: {missing:?}");
}

/// On servers that preset them differently.
fn assert_same_sessions(usual: &Server, hostile: &Server) {
    let wanted = values(usual, &Account::daemon(usual, "resq_usual_session", "x_"));
    assert!(wanted.len() > 30, "{wanted:?}");
    let found = values(hostile, &Account::daemon(hostile, "resq_odd_session", "x_"));
    let differ: Vec<_> = wanted.iter().filter(|(name, value)| found.get(*name) != Some(value)).collect();
    // The collation of SET NAMES is the server's, as all but one switch of the optimizer are.
    let free = ["collation_connection", "optimizer_switch"];
    let differ: Vec<_> = differ.into_iter().filter(|(name, _)| !free.contains(&name.as_str())).collect();
    assert!(differ.is_empty(), "{differ:?} there, here {found:?}");
}

/// Names that are wrong in any other character set than UTF-8.
const NAMES: [&str; 5] = ["plain", "café", "日本", "plain2", "🦀 o'clock \\ \""];

/// Runs one job per name from end to end, with holes in the outbox's ids; the events have to be exact.
fn assert_jobs_run(instance: &Instance, mark: &str) {
    let names: Vec<String> = NAMES.iter().map(|name| format!("{name}{mark}")).collect();
    let mut conn = instance.conn();
    let last: u64 = conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap();
    for name in &names {
        instance.resqctl(["add"]).arg(name).ok();
        conn.query_drop("START TRANSACTION").unwrap();
        conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('never')").unwrap();
        conn.query_drop("ROLLBACK").unwrap();
    }
    let resqd = instance.resqd().spawn_ready();
    let ended = "SELECT status, COUNT(*) FROM res_queue GROUP BY status";
    wait_until("all jobs to be done", || {
        let states: Vec<(String, usize)> = conn.query(ended).unwrap();
        assert!(states.iter().all(|(status, _)| status != "error"), "{states:?}");
        matches!(states.as_slice(), [(status, _)] if status == "done")
    });
    wait_until("all events to be numbered", || {
        conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_outbox").unwrap() == Some(0)
    });
    assert_eq!(resqd.stop().code(), Some(0));
    let events = instance.resqctl(["events", "--json", "--limit", "1000", "--since"]).arg(last.to_string()).ok();
    for state in ["New", "InProgress", "Completed"] {
        let found: Vec<String> = events
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON"))
            .filter(|event| event["state"] == state)
            .map(|event| event["payload"]["res_name"].as_str().expect("a name").to_string())
            .collect();
        let (found, wanted): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), names.iter().collect());
        assert_eq!(found, wanted, "{state}");
    }
}

/// What else `init_connect` does to a session than on a hostile server from the start. By turns, since a locked table
/// ends what came before.
const INIT_CONNECT: [&str; 2] = [
    "SET SESSION TRANSACTION READ WRITE; \
     CREATE TEMPORARY TABLE resq_preset.res_queue (a INT PRIMARY KEY) ENGINE = InnoDB; \
     CREATE TEMPORARY TABLE resq_preset.res_page (a INT PRIMARY KEY) ENGINE = InnoDB; \
     USE information_schema; DO GET_LOCK('mine', 0); SET ROLE NONE",
    "SET SESSION TRANSACTION READ WRITE; SET completion_type = 'CHAIN'; LOCK TABLES resq_preset.res_meta READ",
];

#[test]
fn sessions_jobs_and_events_are_the_same_on_a_server_with_hostile_defaults() {
    if !is_single(Server::shared()) {
        return println!("not tested: a cluster has no hostile twin");
    }
    assert_same_sessions(Server::shared(), Server::hostile());
    // The tables of other tests, which may use this server, have no primary keys.
    if Server::shared().kind() == "mysql97" && !Server::shared().is_hostile() {
        Server::hostile().conn().query_drop("SET GLOBAL sql_require_primary_key = 1").unwrap();
    }
    let instance = Instance::on(Server::hostile(), "preset");
    instance.resqctl(["init"]).ok();
    assert_jobs_run(&instance, "");
    let engines: Vec<String> = instance
        .conn()
        .query(
            "SELECT DISTINCT CONCAT(TABLE_NAME, ' ', ENGINE) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA LIKE '%preset%' AND TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB'",
        )
        .unwrap();
    assert!(engines.is_empty(), "{engines:?}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
    assert_eq!(doctor.verdict("presets"), Verdict::Warning, "{}", doctor.finished);
    let odd: Vec<_> = SETTINGS.iter().filter(|setting| setting.is_odd).map(|setting| setting.name).collect();
    let there = session_variables(&mut instance.conn());
    let silent: Vec<_> = odd
        .iter()
        .filter(|name| there.contains(**name) && !name.starts_with("wsrep_"))
        .filter(|name| !doctor.text("presets").contains(&format!("{name} = ")))
        .collect();
    assert!(silent.is_empty(), "not named: {silent:?} in {}", doctor.finished);
    assert_eq!(doctor.verdict("variables"), Verdict::Good, "{}", doctor.finished);
    if Server::shared().is_hostile() {
        return println!("init_connect not tested: other tests use this server");
    }
    for (n, statements) in INIT_CONNECT.iter().enumerate() {
        instance.conn().exec_drop("SET GLOBAL init_connect = ?", (statements,)).unwrap();
        assert_jobs_run(&instance, &format!(" {n}"));
    }
}

#[test]
fn doctor_names_what_no_session_can_set_and_a_login_what_init_connect_fails_at() {
    let is_mysql = Server::shared().kind() == "mysql97";
    if !is_single(Server::shared()) {
        return println!("not tested: options of a cluster");
    }
    let server = Server::with_options(&["--max-allowed-packet=65536", "--max-binlog-cache-size=4096"]);
    let instance = Instance::on(&server, "needed");
    if !is_mysql {
        server.conn().query_drop("SET GLOBAL enforce_storage_engine = 'MyISAM'").unwrap();
    }
    let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
    assert_eq!(doctor.verdict("variables"), Verdict::Failed, "{}", doctor.finished);
    let names = ["max_allowed_packet", "max_binlog_cache_size", "enforce_storage_engine"];
    for name in names.iter().take(if is_mysql { 2 } else { 3 }) {
        assert!(doctor.text("variables").contains(name), "{name}: {}", doctor.finished);
    }
    server.conn().query_drop("SET GLOBAL init_connect = 'SELECT * FROM nowhere.none'").unwrap();
    let finished = instance.resqctl(["status"]).expect_code(3);
    assert!(finished.stderr.contains("init_connect"), "{finished}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
    assert_eq!(doctor.verdict("login"), Verdict::Failed, "{}", doctor.finished);
    assert!(doctor.text("login").contains("init_connect"), "{}", doctor.finished);
}

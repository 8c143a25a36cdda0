//! Templates that are read again while resqd serves, and rollouts over HTTP.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    thread::{self, JoinHandle},
};

use mysql::prelude::Queryable;
use resq_test_support::{Program, http, own_port, wait_until};
use serde_json::{Value as Json, json};

use super::fleet::Fleet;

/// A template file whose reader waits for its text.
struct Pipe {
    opening: JoinHandle<io::Result<File>>,
}

impl Pipe {
    /// Makes it; there is no such file yet.
    fn at(path: &Path) -> Pipe {
        Program::new("mkfifo").arg(path).ok();
        let path = path.to_owned();
        Pipe { opening: thread::spawn(move || File::options().write(true).open(path)) }
    }

    /// Waits until it is being read.
    fn opened(self) -> OpenPipe {
        wait_until("a reader of the file", || self.opening.is_finished());
        OpenPipe(self.opening.join().unwrap().unwrap())
    }
}

struct OpenPipe(File);

impl OpenPipe {
    /// The whole text of the file.
    fn write(mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn templates_are_read_again_and_a_wrong_set_changes_nothing() {
    let fleet = Fleet::new("reload", 1);
    let mut conn = fleet.conn();
    let resqd = fleet.resqd().spawn_ready();
    let reload = || fleet.instance.resqctl(["reload"]).arg("--sql-dir").arg(&fleet.sql);
    let build = |name: &str| {
        fleet.instance.resqctl(["add", name]).ok();
        fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
    };
    let kept = "SELECT COUNT(DISTINCT template_version) FROM res_template";
    fleet.add(&[
        ("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT"),
        ("res_tables/20.sql", "ALTER TABLE a ADD x INT"),
    ]);
    reload().ok();
    // The set is kept before it builds anything.
    wait_until("the new templates", || conn.query_first(kept).unwrap() == Some(2));
    wait_until("a database of the new version", || {
        build(&format!("n{}", fastrand::u32(..)));
        conn.query_first("SELECT MAX(version) FROM res_database").unwrap() == Some(1)
    });
    fleet.add(&[("res_tables/30.sql", "SELECT {{WHAT}}")]);
    let refused = reload().expect_code(2);
    assert!(refused.stderr.contains("res_tables/30.sql:1: unknown variable"), "{refused}");
    let wrong = fleet.sql.join("res_tables/30.sql");
    fs::remove_file(&wrong).unwrap();
    let pipe = Pipe::at(&wrong);
    resqd.signal("HUP");
    // When the daemon has read this file, nothing but its refusal is left to do.
    pipe.opened().write("SELECT {{WHAT}}");
    build("after");
    let built: (u32, u64) = conn
        .query_first(
            "SELECT d.version, d.res_id FROM res_database d JOIN res_queue q USING (res_id) WHERE res_name = 'after'",
        )
        .unwrap()
        .unwrap();
    assert_eq!(built.0, 1);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_audit WHERE action = 'reload'").unwrap(), Some(1));
    let finished = resqd.stop();
    assert!(finished.stderr.contains("res_tables/30.sql:1"), "{finished}");
}

#[test]
fn templates_that_are_read_slowly_do_not_replace_those_that_were_read_later() {
    let fleet = Fleet::new("slow_reload", 1);
    let mut conn = fleet.conn();
    let resqd = fleet.resqd().spawn_ready();
    let path = fleet.sql.join("res_tables/20.sql");
    let slow = Pipe::at(&path);
    resqd.signal("HUP");
    let slow = slow.opened();
    fs::remove_file(&path).unwrap();
    fleet.add(&[
        ("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT"),
        ("res_tables/20.sql", "ALTER TABLE a ADD x INT"),
    ]);
    resqd.signal("HUP");
    // Besides these two, the set from the start.
    slow.write("SELECT 1");
    let kept = "SELECT COUNT(DISTINCT template_version) FROM res_template";
    wait_until("both sets", || conn.query_first(kept).unwrap() == Some(3));
    wait_until("a database of the later one", || {
        fleet.instance.resqctl(["add", &format!("d9{}", fastrand::u32(..))]).ok();
        fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
        fleet.with_column(&mut conn, "a", "x") > 0
    });
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn rollouts_are_shown_and_acted_on_over_http() {
    let fleet = Fleet::new("rollout_http", 3);
    let mut conn = fleet.conn();
    fleet.add(&[("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT")]);
    let port = own_port();
    let program = fleet.resqd().env("RESQ_HTTP", format!("127.0.0.1:{port}")).env("RESQ_HTTP_TOKEN", "acts");
    let resqd = program.spawn_ready();
    let ask = |method: &str, path: &str| {
        let fields = "Authorization: Bearer acts\r\nContent-Length: 0\r\nConnection: close\r\n";
        let answer = http(port, &format!("{method} {path}"), fields);
        (answer.status, serde_json::from_str::<Json>(&answer.body).unwrap_or(Json::Null), answer.body)
    };
    fleet.start(["--confirm-canary"]);
    fleet.wait_for(&mut conn, "unconfirmed");
    let rollout = fleet.number();
    let path = format!("/api/v1/rollouts/{rollout}");
    let (status, list, _) = ask("GET", "/api/v1/rollouts");
    assert_eq!((status, &list["rollouts"][0]["state"], &list["next"]), (200, &json!("unconfirmed"), &Json::Null));
    wait_until("the metrics", || {
        let (_, _, text) = ask("GET", "/metrics");
        let waiting = format!("resq_rollout_databases{{rollout=\"{rollout}\",state=\"waiting\"}} 2");
        text.contains(&waiting) && text.contains("resq_databases{type=\"default\",version=\"0\"} 2")
    });
    for (action, code) in [("pause", 200), ("pause", 409), ("resume", 200)] {
        assert_eq!(ask("POST", &format!("{path}/{action}")).0, code, "{action}");
    }
    fleet.wait_for(&mut conn, "unconfirmed");
    let (status, answer, _) = ask("POST", &format!("{path}/abort"));
    assert_eq!((status, &answer["databases"]), (200, &json!(2)));
    let (_, one, _) = ask("GET", &path);
    assert_eq!((&one["rollout"]["skipped"], &one["noted"][0]["state"]), (&json!(2), &json!("skipped")));
    assert_eq!((ask("GET", "/api/v1/rollouts/999").0, ask("POST", "/api/v1/rollouts/999/abort").0), (404, 404));
    let audited: Vec<String> =
        conn.query("SELECT action FROM res_audit WHERE who NOT LIKE '%resqctl' ORDER BY id").unwrap();
    assert_eq!(audited, ["migrate-pause", "migrate-resume", "migrate-abort"]);
    super::fleet::stop(resqd);
}

#[test]
fn reload_that_loses_races_at_the_server_goes_on_until_it_succeeds() {
    let fleet = Fleet::new("reloadrace", 1);
    let mut conn = fleet.conn();
    // What a cluster reports to all but one of the daemons that keep the same set at the same moment.
    conn.query_drop(
        "CREATE TABLE tries (id INT AUTO_INCREMENT PRIMARY KEY); CREATE TABLE loses (id INT PRIMARY KEY); \
         INSERT INTO loses VALUES (1)",
    )
    .unwrap();
    conn.query_drop(
        "CREATE TRIGGER loses BEFORE INSERT ON res_template FOR EACH ROW IF EXISTS (SELECT 1 FROM loses) THEN \
           INSERT INTO tries VALUES (); SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'lost'; \
         END IF",
    )
    .unwrap();
    let resqd = fleet.resqd().spawn_ready();
    fleet.add(&[
        ("res_tables/20.sql", "ALTER TABLE a ADD x INT"),
        ("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT"),
    ]);
    fleet.instance.resqctl(["reload"]).arg("--sql-dir").arg(&fleet.sql).ok();
    // Numbers that were drawn are not given back: more than the transaction is repeated by itself.
    let mut own = 0;
    wait_until("the reload to have failed once", || {
        conn.query_drop("INSERT INTO tries VALUES ()").unwrap();
        own += 1;
        conn.last_insert_id() > own + 20
    });
    let kept = "SELECT COUNT(DISTINCT template_version) FROM res_template";
    assert_eq!(conn.query_first(kept).unwrap(), Some(1));
    conn.query_drop("DELETE FROM loses").unwrap();
    wait_until("the new templates", || conn.query_first(kept).unwrap() == Some(2));
    super::fleet::stop(resqd);
}

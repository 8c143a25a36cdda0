//! HTTP as programs see it that know nothing of resq: a tester of interfaces, the official parser of metrics, a client of event
//! streams.

use std::collections::{BTreeMap, BTreeSet};

use mysql::prelude::Queryable;
use resq_test_support::{DEADLINE, EventOracle, HttpPeer, Instance, Program, ROOT, http, not_tested, wait_or_report};
use serde_json::{Value as Json, json};

use super::{resqd, resqd_on};

const TOKEN: &str = "Authorization: Bearer s3cret";

/// Python with the packages that these tests need, and with what its installer may be given by the environment.
fn python() -> Program {
    let concerns = |name: &str| {
        let paths = ["HOME", "XDG_CACHE_HOME", "TESTDB_CACHE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];
        paths.contains(&name) || name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy")
    };
    let program = Program::new(format!("{ROOT}/scripts/testpython.sh"));
    let variables = std::env::vars().filter(|(name, _)| concerns(name));
    // What the tests ask is on this machine.
    variables.fold(program, |program, (name, value)| program.env(&name, value)).env("no_proxy", "127.0.0.1")
}

fn tool(name: &str) -> Program {
    python().arg(format!("{ROOT}/tests/tools/{name}"))
}

/// Whether the packages are there: every test waits for the same installation, once. Where Python can install none, the tests
/// say so, but not in continuous integration, which is to have it.
fn is_installed() -> bool {
    let is_able = || Program::new("sh").args(["-c", "python3 -c 'import ensurepip, venv'"]).run().code() == Some(0);
    if std::env::var_os("CI").is_none() && !is_able() {
        not_tested("it needs python3 with venv");
        return false;
    }
    let mut installing = python().args(["-c", "import schemathesis"]).spawn();
    wait_or_report(10 * DEADLINE, "the packages", || match installing.is_running() {
        true => Err(installing.stderr()),
        false => Ok(()),
    });
    let finished = installing.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    true
}

/// Nothing that anyone can send by the description, or against it, is answered otherwise than it says. What is sent is the same
/// in every run; `SCHEMATHESIS_SEED` chooses something else, `SCHEMATHESIS_EXAMPLES` how much.
#[test]
fn interface_is_what_its_description_says() {
    if !is_installed() {
        return;
    }
    let instance = Instance::ready("http_schema");
    let (program, port) = resqd(&instance);
    let resqd = program.env("RESQ_HTTP_TOKEN", "s3cret").spawn_ready();
    let mut conn = instance.conn();
    conn.query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('a', 'default'), ('b', 'gone')").unwrap();
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let examples = setting("SCHEMATHESIS_EXAMPLES", "10");
    let seed = std::env::var("SCHEMATHESIS_SEED").map_or_else(
        |_| vec!["--generation-deterministic".to_string()],
        |seed| ["--generation-database", "none", "--seed", &seed].map(String::from).to_vec(),
    );
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}/api/v1/openapi.json");
    let config = format!("{ROOT}/tests/tools/schemathesis.toml");
    let mut tester = python()
        .args([
            "-m",
            "schemathesis.cli",
            "--config-file",
            &config,
            "run",
            &url,
            "--header",
            TOKEN,
            "--no-color",
            "--phases",
            "coverage,fuzzing",
        ])
        // A stream has no end.
        .args(["--exclude-path", "/stream", "--checks", "all", "--max-examples", &examples, "--max-failures", "20"])
        .args(["--request-timeout", "10", "--warnings", "off", "--no-shrink"])
        .args(seed)
        .current_dir(folder.path())
        .spawn();
    wait_or_report(4 * DEADLINE, "the tester", || match tester.is_running() {
        true => Err(tester.stdout()),
        false => Ok(()),
    });
    let finished = tester.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_eq!(http(port, "GET /healthz", "").status, 200);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn metrics_are_read_by_the_official_parser() {
    if !is_installed() {
        return;
    }
    let instance = Instance::ready("http_parser");
    let (program, port) = resqd(&instance);
    let resqd = program.spawn_ready();
    let mut conn = instance.conn();
    conn.query_drop("CALL publish('A.\"b', '{}')").unwrap_err();
    conn.query_drop("CALL publish('A.b', '{}')").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('a', 'a\"\\\\\\n{}')").unwrap();
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    // Those that only the database knows are read after they are asked for.
    wait_or_report(DEADLINE, "every metric", || {
        families = serde_json::from_str(&tool("metrics.py").arg(format!("http://127.0.0.1:{port}/metrics")).ok())
            .map_err(|error| error.to_string())?;
        let are_there = ["resq_oldest_waiting_seconds", "resq_events"].iter().all(|name| families.contains_key(*name));
        if are_there { Ok(()) } else { Err(format!("{families:?}")) }
    });
    let kinds: BTreeSet<&str> = families.values().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["counter", "gauge", "histogram"]), "{families:?}");
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn foreign_client_misses_and_repeats_nothing_over_restarts() {
    if !is_installed() {
        return;
    }
    let instance = Instance::ready("http_foreign");
    let (program, port) = resqd(&instance);
    let mut daemon = program.spawn_ready();
    let mut conn = instance.conn();
    let tokens: Vec<String> = (0..90).map(|n| format!("t{n}")).collect();
    let url = format!("http://127.0.0.1:{port}/api/v1/stream?since=0");
    let mut client = tool("events.py").args([&url, &tokens.len().to_string()]).spawn();
    for (round, part) in tokens.chunks(30).enumerate() {
        for token in part {
            conn.query_drop(format!("CALL publish('Own.py', '{{\"token\":\"{token}\"}}')")).unwrap();
        }
        client.wait_for_output(&format!("\"{}\"", part[10]));
        match round % 2 {
            0 => assert_eq!(daemon.stop().code(), Some(0)),
            _ => drop(daemon),
        }
        daemon = resqd_on(&instance, port).args(["--lease-s", "2"]).spawn_ready();
    }
    let finished = client.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let mut oracle = EventOracle::new(BTreeSet::new()).with_writer("Own.py".into(), tokens);
    let events = finished.stdout.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    events.for_each(|event| oracle.observe(&event));
    oracle.finish(&mut conn);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// What tells a client that numbers belong to another log, as WELCOME does in RSQ/1.
#[test]
fn stream_names_its_log() {
    let instance = Instance::ready("http_log_id");
    let (program, port) = resqd(&instance);
    let daemon = program.spawn_ready();
    let mut conn = instance.conn();
    let first = |query: &str| {
        let mut peer = HttpPeer::connect(port);
        peer.request(&format!("GET /api/v1/stream{query}"), "");
        assert_eq!(peer.answer().status, 200);
        peer.message(&mut None).expect("a message")
    };
    let log_id: u64 = conn.query_first("SELECT log_id FROM res_log").unwrap().unwrap();
    let message = |log_id: u64| ("resq/log".to_string(), json!({ "log_id": log_id.to_string(), "head_seq": 0 }));
    assert_eq!(first("?since=0"), message(log_id));
    assert_eq!(first("?watch=overview").0, "resq/overview");
    assert_eq!(daemon.stop().code(), Some(0));
    instance.resqctl(["init", "--new-log"]).ok();
    let daemon = resqd_on(&instance, port).spawn_ready();
    let other: u64 = conn.query_first("SELECT log_id FROM res_log").unwrap().unwrap();
    assert_ne!(other, log_id);
    assert_eq!(first("?since=7"), message(other));
    assert_eq!(daemon.stop().code(), Some(0));
}

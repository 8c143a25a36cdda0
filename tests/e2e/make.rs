//! The Makefile: every target is explained, and `make run` uses the server that it is given.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Program, Server};
use tempfile::TempDir;

use super::install::built;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn help_lists_every_target() {
    let makefile = std::fs::read_to_string(format!("{ROOT}/Makefile")).unwrap();
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let help = Program::new("make").args(["-s", "-C", ROOT, "help"]).ok();
    let listed: Vec<_> = help.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, targets.split(' ').collect::<Vec<_>>());
}

/// `scripts/run.sh` on the test's server, which is named by the environment.
fn run(instance: &Instance, built: &TempDir) -> Program {
    instance.program(&format!("{ROOT}/scripts/run.sh")).env("WORKERS", "2").env("CARGO_TARGET_DIR", built.path())
}

#[test]
fn run_on_a_named_server_queues_nothing_by_default() {
    let instance = Instance::new("run_named");
    let built = built();
    let resqd = run(&instance, &built).arg("-v").spawn_ready();
    let queued: u64 = instance.conn().query_first("SELECT COUNT(*) FROM res_queue").unwrap().unwrap();
    assert_eq!(queued, 0);
    resqd.signal("INT");
    let finished = resqd.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

#[test]
fn run_shows_each_resource_that_is_finished_and_drains_on_ctrl_c() {
    let instance = Instance::new("run_seeded");
    let built = built();
    let mut running = run(&instance, &built).env("SEED", "3").spawn();
    running.wait_for_output("All 3 resources are finished, 0 of them with an error.");
    instance.resqctl(["add", "one more"]).ok();
    running.wait_for_output("done       one more in database run_seeded_one_more_");
    running.signal("INT");
    let finished = running.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let done: Vec<&str> = finished.stdout.lines().filter(|line| line.starts_with("done       seed_")).collect();
    assert_eq!(done.len(), 3, "{finished}");
    assert!(!finished.stdout.contains(['\r', '\x1b', '{']), "plain lines: {finished}");
}

/// Plays a demo on a private server; what it prints. None: on this kind it is not played.
fn demo(script: &str) -> Option<String> {
    let kind = match Server::shared().kind() {
        cluster @ ("galera" | "group") => {
            println!("one server is enough for the demo, not {cluster}");
            return None;
        }
        single => single,
    };
    let cache = std::env::var_os("TESTDB_CACHE").unwrap_or_default();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let built = built();
    let demo =
        Program::new(format!("{ROOT}/scripts/{script}")).env("SERVER", kind).env("CARGO_TARGET_DIR", built.path());
    Some(demo.env("TESTDB_CACHE", cache).env("HOME", home).ok())
}

#[test]
fn demo_delivers_to_each_client_its_states() {
    // It compares what its clients received by itself.
    demo("demo.sh");
}

#[test]
fn demo_of_migrations_finds_the_mistake_halts_and_goes_on() {
    let Some(printed) = demo("demo-migrate.sh") else { return };
    let mut rest = printed.as_str();
    // What the chapter on migrations promises, in this order.
    for line in [
        "60 databases of type shop at version 0 → 1",
        "column products.currency: default is NULL, expected 'EUR'",
        "ok      type shop",
        "rollout 1: 60 databases",
        "rollout 1: halted",
        "Duplicate column name 'currency'",
        "rollout 1: finished, 60 of 60 migrated",
        "every database has all migrations",
        "no databases",
    ] {
        rest =
            rest.split_once(line).unwrap_or_else(|| panic!("{line}: not after what comes before it in\n{printed}")).1;
    }
}

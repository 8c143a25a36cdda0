//! What an orchestrator or a service manager expects of a program: secrets in files, signals and orphans as the first process
//! of a container, health checks, and no dependence on the time zone.

use std::{fs, os::unix::fs::PermissionsExt};

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Program, binary, is_alive, own_port, signal, wait_until, write_script};

#[test]
fn mounted_secrets_reach_every_program() {
    let instance = Instance::ready("secret_files");
    let mounted = |name: &str, secret: &str, mode| {
        let path = instance.dir().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let password = mounted("password", &instance.daemon.password, 0o444);
    let token = mounted("token", "s3cret", 0o440);
    let with_files = |program: Program| {
        let program = program.env("MYSQL_PASSWORD", "").env("MYSQL_PASSWORD_FILE", &password);
        program.env("RESQ_TOKEN_FILE", &token)
    };
    let resqd = with_files(instance.resqd()).spawn_ready();
    with_files(instance.resqctl(["add", "a"])).ok();
    let read = ["--sub", "Completed", "--since", "0", "--count", "1"];
    with_files(instance.resq_client(read)).ok();
    instance.resq_client(read).expect_code(3);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let of_files: Vec<_> = finished.warnings().into_iter().filter(|line| line.contains("_file")).collect();
    assert!(matches!(of_files[..], [line] if line.contains("database.password_file")), "{finished}");
}

/// A program as the first process of a process namespace of its own; None: this system allows none.
fn first_process(instance: &Instance, name: &str) -> Option<Program> {
    let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if Program::new("unshare").args(unshare).arg("true").run().code() != Some(0) {
        println!("this system allows no namespaces");
        return None;
    }
    Some(instance.program("unshare").args(unshare).arg(binary(name)))
}

/// The child of `unshare`, which is the first process of the namespace.
fn child(pid: u32) -> u32 {
    let mut found = None;
    wait_until("the first process", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn every_program_ends_by_sigterm_as_first_process() {
    let instance = Instance::ready("first_process");
    let Some(resqd) = first_process(&instance, "resqd") else { return };
    let resqd = resqd.spawn_ready();
    for (name, args) in [
        ("resq-client", &["--sub", "*"][..]),
        ("resq-trigger", &["--name", "a"]),
        ("resqctl", &["wait", "--timeout", "600"]),
    ] {
        if name == "resqctl" {
            instance.resqctl(["pause"]).ok();
            instance.resqctl(["add", "a"]).ok();
        }
        let running = first_process(&instance, name).unwrap().args(args).spawn();
        let pid = child(running.pid());
        // Its handlers are in place once it has threads, connections or a terminal; until then it ignores the signal.
        let mut running = running;
        wait_until(name, || {
            if is_alive(pid) {
                signal(pid, "TERM");
            }
            !running.is_running()
        });
        assert_eq!(running.wait().code(), Some(128 + 15), "{name}");
    }
    signal(child(resqd.pid()), "TERM");
    let finished = resqd.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

#[test]
fn orphans_of_programs_run_by_a_first_process_are_collected() {
    let instance = Instance::ready("orphans");
    let resqd = instance.resqd().spawn_ready();
    let program = instance.dir().join("program");
    // Leaves a process behind, which ends after it.
    write_script(&program, "(sh -c 'exit 0' &)");
    let Some(client) = first_process(&instance, "resq-client") else { return };
    let client = client.args(["--sub", "Completed", "--exec"]).arg(&program).spawn_ready();
    let pid = child(client.pid());
    instance.resqctl(["seed", "--count", "20"]).ok();
    instance.resqctl(["wait", "--timeout", "60"]).ok();
    let zombies = || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().count()
    };
    wait_until("the last program", || client.stdout().lines().count() == 20);
    // Those of the last programs may end after them: the next program's turn collects them, and may leave its own.
    wait_until("the orphans to be collected", || {
        zombies() <= 1 || {
            instance.resqctl(["seed", "--count", "1"]).ok();
            false
        }
    });
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn healthcheck_finds_the_daemon_with_its_settings() {
    let instance = Instance::ready("healthcheck");
    let check = || instance.resqd().arg("healthcheck").env("RESQ_TOKEN", "s3cret");
    check().expect_code(3);
    let resqd = instance.resqd().env("RESQ_TOKEN", "s3cret").spawn_ready();
    check().ok();
    check().env("RESQ_TOKEN", "wrong").expect_code(3);
    resqd.signal("STOP");
    check().expect_code(3);
    resqd.signal("CONT");
    check().ok();
    assert_eq!(resqd.stop().code(), Some(0));
    check().expect_code(3);
    check().env("RESQ_SOCKET", "").expect_code(2);
    check().env("RESQ_SOCKET", "").env("RESQ_HTTP", format!("127.0.0.1:{}", own_port())).expect_code(3);
}

#[test]
fn healthcheck_asks_by_http_whether_the_daemon_can_serve() {
    let instance = Instance::ready("probes_http");
    let http = format!("127.0.0.1:{}", own_port());
    let check = |arg: &[&str]| instance.resqd().arg("healthcheck").args(arg).env("RESQ_HTTP", &http);
    let resqd = instance.resqd().env("RESQ_HTTP", &http).spawn_ready();
    check(&[]).ok();
    check(&["--ready"]).ok();
    // Without its tables it can do nothing, but there is no reason to restart it.
    instance.conn().query_drop("RENAME TABLE res_queue TO q_old").unwrap();
    instance.resqctl(["add", "a"]).run();
    wait_until("it to be not ready", || check(&["--ready"]).run().code() == Some(1));
    check(&[]).ok();
    instance.conn().query_drop("RENAME TABLE q_old TO res_queue").unwrap();
    wait_until("it to be ready", || check(&["--ready"]).run().code() == Some(0));
    // The settings name a broker and, by HTTP, another daemon.
    let beside = instance.dir().join("beside.sock");
    let other = instance.resqd().env("RESQ_SOCKET", &beside).spawn_ready();
    check(&[]).env("RESQ_SOCKET", &beside).expect_code(3);
    check(&["--ready"]).env("RESQ_SOCKET", &beside).expect_code(3);
    assert_eq!(other.stop().code(), Some(0));
    // HTTP alone is enough.
    check(&["--ready"]).env("RESQ_SOCKET", "").ok();
    assert_eq!(resqd.stop().code(), Some(0));
    check(&["--ready"]).expect_code(3);
    // Any port, which no probe can know.
    instance.resqd().args(["healthcheck", "--ready"]).expect_code(2);
}

#[test]
fn daemon_reports_to_a_watchdog_that_wants_it() {
    let instance = Instance::ready("watchdog");
    let mut resqd = instance.resqd().env("WATCHDOG_USEC", "100000").spawn_ready();
    wait_until("a report", || resqd.has_notified("WATCHDOG=1"));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn no_time_depends_on_the_time_zone() {
    let instance = Instance::ready("time_zone");
    let resqd = instance.resqd().env("TZ", "Pacific/Kiritimati").spawn_ready();
    instance.resqctl(["add", "a"]).ok();
    instance.resqctl(["wait", "--timeout", "60"]).ok();
    let read = ["--sub", "*", "--since", "0", "--count", "3", "--json"];
    let event = instance.resq_client(read).env("TZ", "UTC").ok();
    assert_eq!(event, instance.resq_client(read).env("TZ", "Asia/Kathmandu").ok());
    let show = |zone| instance.resqctl(["show", "1"]).env("TZ", zone).ok();
    assert_eq!(show("UTC"), show("America/St_Johns"));
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

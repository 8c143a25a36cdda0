//! Every program with an output that fails: a full disk, a reader that has gone, a stream that was closed before the
//! start. The work is done all the same, the exit code tells, and no program panics.

use std::{fs::File, io::pipe, process::Stdio};

use mysql::prelude::Queryable;

use resq_test_support::{Finished, Instance, Program, Running, binary};

/// What becomes of an output.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    FullDisk,
    NoReader,
    Closed,
}

const ALL: [Broken; 3] = [Broken::FullDisk, Broken::NoReader, Broken::Closed];

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe whose reader has gone.
fn no_reader() -> Stdio {
    pipe().unwrap().1.into()
}

/// The program with its standard output broken.
fn stdout(instance: &Instance, name: &str, args: &[&str], broken: Broken) -> Program {
    let program = instance.program(&binary(name)).args(args);
    match broken {
        Broken::FullDisk => program.stdout_to(full_disk()),
        Broken::NoReader => program.stdout_to(no_reader()),
        Broken::Closed => instance.program("sh").args(["-c", r#"exec "$0" "$@" >&-"#, &binary(name)]).args(args),
    }
}

/// The program with its standard error broken too, so that it cannot say what is wrong.
fn stderr(instance: &Instance, name: &str, args: &[&str], broken: Broken) -> Program {
    match broken {
        Broken::FullDisk => stdout(instance, name, args, broken).stderr_to(full_disk()),
        Broken::NoReader => stdout(instance, name, args, broken).stderr_to(no_reader()),
        Broken::Closed => {
            instance.program("sh").args(["-c", r#"exec "$0" "$@" <&- >&- 2>&-"#, &binary(name)]).args(args)
        }
    }
}

fn assert_code(finished: &Finished, code: i32, case: &str) {
    assert_eq!(finished.code(), Some(code), "{case}: {finished}");
    assert!(!finished.stderr.contains("panicked"), "{case}: {finished}");
}

#[test]
fn resqctl_does_its_work_whatever_becomes_of_its_output() {
    let instance = Instance::ready("broken_out");
    let mut conn = instance.conn();
    let mut rows = || conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_queue").unwrap().unwrap();
    // Arguments; exit code where the reader has gone and where the disk is full; rows that the queue gains.
    let table: &[(&[&str], i32, i32, u64)] = &[
        (&["--help"], 0, 1, 0),
        (&["--version"], 0, 1, 0),
        (&["add", "--help"], 0, 1, 0),
        (&["init"], 0, 1, 0),
        (&["seed", "--count", "2"], 0, 1, 2),
        (&["pause"], 0, 1, 0),
        (&["resume"], 0, 1, 0),
        (&["status"], 0, 1, 0),
        (&["status", "--json"], 0, 1, 0),
        (&["list"], 0, 1, 0),
        (&["list", "--json"], 0, 1, 0),
        (&["events", "--since", "0"], 0, 0, 0), // prints nothing: no daemon has numbered any
        (&["show", "1"], 0, 1, 0),
        (&["show", "1", "--json"], 0, 1, 0),
        (&["cancel", "999"], 1, 1, 0),
        (&["retry", "--all-errors"], 0, 1, 0),
        (&["wait", "--timeout", "0"], 4, 4, 0),
        (&["drop", "1"], 2, 2, 0),
        (&["clear"], 2, 2, 0),
        (&["nonsense"], 2, 2, 0),
    ];
    for broken in ALL {
        for (n, (args, gone, full, gained)) in table.iter().enumerate() {
            let case = format!("{broken:?} {args:?}");
            let before = rows();
            let code = if broken == Broken::FullDisk { *full } else { *gone };
            assert_code(&stdout(&instance, "resqctl", args, broken).run(), code, &case);
            assert_eq!(rows(), before + gained, "{case}");
            assert_code(
                &stderr(&instance, "resqctl", args, broken).run(),
                code,
                &format!("{case}, and standard error"),
            );
            let name = format!("job {broken:?} {n}");
            let added = stdout(&instance, "resqctl", &["add", &name], broken).run();
            assert_code(&added, if broken == Broken::FullDisk { 1 } else { 0 }, &case);
            assert_eq!(rows(), before + 2 * gained + 1, "{case}: the job was added");
        }
    }
    // What is lost on a full disk is in the message: `add` has committed this job.
    let added = stdout(&instance, "resqctl", &["add", "last"], Broken::FullDisk).expect_code(1);
    let id: u64 = instance.conn().query_first("SELECT MAX(res_id) FROM res_queue").unwrap().unwrap();
    assert!(added.stderr.contains(&format!(": {id}; ")), "{added}");
}

#[test]
fn clear_and_drop_finish_although_no_one_reads_their_list() {
    let instance = Instance::ready("broken_clear");
    let resqd = instance.resqd().spawn_ready();
    for (broken, code) in [(Broken::NoReader, 0), (Broken::Closed, 0), (Broken::FullDisk, 1)] {
        instance.resqctl(["seed", "--count", "5"]).ok();
        let id = instance.resqctl(["add", "one"]).ok().trim().to_string();
        instance.resqctl(["wait", "--timeout", "60"]).ok();
        let left = || -> (u64, Vec<String>) {
            let mut conn = instance.conn();
            let databases = conn.query("SHOW DATABASES LIKE 'broken\\_clear\\_%'").unwrap();
            (conn.query_first("SELECT COUNT(*) FROM res_queue").unwrap().unwrap(), databases)
        };
        assert_eq!(left().1.len(), 6, "{:?}", left());
        assert_code(&stdout(&instance, "resqctl", &["clear", "--yes"], broken).run(), code, "clear");
        assert_eq!(left(), (1, vec!["broken_clear_one".to_string()]), "{broken:?}");
        assert_code(&stdout(&instance, "resqctl", &["drop", &id, "--yes"], broken).run(), code, "drop");
        assert_eq!(left(), (0, vec![]), "{broken:?}");
    }
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn daemon_and_clients_never_panic_for_an_output() {
    let instance = Instance::ready("broken_daemon");
    let log_on_full_disk = ["-vv", "--log-file", "/dev/full"];
    for broken in ALL {
        let mut resqd: Running = stderr(&instance, "resqd", &log_on_full_disk, broken).spawn_ready();
        let id = instance.resqctl(["add", &format!("{broken:?}")]).ok().trim().to_string();
        instance.resqctl(["wait", "--timeout", "60"]).ok();
        // Events arrive although every line of the log is lost.
        let read = ["--sub", "*", "--since", "0", "--count", "3", "--timeout", "60"];
        instance.resq_client(read).ok();
        let client = stdout(&instance, "resq-client", &read, broken).run();
        assert_code(&client, if broken == Broken::FullDisk { 1 } else { 0 }, &format!("resq-client {broken:?}"));
        let silent = stderr(&instance, "resq-client", &["-vv", "--sub", "*", "--timeout", "0.1"], broken).run();
        assert_code(&silent, 4, "resq-client without a word");
        for args in [&["-vv", "--name", "a", "--state", "A", "--payload", "1"][..], &["--name", "a"]] {
            assert_code(&stderr(&instance, "resq-trigger", args, broken).run(), 0, "resq-trigger");
        }
        assert_code(
            &stderr(&instance, "resq-trigger", &["--name", "a", "--state", "no state", "--payload", "1"], broken).run(),
            2,
            "resq-trigger",
        );
        for (name, args, code) in [
            ("resqd", &["--version"][..], if broken == Broken::FullDisk { 1 } else { 0 }),
            ("resqd", &["--workers", "no"], 2),
            ("resq-client", &["--help"], if broken == Broken::FullDisk { 1 } else { 0 }),
            ("resq-trigger", &["--help"], if broken == Broken::FullDisk { 1 } else { 0 }),
        ] {
            assert_code(&stderr(&instance, name, args, broken).run(), code, &format!("{name} {args:?} {broken:?}"));
        }
        assert!(resqd.is_running());
        assert_eq!(resqd.stop().code(), Some(0), "{broken:?}");
        instance.resqctl(["drop", &id, "--yes"]).ok();
    }
}

//! `scripts/seed.sh` as cron runs it: `/bin/sh -c` in the home folder, with almost nothing in the environment.

use std::fs;

use mysql::prelude::Queryable;

use resq_test_support::{Instance, Program, write_script};

use super::install::Installed;

/// A line of a crontab, run as cron does.
fn cron(line: &str) -> Program {
    let bare = [("HOME", "/"), ("LOGNAME", "resq"), ("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin")];
    let sh = Program::new("/bin/sh").arg("-c").arg(line).current_dir("/");
    bare.into_iter().fold(sh, |sh, (name, value)| sh.env(name, value))
}

/// The instance's settings as a file, since cron passes no environment on.
fn config_file(instance: &Instance) -> String {
    let path = instance.dir().join("resq.toml");
    let text = format!(
        "[database]\nhost = \"127.0.0.1\"\nport = {}\nglobal_db = \"{}\"\n",
        instance.server.port(),
        instance.global_db
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn installed_seed_script_queues_resources() {
    let installed = Installed::new();
    let instance = Instance::ready("cron");
    let line = format!("RESQ_CONFIG={} {} 7", config_file(&instance), installed.path("libexec/resq/seed.sh").display());
    for seeded in [7, 14] {
        let finished = cron(&line).expect_code(0);
        assert_eq!((finished.stdout.lines().count(), finished.stderr.as_str()), (1, ""), "{finished}");
        let rows: u64 =
            instance.conn().query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'new'").unwrap().unwrap();
        assert_eq!(rows, seeded);
    }
}

#[test]
fn unreachable_server_is_one_line_and_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("resq.toml");
    fs::write(&config, "[database]\nhost = \"127.0.0.1\"\nport = 1\n").unwrap();
    let seed = Installed::new();
    let line = format!("RESQ_CONFIG={} {}", config.display(), seed.path("libexec/resq/seed.sh").display());
    let finished = cron(&line).expect_code(3);
    assert_eq!((finished.stdout.as_str(), finished.stderr.lines().count()), ("", 1), "{finished}");
    assert!(finished.stderr.contains("(3)"), "{finished}");
}

#[test]
fn seed_scripts_started_together_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let resqctl = dir.path().join("resqctl");
    // Fails if another one is between its first and its last command.
    let busy = "mkdir \"$0.busy\" || exit 9; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; rmdir \"$0.busy\"";
    write_script(&resqctl, &format!("{busy}\necho \"$@\""));
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/seed.sh");
    let line = format!("RESQCTL={} {seed} 3 --type 'my shop'", resqctl.display());
    let running: Vec<_> = (0..6).map(|_| cron(&line).spawn()).collect();
    for one in running {
        let finished = one.wait();
        assert_eq!(finished.code(), Some(0), "{finished}");
        assert!(finished.stdout.ends_with(" seed: seed --count 3 --type my shop\n"), "{finished}");
    }
}

//! Signals that must not end resqd: log rotation, a closed terminal, and those that mean nothing to it.

use std::{fs, path::Path};

use resq_test_support::{Instance, wait_until};

/// Sent one after the other; none may end or stop the daemon. The last four are SIGSTKFLT and SIGPWR, which not every
/// shell knows by name, and the first and last real-time signal.
#[rustfmt::skip]
const MEANINGLESS: &[&str] = &[
    "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "TTIN", "TTOU", "CHLD", "WINCH", "URG", "CONT",
    "16", "30", "35", "64",
];

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn log_rotation_gets_a_new_file_and_no_signal_ends_the_daemon_by_surprise() {
    let instance = Instance::ready("signals");
    let (log, rotated) = (instance.dir().join("resqd.log"), instance.dir().join("resqd.log.1"));
    let mut resqd = instance.resqd().args(["-v", "--log-file"]).arg(&log).spawn_ready();
    for name in MEANINGLESS {
        resqd.signal(name);
    }
    for _ in 0..3 {
        assert!(bytes(&log) > 0, "it logs to the file");
        fs::rename(&log, &rotated).unwrap();
        resqd.signal("HUP");
        wait_until("lines in the new file", || bytes(&log) > 0 || !resqd.is_running());
    }
    // A folder that is gone: the lines go on to the old file, and the daemon goes on, too.
    let before = bytes(&log);
    fs::create_dir(instance.dir().join("away")).unwrap();
    fs::rename(&log, instance.dir().join("away/resqd.log")).unwrap();
    fs::create_dir(&log).unwrap();
    resqd.signal("HUP");
    wait_until("lines in the old file", || bytes(&instance.dir().join("away/resqd.log")) > before);
    instance.resqctl(["add", "a"]).ok();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

#[test]
fn ignored_interrupt_stays_ignored_and_a_hangup_never_ends_it() {
    let instance = Instance::ready("sig_ignored");
    let log = instance.dir().join("resqd.log");
    // As nohup and the background jobs of a script start programs.
    let script = r#"trap '' INT HUP; exec "$0" "$@""#;
    let daemon = resq_test_support::binary("resqd");
    let mut resqd = instance.program("sh").args(["-c", script, &daemon, "-v", "--log-file"]).arg(&log).spawn_ready();
    resqd.signal("INT");
    let before = bytes(&log);
    // Handled in the order of their arrival by one thread: once the log is open again, the SIGINT has had its chance.
    resqd.signal("HUP");
    wait_until("the SIGHUP to be handled", || bytes(&log) > before || !resqd.is_running());
    assert!(resqd.is_running() && !resqd.has_notified("STOPPING=1"), "an ignored SIGINT stopped it");
    assert_eq!(resqd.stop().code(), Some(0));
}

//! What `resqd` with five workers costs while there is nothing to do.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use resq_test_support::{Instance, Server};

use crate::WORKERS;

/// (share of one core, resident MiB) over `time`, from Linux's /proc.
pub fn measure(server: &Server, time: Duration) -> (f64, f64) {
    let instance = Instance::on(server, "idle");
    instance.resqctl(["init"]).ok();
    let resqd = instance.resqd().args(["--workers", &WORKERS.to_string()]).spawn_ready();
    let proc = format!("/proc/{}", resqd.pid());
    let (before, start) = (ticks(&proc), Instant::now());
    thread::sleep(time);
    // USER_HZ is 100 wherever Linux runs.
    let share = (ticks(&proc) - before) as f64 / 100.0 / start.elapsed().as_secs_f64();
    let status = fs::read_to_string(format!("{proc}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    assert_eq!(resqd.stop().code(), Some(0));
    (share, kib / 1024.0)
}

/// utime + stime: fields 14 and 15, counted after the name, which may contain spaces.
fn ticks(proc: &str) -> u64 {
    let stat = fs::read_to_string(format!("{proc}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

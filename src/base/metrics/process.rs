//! The usual `process_*` metrics, read from the system when they are asked for. What a system does not have is left out.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::text::Text;

/// Adds what the system knows about this process.
pub fn add(text: &mut Text, started_at: SystemTime) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds: f64 = [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
            .iter()
            .sum();
        text.counter("process_cpu_seconds_total", "Processor time used.", seconds);
    }
    let started = started_at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    text.number("process_start_time_seconds", "When the process started, in seconds since 1970.", started);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "Memory that is resident."),
        ("VmSize:", "process_virtual_memory_bytes", "Address space."),
    ] {
        if let Some(kib) = number(&status, field) {
            text.number(name, help, kib * 1024);
        }
    }
    if let Some(threads) = number(&status, "Threads:") {
        text.number("process_threads", "Threads.", threads);
    }
    if let Some(files) = open_files() {
        text.number("process_open_fds", "Open file descriptors.", files);
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        text.number("process_max_fds", "The limit of open file descriptors.", soft);
    }
}

fn number(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// From Linux 6.2 on, the size of this folder is the number of its entries; listing thousands takes milliseconds.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        entries => Some(entries),
    }
}

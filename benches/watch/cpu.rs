//! What processes and threads have used of the processors, from `/proc`.

use std::{collections::BTreeMap, fs, path::Path};

/// User and system time by the names of a process's threads, in ns.
#[derive(Clone, Debug, Default)]
pub struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Up to now.
    pub fn of(pid: u32) -> Cpu {
        let mut times = BTreeMap::new();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for (name, used) in threads.filter_map(|thread| thread_ns(&thread.path())) {
            *times.entry(name).or_default() += used;
        }
        Cpu(times)
    }

    /// Time since `before`, of threads whose names begin with `prefix`.
    pub fn since(&self, before: &Cpu, prefix: &str) -> u64 {
        let all = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        all.map(|(name, used)| used.saturating_sub(before.0.get(name).copied().unwrap_or_default())).sum()
    }

    /// The same for each name that has any, the busiest first.
    pub fn each_since(&self, before: &Cpu) -> Vec<(String, u64)> {
        let used = self.0.keys().map(|name| (name.clone(), self.since(before, name)));
        let mut used: Vec<_> = used.filter(|(_, used)| *used > 0).collect();
        used.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        used
    }
}

/// By the scheduler's own count: that by ticks misses threads which run for less than one at a time.
fn thread_ns(task: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let stat = fs::read_to_string(task.join("schedstat")).ok()?;
    Some((name.trim().into(), stat.split_whitespace().next()?.parse().ok()?))
}

//! What processes and threads have used of the processors, from `/proc`.

use std::{collections::BTreeMap, fs, path::Path};

/// Ticks of user and system time by the names of a process's threads.
#[derive(Clone, Debug, Default)]
pub struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Up to now.
    pub fn of(pid: u32) -> Cpu {
        let mut ticks = BTreeMap::new();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for (name, used) in threads.filter_map(|thread| thread_ticks(&thread.path())) {
            *ticks.entry(name).or_default() += used;
        }
        Cpu(ticks)
    }

    /// Ticks since `before`, of threads whose names begin with `prefix`.
    pub fn since(&self, before: &Cpu, prefix: &str) -> u64 {
        let all = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        all.map(|(name, ticks)| ticks.saturating_sub(before.0.get(name).copied().unwrap_or_default())).sum()
    }

    /// The same for each name that has any, the busiest first.
    pub fn each_since(&self, before: &Cpu) -> Vec<(String, u64)> {
        let used = self.0.keys().map(|name| (name.clone(), self.since(before, name)));
        let mut used: Vec<_> = used.filter(|(_, ticks)| *ticks > 0).collect();
        used.sort_by_key(|(_, ticks)| std::cmp::Reverse(*ticks));
        used
    }
}

/// The name is in parentheses and may contain spaces; the times are fields 14 and 15.
fn thread_ticks(task: &Path) -> Option<(String, u64)> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    let (name, rest) = (stat.split('(').nth(1)?.split(')').next()?, stat.rsplit(')').next()?);
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((name.into(), next()? + next()?))
}

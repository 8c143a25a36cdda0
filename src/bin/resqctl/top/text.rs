//! A view as the lines of a screen, or as one line. Pure.

use resq::{base::text::printable, db::Error, queue::Status};

use super::view::View;

/// Running jobs listed.
const LISTED: usize = 15;

/// The lines of a screen.
pub fn screen(global_db: &str, view: &View) -> Vec<String> {
    let View { server, overview, daemons, running, head_seq, rates } = view;
    let [new, in_progress, done, error] = overview.counts;
    let mut lines = vec![
        format!(
            "resq  {} at {}  database `{global_db}`   q quits",
            printable(&server.version),
            printable(&server.host)
        ),
        String::new(),
        format!("{:>12}{:>12}{:>12}{:>12}{:>16}", "waiting", "running", "failed", "done", "oldest waiting"),
        format!(
            "{:>12}{:>12}{:>12}{:>12}{:>16}",
            new.to_string(),
            in_progress.to_string(),
            error.to_string(),
            done.to_string(),
            overview.oldest_waiting_s.map_or_else(|| "none".into(), duration)
        ),
        String::new(),
        match rates {
            Some(rates) => format!(
                "per second: {:.1} done, {:.1} failed, {:.1} events up to number {head_seq}",
                rates.done, rates.failed, rates.events
            ),
            None => format!("events up to number {head_seq}"),
        },
    ];
    if overview.delayed.count > 0 {
        lines.push(format!("{} of the waiting jobs are not due yet", overview.delayed));
    }
    if overview.is_paused {
        lines.push("the queue is paused: no jobs are claimed; continue with `resqctl resume`".into());
    }
    if daemons.iter().all(|daemon| daemon.lease_s <= 0.0) {
        lines.push("no daemon holds a lease: no jobs are run; start resqd".into());
    }
    lines.push(String::new());
    lines.push(format!("{:40}  {:19}  {:>14}  {:>6}", "daemon", "since (UTC)", "lease", "jobs"));
    for daemon in daemons {
        let lease = if daemon.lease_s > 0.0 { format!("{:.0} s left", daemon.lease_s) } else { "ended".into() };
        let (owner, since) = (printable(&daemon.owner), &daemon.started_at);
        lines.push(format!("{owner:40}  {since:19}  {lease:>14}  {:>6}", daemon.jobs));
    }
    if !running.is_empty() {
        lines.push(String::new());
        lines.push(format!("{:>10}  {:40}  daemon", "running", "name"));
    }
    for job in running.iter().take(LISTED) {
        let owner = printable(job.owner.as_deref().unwrap_or("(no owner)"));
        lines.push(format!("{:>10}  {:40}  {owner}", job.id, printable(&job.name)));
    }
    if running.len() > LISTED {
        lines.push(format!("{:>10}  more", running.len() - LISTED));
    }
    lines
}

/// One line: `new=5 in_progress=2 …`.
pub fn line(view: &View) -> String {
    let View { overview, daemons, head_seq, rates, .. } = view;
    let counts = Status::ALL.into_iter().zip(overview.counts);
    let mut parts: Vec<String> = counts.map(|(status, count)| format!("{}={count}", status.as_str())).collect();
    parts.push(format!("delayed={}", overview.delayed));
    parts.push(format!(
        "oldest_waiting_s={}",
        overview.oldest_waiting_s.map_or_else(|| "none".into(), |s| s.to_string())
    ));
    if let Some(rates) = rates {
        parts.push(format!(
            "done_per_s={:.1} failed_per_s={:.1} events_per_s={:.1}",
            rates.done, rates.failed, rates.events
        ));
    }
    let live = daemons.iter().filter(|daemon| daemon.lease_s > 0.0).count();
    parts.push(format!("event_head={head_seq} daemons={live} paused={}", overview.is_paused));
    parts.join(" ")
}

/// What is shown while the database does not answer.
pub fn failed(error: &Error) -> Vec<String> {
    vec!["cannot read the queue; trying again".into(), printable(&error.to_string()).to_string()]
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

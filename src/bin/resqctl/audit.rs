//! The command that lists what operators did.

use resq::{
    base::text::printable,
    cli::{Failure, Output},
    queue::{
        Queue,
        audit::{Batch, Entry},
        search::LARGEST_PAGE,
    },
};
use serde_json::Value as Json;

use crate::args::Audit;

pub fn list(queue: &mut Queue, args: &Audit, out: &mut Output) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let (mut left, mut after) = (args.limit, args.after);
    while left > 0 {
        let page = queue.audit(after, left.min(LARGEST_PAGE))?;
        left -= page.items.len() as u32;
        entries.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if args.json {
        out.line(Json::Array(entries.iter().map(Entry::to_json).collect()));
    } else if entries.is_empty() {
        out.line("no actions");
    } else {
        entries.iter().for_each(|entry| out.line(line(entry)));
    }
    Ok(())
}

/// `12  2026-11-26 02:51:22.123456  alice@db1 via resqctl  retry  5 of jobs 1,2,3 …  (why)`.
fn line(entry: &Entry) -> String {
    let Entry { id, at, who, action, target, reason, count, batch } = entry;
    let mut line =
        format!("{id:>6}  {at}  {}  {}  {}  count={count}", printable(who), printable(action), printable(target));
    if let Some(Batch { done_to_id, up_to_id, refused, last_error, ended_at }) = batch {
        if ended_at.is_none() {
            line += &format!("  at job {done_to_id} of {up_to_id}");
        }
        if *refused > 0 {
            line += &format!("  refused={refused}");
        }
        if let Some(error) = last_error {
            line += &format!("  error={}", printable(error));
        }
    }
    if let Some(reason) = reason {
        line += &format!("  reason={}", printable(reason));
    }
    line
}

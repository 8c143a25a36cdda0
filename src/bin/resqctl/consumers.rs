//! The commands about consumers' positions.

use mysql::prelude::Queryable;
use resq::{
    base::text::printable,
    cli::{Exit, Failure, Output},
    db::{Db, Link},
    events::{
        consumers::admin::{self, Consumer},
        store,
    },
    queue::audit::{Actor, record},
};
use serde_json::Value as Json;

use crate::{args, shared::count};

/// Consumers read at once.
const PAGE: u32 = 1_000;

pub fn list(db: &Db, as_json: bool, out: &mut Output) -> Result<(), Failure> {
    let mut conn = db.global()?;
    let mut consumers: Vec<Consumer> = Vec::new();
    loop {
        let page = admin::by_name(&mut conn, consumers.last().map(|last| last.name.as_str()), PAGE)?;
        let is_last = page.len() < PAGE as usize;
        consumers.extend(page);
        if is_last {
            break;
        }
    }
    if as_json {
        out.line(Json::Array(consumers.iter().map(Consumer::to_json).collect()));
    } else if consumers.is_empty() {
        out.line("no consumers");
    } else {
        out.line(format_args!(
            "{:24}  {:>12}  {:>10}  {:26}  {:24}  last client",
            "consumer", "position", "behind", "stored", "states"
        ));
        for one in consumers {
            out.line(format_args!(
                "{:24}  {:>12}  {:>10}  {:26}  {:24}  {}",
                one.name,
                one.position,
                one.lag,
                one.updated_at,
                one.states,
                one.client.as_deref().map_or("(none since an operator moved it)".into(), printable)
            ));
        }
    }
    Ok(())
}

pub fn change(db: &Db, actor: &Actor, args: &args::Consumer, out: &mut Output) -> Result<(), Failure> {
    let name = &args.name;
    let mut conn = db.global()?;
    let head = store::head(&mut conn)?;
    let position = match (args.set.as_deref(), args.remove) {
        (None, true) => None,
        (Some("start"), false) => Some(head.first_seq - 1),
        (Some("now"), false) => Some(head.head_seq),
        (Some(number), false) => {
            let seq: Option<u64> = number.parse().ok();
            let wrong = || {
                let message =
                    format!("--set {number}: expected start, now or a number up to {}, the last event", head.head_seq);
                Failure::new(Exit::Usage, message)
            };
            Some(seq.filter(|seq| *seq <= head.head_seq).ok_or_else(wrong)?)
        }
        _ => return Err(Failure::new(Exit::Usage, "missing option: either --set WHERE or --remove")),
    };
    drop(conn);
    let (action, target) = match position {
        Some(seq) => ("consumer-set", format!("consumer {name} to {seq}")),
        None => ("consumer-remove", format!("consumer {name}")),
    };
    // A daemon may store its position at this moment.
    let is_there = Link::new(db).run(|conn| {
        conn.query_drop("START TRANSACTION")?;
        let is_there = match position {
            Some(seq) => admin::set(conn, name, seq)?,
            None => admin::remove(conn, name)?,
        };
        if is_there {
            record(conn, actor, action, &target, 1)?;
        }
        conn.query_drop("COMMIT")?;
        Ok(is_there)
    })?;
    if !is_there {
        let message = format!("there is no consumer `{}`; see resqctl consumers", printable(name));
        return Err(Failure::new(Exit::Failed, message));
    }
    match position {
        Some(seq) => {
            let left = head.head_seq.saturating_sub(seq.max(head.first_seq - 1));
            out.line(format_args!("consumer {name} is at event {seq}; {} to come", count(left, "event")));
        }
        None => out.line(format_args!("consumer {name} is removed")),
    }
    Ok(())
}

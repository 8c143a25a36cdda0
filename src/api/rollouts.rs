//! Answers about rollouts: how far they have come, and what operators do to them.

use mysql::Conn;
use serde_json::{Value as Json, json};

use super::call::Refused;
use crate::{
    base::exact::integer,
    db::ring,
    queue::audit::Actor,
    resources::migrate::{
        operator::{self, Action},
        progress::{self, Noted, Progress},
    },
};

/// Rollouts, newest first.
pub fn list(conn: &mut Conn, after: Option<u64>, limit: u32) -> Result<Json, Refused> {
    let rollouts = progress::newest(conn, after, limit)?;
    let next = rollouts.last().filter(|_| rollouts.len() == limit as usize).map(|last| integer(last.id));
    Ok(json!({ "rollouts": rollouts.iter().map(Progress::to_json).collect::<Vec<_>>(), "next": next }))
}

/// One rollout, with the databases about which there is something to say.
pub fn one(conn: &mut Conn, id: u64) -> Result<Json, Refused> {
    let unknown = || Refused::new(404, format!("there is no rollout {id}"));
    let rollout = progress::one(conn, id)?.ok_or_else(unknown)?;
    let noted = progress::noted(conn, id)?;
    Ok(json!({ "rollout": rollout.to_json(), "noted": noted.iter().map(Noted::to_json).collect::<Vec<_>>() }))
}

/// Acts on a rollout, and wakes the daemons.
pub fn act(conn: &mut Conn, id: u64, action: Action, actor: &Actor) -> Result<Json, Refused> {
    let databases = operator::act(conn, id, action, actor).map_err(|refused| match refused {
        operator::Refused::Database(error) => error.into(),
        operator::Refused::Unknown(_) => Refused::new(404, refused.to_string()),
        operator::Refused::Open(..) | operator::Refused::State(..) => Refused::new(409, refused.to_string()),
    })?;
    ring(conn);
    Ok(json!({ "rollout": integer(id), "databases": integer(databases) }))
}

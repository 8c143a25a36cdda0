//! Carries out checked calls and puts the answers into JSON. Each call takes its connection from the pool and returns it; no
//! answer takes longer than the server's limit on reads, but for a drop, which takes as long as DROP DATABASE does.

use serde_json::{Value as Json, json};

use super::{
    batch::Batches,
    call::{Call, Range, Refused, Request, Which, allowed, check},
    document::DOCUMENT,
    rollouts,
};
use crate::{
    base::exact::integer,
    client,
    db::{Capped, Db, Error, ErrorClass, ServerInfo},
    events::{
        chosen_rows,
        consumers::admin::{self as consumers, Consumer},
        event::Event,
        history, store,
    },
    output::line,
    queue::{
        Filter, Queue, SetAside, Waiting,
        audit::{Actor, Entry},
        change::Change,
        overview::{self, Daemon},
        set_aside,
    },
    resources::{
        drop::Dropper,
        drop_error::DropError,
        registry,
        registry_page::{self, Database},
    },
    wire::Pattern,
};

/// Connections that the answers need of the pool: one to read, two to act, two to drop.
pub const CONNECTIONS: u32 = 5;

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// With the status 405: the methods that the path has.
    pub allow: Option<String>,
}

impl Answer {
    fn new(status: u16, body: &Json) -> Answer {
        Answer { status, body: body.to_string(), allow: None }
    }
}

impl From<Refused> for Answer {
    fn from(Refused { status, message }: Refused) -> Answer {
        Answer::new(status, &json!({ "error": message }))
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error.class() {
            _ if matches!(error, Error::TooSlow) => Refused::new(503, error.to_string()),
            ErrorClass::Permanent => Refused::new(500, error.to_string()),
            ErrorClass::Retry | ErrorClass::ConnectionLost => Refused::new(503, error.to_string()),
        }
    }
}

impl From<DropError> for Refused {
    fn from(error: DropError) -> Refused {
        match error {
            DropError::Queue(error) => error.into(),
            other => Refused::new(409, other.to_string()),
        }
    }
}

/// Answers requests.
pub struct Api {
    control: Db,
    resources: Db,
}

impl Api {
    /// For the queue of `control` and databases on `resources`.
    pub fn new(control: &Db, resources: &Db) -> Api {
        Api { control: control.clone(), resources: resources.clone() }
    }

    /// Answers a request. Whether its sender may make it was decided before.
    pub fn answer(&self, request: &Request) -> Answer {
        let checked = match check(request) {
            Ok(checked) => checked,
            Err(refused) => {
                let allow = (refused.status == 405).then(|| allowed(&request.path));
                return Answer { allow, ..refused.into() };
            }
        };
        let actor = Actor { who: request.who.clone(), reason: checked.reason };
        self.carry_out(checked.call, actor).unwrap_or_else(Answer::from)
    }

    fn carry_out(&self, call: Call, actor: Actor) -> Result<Answer, Refused> {
        let queue = || Queue::on(&self.control);
        let acting = |actor| queue().acting(actor);
        let found = |body: Json| Ok(Answer::new(200, &body));
        match call {
            Call::Document => Ok(Answer { status: 200, body: DOCUMENT.into(), allow: None }),
            Call::Status => found(self.status()?),
            Call::Jobs(filter, Range { after, limit }) => {
                let page = queue().find(&filter, after, limit)?;
                let jobs: Vec<Json> = page.items.iter().map(|row| row.to_json()).collect();
                found(json!({ "jobs": jobs, "next": page.next.map(integer) }))
            }
            Call::Job(id) => self.job(id),
            Call::Databases(chosen, Range { after, limit }) => {
                let mut conn = self.control.global()?;
                let (databases, next) = registry_page::databases(&mut conn, &chosen, after.as_deref(), limit)?;
                let databases: Vec<Json> = databases.iter().map(Database::to_json).collect();
                found(json!({ "databases": databases, "next": next }))
            }
            Call::Rollouts(Range { after, limit }) => {
                found(rollouts::list(&mut *self.control.global()?, after, limit)?)
            }
            Call::Rollout(id) => found(rollouts::one(&mut *self.control.global()?, id)?),
            Call::ActOnRollout(id, action) => found(rollouts::act(&mut *self.control.global()?, id, action, &actor)?),
            Call::Events { state, range: Range { after, limit } } => self.events(state.as_deref(), after, limit),
            Call::Consumers(Range { after, limit }) => {
                let consumers = consumers::by_name(&mut *self.control.global()?, after.as_deref(), limit)?;
                let next = consumers.last().filter(|_| consumers.len() == limit as usize).map(|last| &last.name);
                let listed: Vec<Json> = consumers.iter().map(Consumer::to_json).collect();
                found(json!({ "consumers": listed, "next": next }))
            }
            Call::Daemons => {
                let daemons = overview::daemons(&mut *self.control.global()?)?;
                found(json!({ "daemons": daemons.iter().map(Daemon::to_json).collect::<Vec<_>>() }))
            }
            Call::Audit(Range { after, limit }) => {
                let page = queue().audit(after, limit)?;
                let actions: Vec<Json> = page.items.iter().map(Entry::to_json).collect();
                found(json!({ "actions": actions, "next": page.next.map(integer) }))
            }
            Call::Add(job) => {
                let id = acting(actor).enqueue(&job)?;
                Ok(Answer::new(201, &json!({ "res_id": integer(id) })))
            }
            Call::Change { change, which: Which::Ids(ids), dry_run: true } => {
                found(counted(queue().count(change, &ids)?))
            }
            Call::Change { change, which: Which::Ids(ids), dry_run: false } => {
                let changed = match change {
                    Change::Retry => acting(actor).retry(&ids)?,
                    Change::Cancel => self.dropper(actor).cancel(&ids)?,
                };
                found(json!({ "dry_run": false, "count": integer(changed), "batch": null, "capped": false }))
            }
            Call::Change { change, which: Which::Matching(filter), dry_run } => {
                self.change_matching(change, &filter, dry_run, &actor)
            }
            Call::Pause => {
                acting(actor).pause()?;
                found(json!({ "paused": true }))
            }
            Call::Resume => {
                acting(actor).resume()?;
                found(json!({ "paused": false }))
            }
            Call::Drop(id, None) => {
                let dropped = self.dropper(actor).drop_jobs(&[id], |_| {})?;
                match dropped.rows == 0 && dropped.databases == 0 {
                    true => Err(Refused::new(404, format!("there is no job {id}"))),
                    false => {
                        found(json!({ "databases": dropped.databases, "jobs": integer(dropped.rows), "marked": 0 }))
                    }
                }
            }
            Call::Drop(id, Some(after_s)) => {
                let marked = self.dropper(actor).drop_later(&[id], after_s)?.len();
                found(json!({ "databases": 0, "jobs": 0, "marked": marked }))
            }
            Call::Restore(id) => found(json!({ "restored": self.dropper(actor).restore(&[id])? })),
        }
    }

    fn dropper(&self, actor: Actor) -> Dropper {
        Dropper::new(&self.control, &self.resources).acting(actor)
    }

    /// With a filter the action is recorded, and a daemon does it.
    fn change_matching(
        &self,
        change: Change,
        filter: &Filter,
        dry_run: bool,
        actor: &Actor,
    ) -> Result<Answer, Refused> {
        let mut batches = Batches::new(&self.control);
        if dry_run {
            return Ok(Answer::new(200, &counted(batches.count(change, filter)?)));
        }
        let id = batches.start(change, filter, actor, false)?;
        Ok(Answer::new(202, &json!({ "dry_run": false, "count": null, "batch": integer(id), "capped": false })))
    }

    fn status(&self) -> Result<Json, Refused> {
        let mut conn = self.control.global()?;
        let server = ServerInfo::query(&mut conn)?;
        let overview = overview::overview(&mut conn)?;
        let head = store::head_soon(&mut conn)?;
        let dropping = registry::dropping(&mut conn)?;
        let set_aside = set_aside::set_aside(&mut conn)?;
        let events = chosen_rows::set_aside(&mut conn)?;
        drop(conn);
        let mut queue = Queue::on(&self.control);
        let running = queue.running()?.into_iter().map(|job| {
            json!({
                "res_id": integer(job.id), "res_name": job.name, "owner": job.owner, "lease_s": job.lease_s,
            })
        });
        let dropping = dropping.iter().map(|one| json!({ "db_name": one.db_name, "res_id": integer(one.res_id) }));
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "server": server.version,
            "host": server.host,
            "global_db": self.control.global_db(),
            "paused": overview.is_paused,
            "jobs": overview.counts_json(),
            "oldest_waiting_s": overview.oldest_waiting_s.map(integer),
            "running": running.collect::<Vec<_>>(),
            "set_aside": set_aside.iter().map(SetAside::to_json).collect::<Vec<_>>(),
            "events_set_aside": events.iter().map(chosen_rows::SetAside::to_json).collect::<Vec<_>>(),
            "waiting": queue.waiting()?.iter().map(Waiting::to_json).collect::<Vec<_>>(),
            "dropping": dropping.collect::<Vec<_>>(),
            "head_seq": integer(head.head_seq),
            "first_seq": integer(head.first_seq),
        }))
    }

    fn job(&self, id: u64) -> Result<Answer, Refused> {
        let mut queue = Queue::on(&self.control);
        let row = queue.get(id)?.ok_or_else(|| Refused::new(404, format!("there is no job {id}")))?;
        let attempts = queue.attempts(id)?;
        drop(queue);
        let mut conn = self.control.global()?;
        let (created_at, updated_at) = (row.created_at.as_deref(), row.updated_at.as_deref());
        let (events, is_complete) = match created_at.zip(updated_at) {
            Some((created_at, updated_at)) => history::of_job(&mut conn, id, created_at, updated_at)?,
            None => (Vec::new(), false),
        };
        let mut object = row.to_json();
        object["errors"] =
            attempts.iter().map(|a| json!({"attempt": a.attempt, "at": a.at, "message": a.message})).collect();
        object["events_complete"] = is_complete.into();
        Ok(Answer { status: 200, body: with_events(&object, &events), allow: None })
    }

    fn events(&self, state: Option<&str>, since: Option<u64>, limit: u32) -> Result<Answer, Refused> {
        let pattern = state.map(Pattern::new).transpose();
        let pattern = pattern.map_err(|error| Refused::new(400, format!("state: {error}")))?;
        let mut conn = self.control.global()?;
        let section = history::section(&mut conn, since, pattern, limit)?;
        let object = json!({
            "next": integer(section.next),
            "head_seq": integer(section.head.head_seq),
            "first_seq": integer(section.head.first_seq),
        });
        Ok(Answer { status: 200, body: with_events(&object, &section.events), allow: None })
    }
}

fn counted(Capped { count, is_more }: Capped) -> Json {
    json!({ "dry_run": true, "count": integer(count), "batch": null, "capped": is_more })
}

/// The object with `events` added. Payloads are copied as they were published, which parsing them would not guarantee.
fn with_events(object: &Json, events: &[Event<'_>]) -> String {
    let lines: Vec<String> = events.iter().map(event).collect();
    let mut text = object.to_string();
    text.pop(); // the closing brace
    format!("{text},\"events\":[{}]}}", lines.join(","))
}

/// As `resq-client --json` prints it.
fn event(event: &Event<'_>) -> String {
    line::json(&client::Event {
        seq: event.seq,
        unix_time_us: event.unix_time_us,
        state: event.state.to_string(),
        payload: event.payload.to_vec(),
    })
}

//! What a request asks for: from its path, its parameters and its body to a checked call, or to the words that refuse it.
//! Pure; who may make which call is decided before.

use serde_json::Value as Json;

use crate::{
    base::{
        exact::{self, parse_integer},
        text::{age_s, printable},
    },
    queue::{Filter, NewJob, Status, change::Change, search::LARGEST_PAGE},
    resources::{drift::Verdict, grace::LONGEST_S, migrate::operator::Action, registry_page::Chosen},
    wire::State,
};

/// Items on a page unless the request asks for another number.
const PAGE: u32 = 50;
/// The most ids that one request may name.
pub const MAX_IDS: usize = 10_000;
/// Characters of a reason.
const MAX_REASON: usize = 1_000;

/// A request as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// It acts (POST); otherwise it reads.
    pub acts: bool,
    /// Its method is another one, which no path has.
    pub is_other: bool,
    /// The path below `/api/v1`: `/jobs/17`.
    pub path: String,
    /// The decoded parameters, in their order.
    pub parameters: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// Who sent it, for the audit.
    pub who: String,
}

/// Part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<K> {
    /// The list begins after this one.
    pub after: Option<K>,
    /// At most so many items.
    pub limit: u32,
}

/// The jobs that a change is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with these ids.
    Ids(Vec<u64>),
    /// All that match.
    Matching(Filter),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The description of this interface.
    Document,
    /// The state of the queue.
    Status,
    /// Jobs that match, newest first.
    Jobs(Filter, Range<u64>),
    /// One job with its history.
    Job(u64),
    /// Databases, by name.
    Databases(Chosen, Range<String>),
    /// Rollouts, newest first.
    Rollouts(Range<u64>),
    /// One rollout.
    Rollout(u64),
    /// Events after a number, or without one the newest.
    Events {
        /// A state, or the beginning of some and a `*`.
        state: Option<String>,
        /// Which part.
        range: Range<u64>,
    },
    /// The consumers whose positions are kept, by name.
    Consumers(Range<String>),
    /// The daemons that serve this queue.
    Daemons,
    /// What operators did, newest first.
    Audit(Range<u64>),
    /// Enqueue a job.
    Add(NewJob),
    /// Retry or cancel jobs.
    Change {
        /// What to do.
        change: Change,
        /// With which jobs.
        which: Which,
        /// Only count them.
        dry_run: bool,
    },
    /// Stop claiming.
    Pause,
    /// Claim again.
    Resume,
    /// Drop the database and the row of a job, now or after so many seconds.
    Drop(u64, Option<u64>),
    /// Drop them not, although that was to be done later.
    Restore(u64),
    /// Pause, resume or abort a rollout.
    ActOnRollout(u64, Action),
}

/// A checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it asks for.
    pub call: Call,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with it.
    pub message: String,
}

impl Refused {
    /// With this status and message.
    pub fn new(status: u16, message: impl Into<String>) -> Refused {
        Refused { status, message: message.into() }
    }
}

fn bad(message: impl Into<String>) -> Refused {
    Refused::new(400, message)
}

/// Checks a request.
///
/// # Errors
/// 404: nothing is there, 405: it may only be read or only be acted on, 400: a parameter or a part of the body is wrong.
pub fn check(request: &Request) -> Result<Checked, Refused> {
    if request.is_other {
        return Err(match allowed(&request.path) {
            none if none.is_empty() => Refused::new(404, "there is nothing at this path"),
            methods => Refused::new(405, format!("this path allows {methods} only")),
        });
    }
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    let mut parameters = Parameters(request.parameters.clone());
    let read =
        |call: Call| if request.acts { Err(Refused::new(405, "this path allows GET, HEAD only")) } else { Ok(call) };
    let call = match segments[..] {
        ["openapi.json"] => read(Call::Document)?,
        ["status"] => read(Call::Status)?,
        ["jobs"] if !request.acts => Call::Jobs(parameters.filter()?, parameters.range()?),
        ["jobs", id] if !matches!(id, "retry" | "cancel") => read(Call::Job(parse_id(id)?))?,
        ["databases"] => read(Call::Databases(
            Chosen { name: parameters.take("name")?, res_type: parameters.take("type")?, drift: parameters.drift()? },
            Range { after: parameters.take("after")?, limit: parameters.limit()? },
        ))?,
        ["rollouts"] => read(Call::Rollouts(parameters.range()?))?,
        ["rollouts", id] => read(Call::Rollout(parse_id(id)?))?,
        ["events"] => read(Call::Events {
            state: parameters.take("state")?,
            range: Range { after: parameters.number("since")?, limit: parameters.limit()? },
        })?,
        ["consumers"] => {
            read(Call::Consumers(Range { after: parameters.consumer("after")?, limit: parameters.limit()? }))?
        }
        ["daemons"] => read(Call::Daemons)?,
        ["audit"] => read(Call::Audit(parameters.range()?))?,
        _ => return act(request, &segments, &parameters),
    };
    parameters.end()?;
    Ok(Checked { call, reason: None })
}

/// The methods that a path has, as the field Allow names them; empty: nothing is there.
pub fn allowed(path: &str) -> String {
    let has = |acts| {
        let request = Request { acts, path: path.into(), ..Request::default() };
        !matches!(check(&request), Err(Refused { status: 404 | 405, .. }))
    };
    let methods = [(false, "GET, HEAD"), (true, "POST")].into_iter().filter(|(acts, _)| has(*acts));
    methods.map(|(_, names)| names).collect::<Vec<_>>().join(", ")
}

fn act(request: &Request, segments: &[&str], parameters: &Parameters) -> Result<Checked, Refused> {
    let begin: fn(&mut Body) -> Result<Call, Refused> = match segments {
        ["jobs"] => Body::job,
        ["jobs", "retry"] => |body: &mut Body| body.change(Change::Retry),
        ["jobs", "cancel"] => |body: &mut Body| body.change(Change::Cancel),
        ["queue", "pause"] => |_: &mut Body| Ok(Call::Pause),
        ["queue", "resume"] => |_: &mut Body| Ok(Call::Resume),
        ["databases", _, "drop"] => |body: &mut Body| Ok(Call::Drop(0, body.after_s()?)),
        ["databases", _, "restore"] => |_: &mut Body| Ok(Call::Restore(0)),
        ["rollouts", _, "pause"] => |_: &mut Body| Ok(Call::ActOnRollout(0, Action::Pause)),
        ["rollouts", _, "resume"] => |_: &mut Body| Ok(Call::ActOnRollout(0, Action::Resume)),
        ["rollouts", _, "abort"] => |_: &mut Body| Ok(Call::ActOnRollout(0, Action::Abort)),
        _ => return Err(Refused::new(404, "there is nothing at this path")),
    };
    if !request.acts {
        return Err(Refused::new(405, "this path allows POST only"));
    }
    parameters.end()?;
    let mut body = Body::parse(&request.body)?;
    let mut call = begin(&mut body)?;
    if let (Call::Drop(id, _) | Call::Restore(id) | Call::ActOnRollout(id, _), [_, text, _]) = (&mut call, segments) {
        *id = parse_id(text)?;
    }
    let reason = body.text("reason", MAX_REASON)?.filter(|reason| !reason.is_empty());
    body.end()?;
    Ok(Checked { call, reason })
}

fn parse_id(text: &str) -> Result<u64, Refused> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = is_plain.then(|| text.parse().ok()).flatten();
    id.ok_or_else(|| Refused::new(404, format!("`{}` is no number", printable(text))))
}

/// The parameters that were not taken yet.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn take(&mut self, name: &str) -> Result<Option<String>, Refused> {
        let Some(at) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        match self.0.iter().any(|(key, _)| key == name) {
            true => Err(bad(format!("the parameter {name} is given twice"))),
            false => Ok(Some(value)),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, Refused> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let number = parse_integer(&Json::from(text.as_str()));
        number.map(Some).ok_or_else(|| bad(format!("{name}={}: expected a whole number", printable(&text))))
    }

    /// The name of a consumer, which has the characters of a state.
    fn consumer(&mut self, name: &str) -> Result<Option<String>, Refused> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match State::new(&text) {
            Ok(_) => Ok(Some(text)),
            Err(_) => Err(bad(format!("{name}={}: expected the name of a consumer", printable(&text)))),
        }
    }

    fn drift(&mut self) -> Result<Option<Verdict>, Refused> {
        let Some(text) = self.take("drift")? else { return Ok(None) };
        let wrong = || bad(format!("drift={}: expected same, differs or unknown", printable(&text)));
        Verdict::parse(&text).map(Some).ok_or_else(wrong)
    }

    fn limit(&mut self) -> Result<u32, Refused> {
        match self.number("limit")? {
            None => Ok(PAGE),
            Some(limit) if (1..=u64::from(LARGEST_PAGE)).contains(&limit) => Ok(limit as u32),
            Some(limit) => Err(bad(format!("limit={limit}: expected 1 to {LARGEST_PAGE}"))),
        }
    }

    fn range(&mut self) -> Result<Range<u64>, Refused> {
        Ok(Range { after: self.number("after")?, limit: self.limit()? })
    }

    fn filter(&mut self) -> Result<Filter, Refused> {
        let mut filter = Filter::default();
        for key in ["status", "type", "name", "database"] {
            if let Some(value) = self.take(key)? {
                filter.set(key, &value).map_err(|error| bad(error.to_string()))?;
            }
        }
        Ok(filter)
    }

    fn end(&self) -> Result<(), Refused> {
        match self.0.first() {
            Some((name, _)) => Err(bad(format!("unknown parameter `{}`", printable(name)))),
            None => Ok(()),
        }
    }
}

/// The parts of a body that were not taken yet.
struct Body(serde_json::Map<String, Json>);

impl Body {
    fn parse(bytes: &[u8]) -> Result<Body, Refused> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Body(serde_json::Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Json::Object(parts)) => Ok(Body(parts)),
            Ok(_) => Err(bad("the body is not a JSON object")),
            Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
        }
    }

    /// Also null counts as absent.
    fn take(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str, longest: usize) -> Result<Option<String>, Refused> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::String(text)) if text.chars().count() <= longest => Ok(Some(text)),
            Some(_) => Err(bad(format!("{key}: expected a string of at most {longest} characters"))),
        }
    }

    fn after_s(&mut self) -> Result<Option<u64>, Refused> {
        let Some(text) = self.text("after", 20)? else { return Ok(None) };
        let wrong = || bad("after: expected a number and d, h, m or s, such as \"7d\", at most ten years");
        age_s(&text, LONGEST_S).map(Some).ok_or_else(wrong)
    }

    fn job(&mut self) -> Result<Call, Refused> {
        let whole = |value: Option<Json>, key: &str, from: i64, to: i64| match value {
            None => Ok(0),
            Some(value) => exact::whole(&value)
                .filter(|n| (from..=to).contains(n))
                .ok_or_else(|| bad(format!("{key}: expected a whole number from {from} to {to}"))),
        };
        let name = self.text("name", 255)?.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| bad("name: expected the name of the resource"))?;
        let res_type = self.text("type", 64)?.unwrap_or_else(|| NewJob::default().res_type);
        let url = self.text("url", 500)?;
        let priority = whole(self.take("priority"), "priority", i16::MIN.into(), i16::MAX.into())? as i16;
        let delay_s = whole(self.take("delay_s"), "delay_s", 0, MAX_DELAY_S)? as u32;
        Ok(Call::Add(NewJob { name, res_type, url, priority, delay_s }))
    }

    fn change(&mut self, change: Change) -> Result<Call, Refused> {
        let dry_run = match self.take("dry_run") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(|| bad("dry_run: expected true or false"))?,
        };
        // Null does not count as absent here: ids left open by mistake must not change all that match.
        let which = match (self.0.remove("ids"), self.0.remove("filter")) {
            (Some(ids), None) => {
                let list = ids.as_array().filter(|list| !list.is_empty() && list.len() <= MAX_IDS);
                let numbers = list.map(|list| list.iter().map(parse_integer).collect::<Option<Vec<u64>>>());
                let wrong = || bad(format!("ids: expected 1 to {MAX_IDS} whole numbers"));
                Which::Ids(numbers.flatten().ok_or_else(wrong)?)
            }
            (None, Some(Json::Object(parts))) => Which::Matching(status_filter(change, parts)?),
            (None, Some(_)) => return Err(bad("filter: expected an object")),
            _ => return Err(bad("expected either ids or filter")),
        };
        Ok(Call::Change { change, which, dry_run })
    }

    fn end(&self) -> Result<(), Refused> {
        match self.0.keys().next() {
            Some(key) => Err(bad(format!("`{}` is unknown here", printable(key)))),
            None => Ok(()),
        }
    }
}

/// The longest delay of a job: ten years.
const MAX_DELAY_S: i64 = 315_360_000;

fn status_filter(change: Change, parts: serde_json::Map<String, Json>) -> Result<Filter, Refused> {
    let mut filter = Filter::default();
    for (key, value) in parts.iter().filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().ok_or_else(|| bad(format!("filter: `{}`: expected a string", printable(key))))?;
        filter.set(key, value).map_err(|error| bad(format!("filter: {error}")))?;
    }
    let from: Status = change.from();
    match filter.status {
        Some(status) if status != from => {
            Err(bad(format!("filter: {} changes jobs of the status {} only", change.as_str(), from.as_str())))
        }
        _ => Ok(filter),
    }
}

#[cfg(test)]
mod tests;

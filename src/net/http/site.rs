//! What a request is answered, from what the daemon has in memory. Never asks a database and never waits; what only the
//! broker has, it is asked for.

use std::sync::Arc;

use serde_json::json;

use super::{
    access::{Access, Arrival},
    dashboard,
    handoff::{ApiRequest, Ticket},
    login::{COOKIE, LASTS_S, Right},
    query::{Parameters, whole_number},
    request::{Head, Method, Rejection, Request},
    response::Response,
    routes::{self, API, Route},
    watch::Topics,
};
use crate::{
    base::{
        health::Health,
        history::History,
        metrics::{Format, Metrics},
        wakeup::Wakeup,
    },
    wire::MAX_STATES,
};

/// What the daemon shows by HTTP.
#[derive(Default)]
pub struct Site {
    /// Who may see it.
    pub access: Access,
    /// Where its broker listens, as the settings write it.
    pub brokers: Vec<String>,
    /// What it counts and measures.
    pub metrics: Arc<Metrics>,
    /// The last hours of it.
    pub history: Arc<History>,
    /// Whether it is alive and ready.
    pub health: Arc<Health>,
    /// Notified when the metrics are read, or a page opens: what only the database knows may be read from there for the next
    /// time.
    pub metrics_read: Option<Wakeup>,
}

/// An answer, or what the broker has to do for one.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this.
    Response(Response),
    /// Bring the broker's metrics up to date, then send all of them.
    Metrics(Format),
    /// List who receives events.
    Subscribers,
    /// Ask the database.
    Ask(ApiRequest),
    /// Send events: those of these patterns, after this number or from now on.
    Stream {
        /// Patterns, not checked yet.
        patterns: Vec<String>,
        /// None: from now on.
        after_seq: Option<u64>,
        /// What it carries besides.
        topics: Topics,
    },
}

impl Site {
    /// Answers a request.
    ///
    /// # Errors
    /// Its rejection, after which the connection may carry another request.
    pub fn reply(&mut self, request: &Request, arrival: Arrival) -> Result<Reply, Rejection> {
        let head = &request.head;
        self.access.check_origin(head)?;
        let route = routes::find(head)?;
        let acts = head.method == Method::Post;
        if matches!(route, Route::Metrics | Route::Stream | Route::Series | Route::Subscribers | Route::Api) {
            self.access.check_right(head, if acts { Right::Act } else { Right::Read }, arrival)?;
        }
        let parameters = Parameters::parse(&head.query)?;
        match route {
            Route::Stream | Route::Api => {}
            Route::Health | Route::Ready => self.check_broker(&parameters)?,
            _ => parameters.only(&[])?,
        }
        match route {
            Route::Health => Ok(Reply::Response(self.health())),
            Route::Ready => self.ready(head, arrival).map(Reply::Response),
            Route::Metrics => {
                self.metrics_read.iter().for_each(Wakeup::notify);
                Ok(Reply::Metrics(Format::accepted(head.field("accept").unwrap_or_default())))
            }
            Route::Stream => stream(head, &parameters),
            Route::Api => ask(request, parameters, arrival).map(Reply::Ask),
            Route::Subscribers => Ok(Reply::Subscribers),
            Route::Series => Ok(Reply::Response(Response::json(200, &self.history.to_json(arrival.unix_s * 1_000)))),
            Route::File(file) => Ok(Reply::Response(dashboard::response(file, head))),
            Route::Right => {
                // A wrong token is refused; no token, or a login that has ended, is an answer.
                let right = self.access.right(head, arrival)?.map(Right::as_str);
                let has_token = self.access.token.is_some() || self.access.read_token.is_some();
                Ok(Reply::Response(Response::json(200, &json!({ "right": right, "login": has_token }))))
            }
            Route::Login => self.log_in(request, arrival).map(Reply::Response),
            Route::Logout => {
                let response = Response::json(200, &json!({ "right": null }));
                Ok(Reply::Response(response.with("Set-Cookie", cookie("", 0, arrival.is_encrypted))))
            }
        }
    }

    /// A probe says whose health it wants: that of the resqd whose broker listens there.
    fn check_broker(&self, parameters: &Parameters) -> Result<(), Rejection> {
        parameters.only(&["broker"])?;
        match parameters.one("broker")? {
            Some(address) if !self.brokers.iter().any(|known| known == address) => {
                Err(Rejection::new(421, "this is another resqd: its broker does not listen there"))
            }
            _ => Ok(()),
        }
    }

    fn health(&self) -> Response {
        let stalled = self.health.stalled();
        let threads = stalled.iter().map(|(name, since)| json!({ "thread": name, "seconds": since.as_secs() }));
        let threads: Vec<_> = threads.collect();
        let status = if threads.is_empty() { 200 } else { 503 };
        Response::json(status, &json!({ "alive": threads.is_empty(), "stalled": threads }))
    }

    /// A probe without a right learns whether the daemon is ready, and which checks failed; their words only readers.
    fn ready(&mut self, head: &Head, arrival: Arrival) -> Result<Response, Rejection> {
        let may_read = self.access.right(head, arrival)?.is_some();
        let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
        for finding in self.health.findings() {
            let list = if finding.is_blocking { &mut reasons } else { &mut warnings };
            list.push(match may_read {
                true => json!({ "check": finding.check, "reason": finding.reason }),
                false => json!({ "check": finding.check }),
            });
        }
        let status = if reasons.is_empty() { 200 } else { 503 };
        Ok(Response::json(status, &json!({ "ready": reasons.is_empty(), "reasons": reasons, "warnings": warnings })))
    }

    /// Takes a token as a form or as JSON. A form comes from a page, which goes on to the first one.
    fn log_in(&mut self, request: &Request, arrival: Arrival) -> Result<Response, Rejection> {
        let body = std::str::from_utf8(&request.body).map_err(|_| Rejection::new(400, "the body is not UTF-8"))?;
        let (token, is_form) = match media_type(&request.head) {
            "application/x-www-form-urlencoded" => {
                let form = Parameters::parse(body)?;
                (form.one("token")?.map(str::to_string), true)
            }
            "application/json" => {
                let json: serde_json::Value =
                    serde_json::from_str(body).map_err(|error| Rejection::new(400, format!("not JSON: {error}")))?;
                (json["token"].as_str().map(str::to_string), false)
            }
            _ => return Err(Rejection::new(415, "expected a form or JSON with a token")),
        };
        let token = token.ok_or_else(|| Rejection::new(400, "expected a token: {\"token\":\"…\"}"))?;
        let right = self.access.compare(&token, arrival)?;
        let value = self.access.cookie(right, arrival.unix_s).ok_or_else(|| Rejection::new(400, "no token is set"))?;
        let response = match is_form {
            true => Response::new(303, "text/plain; charset=utf-8", "").with("Location", "/"),
            false => Response::json(200, &json!({ "right": right.as_str() })),
        };
        Ok(response.with("Set-Cookie", cookie(&value, LASTS_S, arrival.is_encrypted)))
    }
}

/// A browser never sends one that was given over TLS without TLS.
fn cookie(value: &str, lasts_s: u64, is_encrypted: bool) -> String {
    let secure = if is_encrypted { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}")
}

/// A body has to say that it is JSON: no form of a page of another site can.
fn ask(request: &Request, parameters: Parameters, arrival: Arrival) -> Result<ApiRequest, Rejection> {
    let Request { head, body } = request;
    if !body.is_empty() && media_type(head) != "application/json" {
        return Err(Rejection::new(415, "expected a body of the type application/json"));
    }
    let from = arrival.address.map_or_else(String::new, |address| format!(" from {address}"));
    Ok(ApiRequest {
        ticket: Ticket::default(),
        acts: head.method == Method::Post,
        is_other: head.method == Method::Other,
        path: head.path.strip_prefix(API).unwrap_or_default().into(),
        parameters: parameters.into_pairs(),
        body: body.clone(),
        who: format!("token via http{from}"),
    })
}

fn media_type(head: &Head) -> &str {
    head.field("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// A client that reconnects says where it was: that goes before where it first began.
fn stream(head: &Head, parameters: &Parameters) -> Result<Reply, Rejection> {
    parameters.only(&["sub", "since", "watch"])?;
    let topics = Topics::parse(parameters.all("watch"))?;
    let mut patterns: Vec<String> = parameters.all("sub").map(str::to_string).collect();
    if patterns.is_empty() && !topics.any() {
        patterns.push("*".into());
    }
    if patterns.len() > MAX_STATES {
        return Err(Rejection::new(400, format!("more than {MAX_STATES} states")));
    }
    let since = parameters.number("since")?;
    let after_seq = match head.field("last-event-id") {
        None | Some("") => since,
        Some(id) => {
            Some(whole_number(id).ok_or_else(|| Rejection::new(400, format!("Last-Event-ID {id:?} is not a number")))?)
        }
    };
    Ok(Reply::Stream { patterns, after_seq, topics })
}

#[cfg(test)]
mod tests;

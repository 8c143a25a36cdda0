//! What HTTP requests do: the hub's part for its clients. The rules of one connection are in `http::session`, what is
//! answered in `http::site`.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::Hub;
use crate::{
    base::{exact::integer, metrics::Format},
    fanout::{Filter, Subscription},
    net::{
        connection::{Protocol, Socket},
        http::{
            access::Arrival,
            handoff::{ApiAnswer, ApiRequest, Ticket},
            request::{Head, Method, Rejection, Request},
            response::{self, Response},
            session::{Asked, Due, Input},
            site::Reply,
            stream,
            watch::Topics,
        },
    },
    wire::Pattern,
};

/// Requests answered per connection and turn, so that a client which sends many at once does not hold up the others.
const ANSWER_BUDGET: usize = 16;
/// Subscribers that are listed, since the list is made between deliveries; and the states of each.
const SHOWN: usize = 1_000;
const SHOWN_STATES: usize = 32;

impl<S: Socket> Hub<S> {
    /// Acts on the requests that these bytes complete.
    pub(super) fn receive_requests(&mut self, key: usize, bytes: &[u8], now: Instant, unix_time_us: u64) {
        if let Some(connection) = self.connections.get_mut(key)
            && let Protocol::Http(session) = &mut connection.protocol
        {
            session.receive(bytes);
            self.answer_requests(key, now, unix_time_us);
        }
    }

    /// Answers the requests received so far, in their order, as long as the client reads the answers.
    pub(super) fn answer_requests(&mut self, key: usize, now: Instant, unix_time_us: u64) {
        for _ in 0..ANSWER_BUDGET {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Protocol::Http(session) = &mut connection.protocol else { return };
            if connection.send_queue.bytes() > self.rules.limits.queue_bytes {
                return;
            }
            match session.next(&self.rules.limits.http, now) {
                Input::Incomplete => return self.set_timer(key),
                Input::Continue => {
                    connection.send_queue.push(response::go_on(), ());
                    self.connections.queue_write(key);
                }
                Input::Request(request) => self.answer(key, &request, now, unix_time_us),
                Input::Rejected(rejection) => self.reject(key, &rejection, now),
            }
        }
        self.set_timer(key);
        // Any further ones have their turn later.
        self.connections.queue_read(key);
    }

    fn answer(&mut self, key: usize, request: &Request, now: Instant, unix_time_us: u64) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (address, is_encrypted) = (connection.socket.address(), connection.socket.is_encrypted());
        let arrival = Arrival { address, now, unix_s: unix_time_us / 1_000_000, is_encrypted };
        let response = match self.site.reply(request, arrival) {
            Ok(Reply::Response(response)) => response,
            Ok(Reply::Subscribers) => Response::json(200, &self.subscribers()),
            Ok(Reply::Metrics(format)) => self.metrics(format),
            Ok(Reply::Stream { patterns, after_seq, topics }) if request.head.method == Method::Get => {
                match self.start_stream(key, &patterns, after_seq, topics, now) {
                    Ok(()) => return,
                    Err(rejection) => Response::from(&rejection),
                }
            }
            Ok(Reply::Stream { .. }) => Response::new(200, "text/event-stream", ""),
            Ok(Reply::Ask(asked)) => match self.ask(key, &request.head, asked, now) {
                Ok(()) => return,
                Err(rejection) => Response::from(&rejection),
            },
            Err(rejection) => Response::from(&rejection),
        };
        self.respond(key, &response, !request.head.keep_alive, request.head.method == Method::Head, now);
    }

    fn ask(&mut self, key: usize, head: &Head, request: ApiRequest, now: Instant) -> Result<(), Rejection> {
        self.asked += 1;
        let serial = self.asked;
        self.api.send(ApiRequest { ticket: Ticket { key, serial }, ..request })?;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if let Protocol::Http(session) = &mut connection.protocol {
            let until = now + self.rules.limits.http.answer_timeout;
            let (closes, is_head) = (!head.keep_alive, head.method == Method::Head);
            session.ask(Asked { serial, closes, is_head, until });
        }
        self.set_timer(key);
        Ok(())
    }

    /// Sends an answer of the database, if its client still waits for it, and has the client's next requests read.
    pub fn answered(&mut self, answer: ApiAnswer, now: Instant) {
        let ApiAnswer { ticket: Ticket { key, serial }, status, body, allow } = answer;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Http(session) = &mut connection.protocol else { return };
        let Some(asked) = session.asked(serial) else { return };
        let response = Response::new(status, "application/json", body + "\n");
        let response = match allow {
            Some(methods) => response.with("Allow", methods),
            None => response,
        };
        self.respond(key, &response, asked.closes, asked.is_head, now);
        self.set_timer(key);
        self.connections.queue_read(key);
    }

    /// The first subscribers in the order of their connections, and how many there are.
    pub(super) fn subscribers(&self) -> Json {
        let head = self.fanout.head().head_seq;
        let (count, _) = self.fanout.lag();
        let listed = self.connections.iter().filter_map(|(key, connection)| {
            let (patterns, durable_only) = self.fanout.subscription(key)?;
            let (protocol, name) = match &connection.protocol {
                Protocol::Rsq { name, .. } => ("rsq/1", Some(name)),
                Protocol::Http(_) => ("sse", None),
            };
            let states: Vec<String> = patterns.take(SHOWN_STATES).map(|pattern| pattern.to_string()).collect();
            let lag = head.saturating_sub(self.fanout.complete_up_to(key).unwrap_or(head));
            Some(json!({
                "name": name, "peer": connection.socket.peer(), "protocol": protocol, "states": states,
                "durable_only": durable_only, "lag": integer(lag), "queued_bytes": connection.send_queue.bytes(),
            }))
        });
        json!({ "subscribers": listed.take(SHOWN).collect::<Vec<_>>(), "count": integer(count) })
    }

    fn metrics(&mut self, format: Format) -> Response {
        self.measure();
        Response::new(200, format.content_type(), self.site.metrics.encode(format))
    }

    fn start_stream(
        &mut self,
        key: usize,
        patterns: &[String],
        after_seq: Option<u64>,
        topics: Topics,
        now: Instant,
    ) -> Result<(), Rejection> {
        let mut checked = Vec::with_capacity(patterns.len());
        for text in patterns {
            let pattern = Pattern::new(text).map_err(|error| Rejection::new(400, error.to_string()))?;
            self.rules.check_pattern(&pattern).map_err(|refusal| Rejection::new(400, refusal.message))?;
            checked.push(pattern);
        }
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if let Protocol::Http(session) = &mut connection.protocol {
            session.stream(&self.rules.limits.http, now);
        }
        connection.send_queue.push(response::stream_head(), ());
        if !checked.is_empty() {
            connection.send_queue.push(stream::log(self.fanout.head()), ());
            let wanted = Subscription { filter: Filter::new(&checked), durable_only: false, max_unacked: None };
            self.begin(key, after_seq, wanted, now);
        }
        if topics.any() {
            self.watch(key, topics, now);
        }
        self.connections.queue_write(key);
        self.set_timer(key);
        Ok(())
    }

    fn respond(&mut self, key: usize, response: &Response, closes: bool, is_head: bool, now: Instant) {
        let farewell = self.rules.limits.farewell;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Http(session) = &mut connection.protocol else { return };
        connection.send_queue.push(response.encode(closes, is_head), ());
        match closes {
            true => session.close_after_answers(farewell, now),
            false => session.answered(&self.rules.limits.http, now),
        }
        self.connections.queue_write(key);
    }

    /// Ends the connection with this rejection, after the answers that are queued.
    fn reject(&mut self, key: usize, rejection: &Rejection, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        log::debug!("refused a request of {}: {}", connection.socket.peer(), rejection.message.escape_debug());
        self.respond(key, &Response::from(rejection), true, false, now);
        self.set_timer(key);
    }

    /// Does what a timer requires. False: the connection is to be removed.
    pub(super) fn http_due(&mut self, key: usize, due: Due, now: Instant) -> bool {
        match due {
            Due::Nothing => {}
            Due::Comment => {
                let complete_up_to = self.fanout.complete_up_to(key);
                let Some(connection) = self.connections.get_mut(key) else { return true };
                // A comment behind other bytes would be no sign of life.
                if connection.send_queue.is_empty() {
                    connection.send_queue.push(complete_up_to.map_or_else(stream::comment, stream::position), ());
                    self.write(key, now);
                }
            }
            Due::Reject(rejection) => {
                self.reject(key, &rejection, now);
                self.write(key, now);
            }
            Due::Close => return false,
        }
        true
    }

    /// Ends an HTTP connection after what is queued for it.
    pub(super) fn close_http(&mut self, key: usize, farewell: Duration, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Http(session) = &mut connection.protocol else { return };
        session.close(now + farewell);
        self.unsubscribe(key);
        self.unwatch(key);
        self.connections.queue_write(key);
        self.set_timer(key);
    }
}

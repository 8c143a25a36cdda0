//! Requests that only the database can answer, on their way from the broker to the threads that ask it, and the answers on
//! their way back. Both ways are bounded, and the broker waits for neither.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::request::Rejection;

/// Requests that wait for a thread, of each kind. Further ones get 503.
const WAITING: usize = 64;

/// Which request an answer is for: its connection, and its number among all requests, since a later connection may have
/// the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The connection's key.
    pub key: usize,
    /// The request's number.
    pub serial: u64,
}

/// A request, checked for its right and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRequest {
    /// To be returned with the answer.
    pub ticket: Ticket,
    /// It acts; otherwise it reads.
    pub acts: bool,
    /// Its method is one that no path has.
    pub is_other: bool,
    /// The path below `/api/v1`: `/jobs/17`.
    pub path: String,
    /// The decoded parameters, in their order.
    pub parameters: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// Who sent it, for people.
    pub who: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAnswer {
    /// That of the request.
    pub ticket: Ticket,
    /// The status code.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// With the status 405: the methods that the path has.
    pub allow: Option<String>,
}

/// The broker's end.
pub struct Requests {
    reads: Sender<ApiRequest>,
    acts: Sender<ApiRequest>,
    drops: Sender<ApiRequest>,
}

/// The other end: requests that read, that act and that drop, apart so that a drop, which takes as long as the server needs,
/// holds up no other action, and no action a reader; and where their answers go. It ends with the broker.
#[derive(Clone)]
pub struct ApiEnd {
    /// Requests that read.
    pub reads: Receiver<ApiRequest>,
    /// Requests that act.
    pub acts: Receiver<ApiRequest>,
    /// Requests that drop a database.
    pub drops: Receiver<ApiRequest>,
    answers: Sender<ApiAnswer>,
    wake_broker: Arc<dyn Fn() + Send + Sync>,
}

/// Both ends, and the answers that arrive. `wake_broker` is called after each answer sent.
pub fn handoff(wake_broker: impl Fn() + Send + Sync + 'static) -> (Requests, ApiEnd, Receiver<ApiAnswer>) {
    let (read_sender, reads) = bounded(WAITING);
    let (act_sender, acts) = bounded(WAITING);
    let (drop_sender, drops) = bounded(WAITING);
    let (answers, arriving) = bounded(WAITING);
    let end = ApiEnd { reads, acts, drops, answers, wake_broker: Arc::new(wake_broker) };
    (Requests { reads: read_sender, acts: act_sender, drops: drop_sender }, end, arriving)
}

impl Requests {
    /// Passes a request on.
    ///
    /// # Errors
    /// 503: too many wait already.
    pub fn send(&self, request: ApiRequest) -> Result<(), Rejection> {
        let sender = match request.acts {
            false => &self.reads,
            true if request.path.ends_with("/drop") => &self.drops,
            true => &self.acts,
        };
        let why = match sender.try_send(request) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => "too many requests wait for the database",
            Err(TrySendError::Disconnected(_)) => "resqd is stopping",
        };
        Err(Rejection::new(503, why).with("Retry-After", "1"))
    }
}

impl ApiEnd {
    /// Sends an answer. It is dropped if its client has left.
    pub fn answer(&self, answer: ApiAnswer) {
        if self.answers.send(answer).is_ok() {
            (self.wake_broker)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queues_refuse_and_do_not_hold_up_each_other() {
        let (requests, end, answers) = handoff(|| {});
        let read = ApiRequest::default();
        (0..WAITING).for_each(|_| requests.send(read.clone()).unwrap());
        assert_eq!(requests.send(read.clone()).unwrap_err().status, 503);
        let act = ApiRequest { acts: true, path: "/queue/pause".into(), ..read.clone() };
        assert_eq!(requests.send(act.clone()), Ok(()));
        let drop_one = ApiRequest { path: "/databases/7/drop".into(), ..act };
        assert_eq!(requests.send(drop_one), Ok(()));
        end.answer(ApiAnswer { ticket: Ticket::default(), status: 200, body: String::new(), allow: None });
        assert_eq!((answers.len(), end.reads.len(), end.acts.len(), end.drops.len()), (1, WAITING, 1, 1));
        drop(end);
        assert_eq!(requests.send(read).unwrap_err().status, 503);
    }
}

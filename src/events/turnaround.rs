//! How jobs end and how long they take from enqueued to done, as their events say: whichever daemon ran them, by the
//! server's clock and to the microsecond. Pure.

use std::{collections::HashMap, time::Duration};

use super::event::Event;

/// Jobs whose time of enqueuing is kept. Those beyond are not measured.
const LIMIT: usize = 100_000;

/// The jobs that are enqueued and not ended.
#[derive(Default)]
pub struct Turnaround {
    /// By `res_id`: when the job became new, in microseconds since 1970.
    enqueued: HashMap<u64, u64>,
}

/// How a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With success; after how long, if it was enqueued since this began.
    Done(Option<Duration>),
    /// In error.
    Failed,
}

impl Turnaround {
    /// Takes the next event of the log. Returns how a job ended, if the event says so.
    pub fn observe(&mut self, event: &Event<'_>) -> Option<Ended> {
        match event.state.as_ref() {
            "New" if self.enqueued.len() < LIMIT => {
                // A job that is tried again keeps its first time.
                self.enqueued.entry(res_id(&event.payload)?).or_insert(event.unix_time_us);
                None
            }
            "Completed" => {
                let enqueued = self.enqueued.remove(&res_id(&event.payload)?);
                let took = enqueued.map(|at| Duration::from_micros(event.unix_time_us.saturating_sub(at)));
                Some(Ended::Done(took))
            }
            "Error" => {
                self.enqueued.remove(&res_id(&event.payload)?);
                Some(Ended::Failed)
            }
            _ => None,
        }
    }
}

/// The number behind `"res_id":`, which the triggers of the queue write; within a string it would be escaped.
fn res_id(payload: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"res_id\":";
    let at = payload.windows(KEY.len()).position(|part| part == KEY)? + KEY.len();
    let rest = payload[at..].trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_from_the_first_new_to_completed() {
        let mut turnaround = Turnaround::default();
        let done = |us: Option<u64>| Some(Ended::Done(us.map(Duration::from_micros)));
        for (time, state, payload, expected) in [
            (10, "New", r#"{"res_id": 1, "res_name": "a"}"#, None),
            (12, "New", r#"{"status":"new","res_id":2}"#, None),
            (15, "InProgress", r#"{"res_id":1}"#, None),
            (20, "New", r#"{"res_id":1}"#, None),
            (30, "Completed", r#"{"res_name":"\"res_id\":2","res_id":1}"#, done(Some(20))),
            (31, "Completed", r#"{"res_id":1}"#, done(None)),
            (40, "Error", r#"{"res_id":2}"#, Some(Ended::Failed)),
            (50, "New", r#"{"res_id":2}"#, None),
            (51, "Completed", r#"{"res_id":2}"#, done(Some(1))),
            (60, "New", "no JSON", None),
            (61, "New", r#"{"res_id":"3"}"#, None),
            (62, "Completed", r#"{"res_id":99999999999999999999999}"#, None),
        ] {
            let found = turnaround.observe(&Event::new(1, time, state, payload.as_bytes()));
            assert_eq!(found, expected, "{time}");
        }
        assert!(turnaround.enqueued.is_empty());
    }

    #[test]
    fn jobs_beyond_the_limit_are_not_kept() {
        let mut turnaround = Turnaround::default();
        for id in 0..LIMIT as u64 + 5 {
            turnaround.observe(&Event::new(1, 0, "New", format!("{{\"res_id\":{id}}}").as_bytes()));
        }
        assert_eq!(turnaround.enqueued.len(), LIMIT);
    }
}

//! What the broker counts of each durable event: by state, by its delay, and what it says of a job. Once the counter of a
//! state is known, an event costs no lock; a batch costs one, and none of them waits.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    base::{
        history::{History, Tally},
        metrics::{Counter, LABEL_VALUES, Metrics},
    },
    events::{
        event::Event,
        turnaround::{Ended, Turnaround},
    },
};

/// Counts events.
#[derive(Default)]
pub struct Meter {
    by_state: HashMap<Box<str>, Arc<Counter>>,
    turnaround: Turnaround,
}

impl Meter {
    /// Counts these, which were delivered at this time (microseconds since 1970).
    pub fn count(&mut self, events: &[Event<'_>], metrics: &Metrics, history: &History, unix_time_us: u64) {
        let mut tally = Tally { events: events.len() as u32, ..Tally::default() };
        for event in events {
            self.count_state(&event.state, metrics);
            metrics.event_delay.observe(Duration::from_micros(unix_time_us.saturating_sub(event.unix_time_us)));
            match self.turnaround.observe(event) {
                Some(Ended::Done(took)) => {
                    tally.done += 1;
                    if let Some(took) = took {
                        metrics.job_turnaround.observe(took);
                        tally.took(took);
                    }
                }
                Some(Ended::Failed) => tally.failed += 1,
                None => {}
            }
        }
        history.note(&tally, unix_time_us / 1_000);
    }

    fn count_state(&mut self, state: &str, metrics: &Metrics) {
        if let Some(counter) = self.by_state.get(state) {
            return counter.increment();
        }
        let counter = metrics.events.with(state);
        counter.increment();
        // States beyond those that have a counter of their own share one, and are looked up there.
        if self.by_state.len() < LABEL_VALUES {
            self.by_state.insert(state.into(), counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::OTHER;

    #[test]
    fn events_count_by_state_and_jobs_by_how_they_end() {
        let (mut meter, metrics, history) = (Meter::default(), Metrics::default(), History::new(0));
        let event = |at, state: String| Event::new(1, at, state, &br#"{"res_id":7}"#[..]);
        let mut events: Vec<Event<'_>> = (0..LABEL_VALUES).map(|n| event(0, format!("S{n}"))).collect();
        events.extend(["New", "Completed", "Error", "S1", "Sx"].map(|state| event(5_000_000, state.to_string())));
        meter.count(&events, &metrics, &history, 20_000_000);
        meter.count(&events, &metrics, &history, 20_000_000);
        let count = |state| metrics.events.with(state).get();
        assert_eq!((count("S0"), count("S1"), count("S99"), count(OTHER)), (2, 4, 2, 8));
        let figures = history.look(&metrics, 25_000_000 / 1_000).0;
        assert_eq!((figures.done_per_s, figures.error_per_s), (Some(0.2), Some(0.2)));
        assert_eq!(figures.events_per_s, Some(2.0 * events.len() as f64 / 10.0));
        assert!(figures.p50_s.is_some() && metrics.job_turnaround.cumulative().0.last().unwrap().1 == 2);
    }
}

//! The streams of open pages: the hub's part for what they carry besides events. Composed at most once a second, however
//! many pages are open; not at all while none is.

use std::time::{Duration, Instant};

use super::Hub;
use crate::{
    base::wakeup::Wakeup,
    fanout::Bytes,
    net::{
        connection::Socket,
        http::watch::{self, Topics},
    },
};

/// A page that has so many bytes to read gets the next state instead of this one.
const QUEUED: usize = 256 << 10;
/// A state of the last second is sent to a new page at once.
const FRESH: Duration = Duration::from_millis(1_500);

impl<S: Socket> Hub<S> {
    /// A page wants these.
    pub(super) fn watch(&mut self, key: usize, topics: Topics, now: Instant) {
        self.pages.topics.insert(key, topics);
        self.count_pages();
        // The thread that composes states waits for this.
        self.site.metrics_read.iter().for_each(Wakeup::notify);
        if let Some((at, overview)) = self.pages.last.clone()
            && now.duration_since(at) < FRESH
        {
            let subscribers = topics.subscribers.then(|| watch::subscribers(&self.subscribers()));
            self.show(key, topics, &overview, subscribers.as_ref());
        }
    }

    /// The page is gone, if this was one.
    pub(super) fn unwatch(&mut self, key: usize) {
        if self.pages.topics.remove(&key).is_some() {
            self.count_pages();
        }
    }

    fn count_pages(&mut self) {
        self.measure();
        self.site.history.watchers.set(self.pages.topics.len() as u64);
    }

    /// Sends this state, one line of JSON, to all pages.
    pub fn overview(&mut self, json: &str, now: Instant) {
        self.measure();
        let overview = watch::overview(json);
        self.pages.last = Some((now, overview.clone()));
        let pages: Vec<(usize, Topics)> = self.pages.topics.iter().map(|(key, topics)| (*key, *topics)).collect();
        let are_wanted = pages.iter().any(|(_, topics)| topics.subscribers);
        let subscribers = are_wanted.then(|| watch::subscribers(&self.subscribers()));
        for (key, topics) in pages {
            self.show(key, topics, &overview, subscribers.as_ref());
        }
    }

    fn show(&mut self, key: usize, topics: Topics, overview: &Bytes, subscribers: Option<&Bytes>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.send_queue.bytes() > QUEUED {
            return;
        }
        if topics.overview {
            connection.send_queue.push(overview.clone(), ());
        }
        if let Some(subscribers) = subscribers.filter(|_| topics.subscribers) {
            connection.send_queue.push(subscribers.clone(), ());
        }
        self.connections.queue_write(key);
    }

    /// Brings the metrics that only the broker knows up to date.
    pub(super) fn measure(&mut self) {
        let (subscribers, lag_max) = self.fanout.lag();
        let metrics = &self.site.metrics;
        metrics.subscribers.set(subscribers);
        metrics.subscriber_lag_max.set(lag_max);
        metrics.event_head.set(self.fanout.head().head_seq);
    }
}

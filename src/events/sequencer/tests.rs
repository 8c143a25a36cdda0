//! The sequencer against a log without a server.

use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};

use super::{super::chosen_rows::Refused, *};
use crate::{
    base::{threads::Thread, threads::alarm, wakeup::wakeup},
    db::{Error, quarantine::Report},
    events::updates::LogHead,
};

const HEAD: LogHead = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };

/// A log that the server refuses to read; reports each call.
struct Broken(Sender<()>);

impl Broken {
    fn refuse<T>(&self) -> Result<T, Error> {
        let _ = self.0.send(());
        Err(Error::Unavailable("no server".into()))
    }
}

#[rustfmt::skip]
impl EventLog for Broken {
    fn head(&mut self) -> Result<LogHead, Error> { self.refuse() }
    fn poll(&mut self, _: u64, _: u64, _: usize) -> Result<Polled, Error> { self.refuse() }
    fn renew_log_id(&mut self, _: u64, _: Option<u64>) -> Result<bool, Error> { self.refuse() }
    fn catch_up(&mut self) -> Result<(), Error> { self.refuse() }
    fn oldest_unmoved(&mut self, _: &[u64]) -> Result<Option<u64>, Error> { self.refuse() }
    fn unnumbered(&mut self, _: u64, _: usize, _: &[u64]) -> Result<Vec<u64>, Error> { self.refuse() }
    fn number(&mut self, _: &[u64]) -> Result<(), Error> { self.refuse() }
    fn skip_taken(&mut self) -> Result<bool, Error> { self.refuse() }
    fn read(&mut self, _: u64, _: usize) -> Result<Vec<Event<'static>>, Error> { self.refuse() }
    fn old(&mut self, _: u32, _: usize, _: &[u64]) -> Result<Vec<u64>, Error> { self.refuse() }
    fn delete(&mut self, _: &[u64], _: &[u64]) -> Result<(), Error> { self.refuse() }
    fn report_set_aside(&mut self, _: Refused, _: &[Report<Refused>], _: &[u64]) -> Result<(), Error> { self.refuse() }
}

fn sequencer(calls: Sender<()>) -> Sequencer {
    let hour = Duration::from_secs(3_600);
    let settings =
        Settings { poll: hour, retention_days: 7, prune_after: hour, batch: BATCH, is_cluster: false, head: HEAD };
    let publisher = LogPublisher::new(bounded(1).0, || {});
    Sequencer::new(Box::new(Broken(calls)), settings, publisher, Vec::new())
}

#[test]
fn wakeups_and_page_requests_do_not_shorten_the_pause_after_an_error() {
    let (call, calls) = unbounded();
    let mut sequencer = sequencer(call);
    let retry = sequencer.turn().unwrap();
    for after_seq in 0..1_000 {
        sequencer.notified();
        sequencer.page_requested(PageRequest { after_seq });
        if now() < retry {
            assert_eq!(sequencer.turn(), Ok(retry));
        }
    }
    assert_eq!(calls.len(), 1);
}

#[test]
fn page_requests_stay_in_their_channel_while_the_log_cannot_be_read() {
    let (call, calls) = unbounded();
    let (request, page_requests) = bounded(1);
    let (_wakeup, wakeups) = wakeup();
    let (_numbered, numbered) = bounded(1);
    let inputs = Inputs { wakeups, numbered, page_requests };
    let (alarm, _panicked) = alarm();
    let role = sequencer(call);
    let thread = Thread::spawn_stoppable("sequencer", &alarm, move |stopped| drop(role.run(inputs, &stopped))).unwrap();
    let fails = || calls.recv_timeout(Duration::from_secs(20)).unwrap();
    fails();
    request.send(PageRequest { after_seq: 1 }).unwrap();
    // Every later turn fails as well, so none takes it.
    (0..3).for_each(|_| fails());
    assert!(request.is_full());
    assert!(thread.stop(Duration::from_secs(20)));
}

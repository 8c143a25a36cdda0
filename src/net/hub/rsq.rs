//! What the frames of RSQ/1 do: the hub's part for its clients. The rules of one session are in `rsq::session`.

use std::{mem, time::Instant};

use super::Hub;
use crate::fanout::{Filter, Subscription};
use crate::{
    base::wakeup::Wakeup,
    net::{
        connection::{Protocol, Socket},
        rsq::{
            encode,
            refusal::Refusal,
            session::{Action, Due},
        },
    },
    wire::{Code, MAX_FRAME, ServerMessage, Start, VERSION},
};

impl<S: Socket> Hub<S> {
    /// Acts on the frames that these bytes complete.
    pub(super) fn receive_frames(&mut self, key: usize, mut bytes: &[u8], now: Instant, unix_time_us: u64) {
        // The splitter is moved out while a frame borrows its bytes; a connection that closes keeps a new, empty one.
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Rsq { splitter, .. } = &mut connection.protocol else { return };
        let mut splitter = mem::take(splitter);
        while let Some(connection) = self.connections.get_mut(key)
            && let Protocol::Rsq { session, splitter: place, .. } = &mut connection.protocol
            && !session.is_closing()
        {
            let action = match splitter.next(&mut bytes, session.frame_limit()) {
                Ok(None) => {
                    *place = splitter;
                    return;
                }
                Ok(Some(frame)) => session.frame(frame, &self.rules, now),
                Err(error) => Err(session.misframed(error)),
            };
            match action {
                Ok(action) => self.apply(key, action, now, unix_time_us),
                Err(refusal) => self.refuse(key, &refusal, false, now),
            }
        }
    }

    fn apply(&mut self, key: usize, action: Action<'_>, now: Instant, unix_time_us: u64) {
        match action {
            Action::Welcome { name, role } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    log::debug!("{} is {name:?}, {role:?}", connection.socket.peer());
                    if let Protocol::Rsq { name: place, .. } = &mut connection.protocol {
                        *place = name.into();
                    }
                }
                let head = self.fanout.head();
                let welcome = ServerMessage::Welcome {
                    version: VERSION,
                    head_seq: head.head_seq,
                    max_frame: MAX_FRAME as u32,
                    ping_interval_ms: self.rules.limits.ping_interval.as_millis() as u32,
                    log_id: head.log_id,
                };
                self.send(key, &welcome);
                self.set_timer(key);
            }
            Action::Subscribe { start, durable_only, patterns } => {
                let wanted = Subscription { filter: Filter::new(&patterns), durable_only, max_unacked: None };
                match start {
                    Start::Now => self.begin(key, None, wanted, now),
                    Start::Beginning => self.begin(key, Some(0), wanted, now),
                    Start::After(seq) => self.begin(key, Some(seq), wanted, now),
                    Start::Time(unix_time_us) => self.consumers.locate(key, unix_time_us, wanted),
                }
            }
            Action::Consume { consumer, start, max_unacked, patterns } => {
                let wanted =
                    Subscription { filter: Filter::new(&patterns), durable_only: true, max_unacked: Some(max_unacked) };
                self.consume(key, consumer.as_str(), start, wanted, now);
            }
            Action::Acknowledge(seq) => self.acknowledge(key, seq, now),
            Action::Publish { state, payload } => {
                self.fanout.publish(state, payload, unix_time_us, &mut self.connections.sinks(now));
            }
            Action::Ring => {
                self.site.metrics.wakeups_by_ring.increment();
                self.on_ring.iter().for_each(Wakeup::notify);
            }
            Action::Pong(number) => self.send(key, &ServerMessage::Pong(number)),
            Action::Nothing => {}
        }
    }

    fn send(&mut self, key: usize, message: &ServerMessage<'_>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.send_queue.push(encode::frame(message), ());
        self.connections.queue_write(key);
    }

    /// Does what a timer requires. False: the peer has had its time, and its connection is to be removed.
    pub(super) fn rsq_due(&mut self, key: usize, due: Due, now: Instant) -> bool {
        match due {
            Due::Nothing => {}
            Due::Ping => {
                let complete_up_to = self.fanout.complete_up_to(key).unwrap_or(0);
                let Some(connection) = self.connections.get_mut(key) else { return true };
                connection.send_queue.push(encode::frame(&ServerMessage::Ping(complete_up_to)), ());
                if let Protocol::Rsq { session, .. } = &mut connection.protocol {
                    session.ping_queued(connection.send_queue.end());
                }
                self.write(key, now);
            }
            Due::Refuse(refusal) => {
                let at_once = refusal.code == Code::Slow;
                self.refuse(key, &refusal, at_once, now);
                self.write(key, now);
            }
            Due::Close => return false,
        }
        true
    }

    /// Ends a session with an ERROR after the queued frames; with `at_once`, only after a frame that is partly written.
    pub(super) fn refuse(&mut self, key: usize, refusal: &Refusal, at_once: bool, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Rsq { session, splitter, .. } = &mut connection.protocol else { return };
        if session.is_closing() {
            return;
        }
        session.close(now, &self.rules);
        *splitter = Default::default();
        if at_once {
            connection.send_queue.cut();
        }
        connection.send_queue.push(encode::refusal(refusal), ());
        let message = refusal.message.escape_debug();
        log::info!("disconnected {}: {:?}: {message}", connection.socket.peer(), refusal.code);
        self.unsubscribe(key);
        self.connections.queue_write(key);
        self.set_timer(key);
    }
}

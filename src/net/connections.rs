//! All connections by key, and which of them to read and write next. Implements the fan-out's sinks: a subscriber's
//! number is its connection's key. Never interprets what is read or written.

use super::{
    connection::{Connection, Kind, Socket},
    http, rsq,
};
use crate::fanout::{Message, Outgoing, Sink, Sinks};
use slab::Slab;
use std::{mem, time::Instant};

/// The connections and their two lists.
pub struct Connections<S> {
    slab: Slab<Connection<S>>,
    /// Keys of the connections that may have data to read, each once.
    to_read: Vec<usize>,
    /// Keys of the connections that may have frames to write, each once.
    to_write: Vec<usize>,
    /// How many bytes may be queued for one peer before it has no room for another event.
    queue_bytes: usize,
    /// How many of the connections speak HTTP.
    http: usize,
    /// Events pushed to connections since this was last asked for.
    delivered: u64,
}

impl<S: Socket> Connections<S> {
    /// Without connections.
    pub fn new(queue_bytes: usize) -> Connections<S> {
        let (slab, to_read, to_write) = (Slab::new(), Vec::new(), Vec::new());
        Connections { slab, to_read, to_write, queue_bytes, http: 0, delivered: 0 }
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// The number of those that speak HTTP.
    pub fn http(&self) -> usize {
        self.http
    }

    /// How many events were pushed to connections since the last call.
    pub fn take_delivered(&mut self) -> u64 {
        mem::take(&mut self.delivered)
    }

    /// The keys of all connections.
    pub fn keys(&self) -> Vec<usize> {
        self.slab.iter().map(|(key, _)| key).collect()
    }

    /// The key that the next connection will have.
    pub fn next_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Adds a connection and queues it for reading.
    pub fn insert(&mut self, connection: Connection<S>) -> usize {
        self.http += usize::from(connection.kind == Kind::Http);
        let key = self.slab.insert(connection);
        self.queue_read(key);
        key
    }

    /// Removes the connection, if it exists. Dropping it closes its socket.
    pub fn remove(&mut self, key: usize) -> Option<Connection<S>> {
        let removed = self.slab.try_remove(key)?;
        self.http -= usize::from(removed.kind == Kind::Http);
        Some(removed)
    }

    /// All connections by key.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Connection<S>)> {
        self.slab.iter()
    }

    /// The connection, if it exists.
    #[cfg(test)]
    pub fn get(&self, key: usize) -> Option<&Connection<S>> {
        self.slab.get(key)
    }

    /// The connection, if it exists.
    pub fn get_mut(&mut self, key: usize) -> Option<&mut Connection<S>> {
        self.slab.get_mut(key)
    }

    /// Queues the connection for reading at the next turn.
    pub fn queue_read(&mut self, key: usize) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        if !mem::replace(&mut connection.in_read_list, true) {
            self.to_read.push(key);
        }
    }

    /// Queues the connection for writing at the next turn, unless its socket would block.
    pub fn queue_write(&mut self, key: usize) {
        let Some(connection) = self.slab.get_mut(key) else { return };
        queue_write(&mut self.to_write, key, connection);
    }

    /// Takes the keys of the connections to read. Some may no longer exist.
    pub fn take_to_read(&mut self) -> Vec<usize> {
        let keys = mem::take(&mut self.to_read);
        keys.iter().for_each(|key| {
            if let Some(connection) = self.slab.get_mut(*key) {
                connection.in_read_list = false;
            }
        });
        keys
    }

    /// Takes the keys of the connections to write to. Some may no longer exist.
    pub fn take_to_write(&mut self) -> Vec<usize> {
        let keys = mem::take(&mut self.to_write);
        keys.iter().for_each(|key| {
            if let Some(connection) = self.slab.get_mut(*key) {
                connection.in_write_list = false;
            }
        });
        keys
    }

    /// Whether no connection is queued for reading or writing.
    pub fn is_idle(&self) -> bool {
        self.to_read.is_empty() && self.to_write.is_empty()
    }

    /// The fan-out's view of the connections at the time `now`.
    pub fn sinks(&mut self, now: Instant) -> ConnectionSinks<'_, S> {
        ConnectionSinks { connections: self, now }
    }
}

#[inline]
fn queue_write<S>(to_write: &mut Vec<usize>, key: usize, connection: &mut Connection<S>) {
    if connection.writable && !mem::replace(&mut connection.in_write_list, true) {
        to_write.push(key);
    }
}

/// See [`Connections::sinks`].
pub struct ConnectionSinks<'a, S> {
    connections: &'a mut Connections<S>,
    now: Instant,
}

impl<S: Socket> Sinks for ConnectionSinks<'_, S> {
    #[inline]
    fn sink(&mut self, key: usize) -> Option<impl Sink> {
        let Connections { slab, to_write, queue_bytes, delivered, .. } = &mut *self.connections;
        let connection = slab.get_mut(key)?;
        Some(ConnectionSink { key, connection, to_write, queue_bytes: *queue_bytes, delivered, now: self.now })
    }
}

/// One connection's send queue; encodes the fan-out's messages in that connection's protocol.
struct ConnectionSink<'a, S> {
    key: usize,
    connection: &'a mut Connection<S>,
    to_write: &'a mut Vec<usize>,
    queue_bytes: usize,
    delivered: &'a mut u64,
    now: Instant,
}

impl<S: Socket> Sink for ConnectionSink<'_, S> {
    #[inline(always)]
    fn has_room(&self, event: &Outgoing<'_>) -> bool {
        let bytes = match self.connection.kind {
            Kind::Rsq => rsq::encode::event(event).len(),
            Kind::Http => http::stream::event(event).len(),
        };
        self.connection.send_queue.has_room(bytes, self.queue_bytes)
    }

    fn flush(&mut self) {
        if self.connection.writable {
            // A broken socket fails again at its turn.
            let _ = self.connection.write(self.now);
        }
    }

    // Once per delivery: inlined, it is 2 % of the broker's throughput to 100 subscribers.
    #[inline(always)]
    fn push(&mut self, message: Message<'_>) {
        *self.delivered += u64::from(matches!(message, Message::Event(_)));
        let bytes = match self.connection.kind {
            Kind::Rsq => rsq::encode::message(message),
            Kind::Http => http::stream::message(message),
        };
        self.connection.send_queue.push(bytes, ());
        self.request_turn();
    }

    #[inline]
    fn request_turn(&mut self) {
        queue_write(self.to_write, self.key, self.connection);
    }
}

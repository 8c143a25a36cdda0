//! A connection without a socket: it takes as many bytes as the test allows, and blocks like one.

use crate::net::connection::Socket;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind},
    net::IpAddr,
    rc::Rc,
};

/// Both directions of a connection.
#[derive(Default)]
pub struct Pipe {
    pub to_broker: VecDeque<u8>,
    pub to_peer: VecDeque<u8>,
    /// How many more bytes the broker may write.
    pub room: usize,
    /// A write found no room: the broker waits to be woken.
    pub blocked: bool,
    pub closed: bool,
}

/// The broker's end.
pub struct PipeEnd(pub Rc<RefCell<Pipe>>);

impl io::Read for PipeEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        if pipe.to_broker.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        io::Read::read(&mut pipe.to_broker, buffer)
    }
}

impl io::Write for PipeEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        if pipe.room == 0 {
            pipe.blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(pipe.room);
        pipe.room -= taken;
        pipe.to_peer.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for PipeEnd {
    fn peer(&self) -> String {
        "a pipe".into()
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

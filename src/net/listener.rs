//! Where peers come in: TCP and Unix sockets, who may reach them, and what happens when this process has no file
//! descriptors left. Hands over sockets; knows nothing of what is said on them.

use crate::net::connection::Socket;
use crate::net::rsq::session::Refusal;
use crate::{
    config,
    wire::{Code, ServerMessage},
};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use nix::{errno::Errno, unistd::Group};
use std::{
    fmt,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// Why the broker does not start: a setting that has to change.
#[derive(Debug)]
pub enum StartError {
    Exposed(SocketAddr),
    Listen { at: String, source: io::Error },
    NoGroup(String),
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Exposed(address) => write!(
                f,
                "broker.listen {address} can be reached from other machines and broker.token is not set: set a token, \
                 listen on 127.0.0.1 or a socket, or say --insecure"
            ),
            StartError::Listen { at, source } => write!(f, "cannot listen on {at}: {source}"),
            StartError::NoGroup(group) => write!(f, "broker.socket_group: there is no group {group:?}"),
            StartError::System(error) => write!(f, "cannot start the broker: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Binds all of the settings' addresses, or none.
pub fn bind(config: &config::Broker, insecure: bool) -> Result<Vec<Listener>, StartError> {
    let has_token = config.token.as_ref().is_some_and(|token| !token.0.is_empty());
    for address in config.listen.iter().filter(|address| !address.ip().is_loopback()) {
        match (has_token, insecure) {
            (true, _) => log::warn!("{address} can be reached from other machines: RSQ/1 and its token are clear text"),
            (false, true) => log::warn!("{address} is open to everybody who can reach it"),
            (false, false) => return Err(StartError::Exposed(*address)),
        }
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        let failed = |source| StartError::Listen { at: address.to_string(), source };
        listeners.push(Listener::Tcp(TcpListener::bind(*address).map_err(failed)?));
    }
    if let Some(path) = &config.socket {
        let group = config.socket_group.as_deref().map(group_id).transpose()?;
        let failed = |source| StartError::Listen { at: path.display().to_string(), source };
        listeners.push(Listener::Unix(bind_unix(path, group).map_err(failed)?, path.clone()));
    }
    Ok(listeners)
}

fn group_id(name: &str) -> Result<u32, StartError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(StartError::NoGroup(name.into())),
        Err(error) => Err(StartError::System(error.into())),
    }
}

/// A socket left behind by a process that is gone makes room; one that somebody listens on does not, nor any other
/// file (connecting to which is refused just the same).
fn bind_unix(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The group first: until then nobody but the owner may connect.
    chown(path, None, group)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Listener {
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }

    fn accept_once(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener, _) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// Accepts peers, and keeps one file descriptor in reserve: when the process has no other left, it serves to accept a
/// peer only to tell it so, instead of leaving it waiting.
pub struct Acceptor {
    reserve: Option<File>,
}

/// What came of one attempt.
pub enum Accepted {
    Peer(Stream),
    /// Came and went: there may be another one.
    Nobody,
    /// Was told that there is no file descriptor left.
    TurnedAway,
    /// Nobody else is waiting.
    Empty,
    /// The system can't give us another peer now: try again a little later.
    Exhausted(io::Error),
}

impl Acceptor {
    pub fn new() -> io::Result<Acceptor> {
        Ok(Acceptor { reserve: Some(spare()?) })
    }

    pub fn accept(&mut self, listener: &Listener) -> Accepted {
        match listener.accept_once() {
            Ok(stream) => Accepted::Peer(stream),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                _ if error.kind() == io::ErrorKind::WouldBlock => Accepted::Empty,
                Some(Errno::EMFILE | Errno::ENFILE) => self.turn_away(listener, error),
                // The peer's own trouble: it has gone again.
                Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => Accepted::Nobody,
                _ => Accepted::Exhausted(error),
            },
        }
    }

    fn turn_away(&mut self, listener: &Listener, error: io::Error) -> Accepted {
        if self.reserve.take().is_some()
            && let Ok(stream) = listener.accept_once()
        {
            say_too_many(stream);
        }
        self.reserve = spare().ok();
        match self.reserve {
            Some(_) => Accepted::TurnedAway,
            None => Accepted::Exhausted(error),
        }
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// ERROR 9 and good-bye. A socket just accepted has room for it.
pub fn say_too_many(mut stream: Stream) {
    let refusal = Refusal::new(Code::TooManyConnections, "too many connections");
    let mut frame = Vec::new();
    ServerMessage::Error { code: refusal.code as u16, message: &refusal.message }.encode(&mut frame);
    let _ = stream.write_all(&frame);
    let _ = stream.shutdown_write();
}

impl Stream {
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => {
                // Frames are gathered before they are written: holding them back gains nothing.
                stream.set_nodelay(true)?;
                stream.register(registry, token, interest)
            }
            Stream::Unix(stream) => stream.register(registry, token, interest),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(pieces),
            Stream::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Stream {
    fn peer(&self) -> String {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().map_or("a peer gone".into(), |address| address.to_string()),
            Stream::Unix(_) => "a local peer".into(),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

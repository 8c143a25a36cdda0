//! The sockets that peers connect to, TCP and Unix, and whether other machines may reach them. Accepts connections;
//! never reads or writes one.

use super::stream::Stream;
use crate::{
    base::tls::BadFile,
    config::{self, Listen},
};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, UnixListener},
};
use nix::unistd::Group;
use std::{
    fmt,
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines can reach this address, and no token is set.
    #[error(
        "broker.listen {0} can be reached from other machines and broker.token is not set: set a token, listen on \
         127.0.0.1 or a socket, or pass --insecure"
    )]
    Exposed(Listen),
    /// The same of an address for HTTP.
    #[error(
        "http.listen {0} can be reached from other machines and http.token is not set: set a token, listen on 127.0.0.1, or \
         pass --insecure"
    )]
    HttpExposed(Listen),
    /// A certificate, a key or a file of authorities cannot be used.
    #[error("broker.tls_cert, tls_key, tls_client_ca: {0}; nothing is listened on")]
    Tls(#[from] BadFile),
    /// The address or path cannot be listened on.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// The address or path.
        at: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The group that is to own the socket does not exist.
    #[error("broker.socket_group: group {0:?} does not exist")]
    NoGroup(String),
    /// The system refused something else that every broker needs.
    #[error("cannot start the broker: {0}")]
    System(#[from] io::Error),
}

/// A listening socket. Dropping it removes a Unix socket's file.
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A TCP port for peers that speak TLS.
    Tls(TcpListener),
    /// A Unix socket and its path.
    Unix(UnixListener, PathBuf),
}

/// Checks that no address can be reached from other machines without a token, except where `insecure` permits it.
///
/// # Errors
/// [`StartError::Exposed`].
pub fn check(listen: &[Listen], config: &config::Broker, insecure: bool) -> Result<(), StartError> {
    let has_token = config.token.as_ref().is_some_and(|token| !token.0.is_empty()) || !config.access.is_empty();
    exposed_without(listen, has_token || insecure).map_or(Ok(()), |listen| Err(StartError::Exposed(listen)))
}

/// The same of addresses for HTTP.
///
/// # Errors
/// [`StartError::HttpExposed`].
pub fn check_http(listen: &[Listen], config: &config::Http, insecure: bool) -> Result<(), StartError> {
    let is_allowed = config.token.is_some() || insecure;
    exposed_without(listen, is_allowed).map_or(Ok(()), |listen| Err(StartError::HttpExposed(listen)))
}

fn exposed_without(listen: &[Listen], is_allowed: bool) -> Option<Listen> {
    listen.iter().copied().find(|listen| listen.is_exposed() && !is_allowed)
}

/// Binds all addresses of the settings, or none. `insecure`: an address that other machines can reach needs no token.
///
/// # Errors
/// See [`StartError`].
pub fn bind(config: &config::Broker, insecure: bool) -> Result<Vec<Listener>, StartError> {
    check(&config.listen, config, insecure)?;
    let has_token = check(&config.listen, config, false).is_ok();
    for address in config.listen.iter().filter(|listen| listen.is_exposed()) {
        match has_token {
            true if address.tls => {}
            true => log::warn!(
                "broker: {address} can be reached from other machines; RSQ/1 and its token are sent in clear text"
            ),
            false => log::warn!(
                "broker: {address} can be reached from other machines; accepting peers without a token (--insecure)"
            ),
        }
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        let failed = |source| StartError::Listen { at: address.to_string(), source };
        listeners.push(Listener::tcp(*address).map_err(failed)?);
    }
    if let Some(path) = &config.socket {
        let group = config.socket_group.as_deref().map(group_id).transpose()?;
        let failed = |source| StartError::Listen { at: path.display().to_string(), source };
        listeners.push(Listener::Unix(bind_unix(path, group).map_err(failed)?, path.clone()));
    }
    Ok(listeners)
}

/// Binds the addresses for HTTP. The default address may belong to another process, such as a second resqd: nothing is
/// bound then.
///
/// # Errors
/// See [`StartError`].
pub fn bind_http(config: &config::Http, insecure: bool) -> Result<Vec<Listener>, StartError> {
    check_http(&config.listen, config, insecure)?;
    for address in config.listen.iter().filter(|listen| listen.is_exposed()) {
        match config.token.is_some() {
            true if address.tls => {}
            true => log::warn!(
                "http: {address} can be reached from other machines; requests and their tokens are sent in clear text"
            ),
            false => log::warn!(
                "http: {address} can be reached from other machines; accepting requests without a token (--insecure)"
            ),
        }
    }
    let mut listeners = Vec::new();
    for address in &config.listen {
        match Listener::tcp(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if config.is_default && error.kind() == io::ErrorKind::AddrInUse => {
                log::warn!(
                    "http: {address} belongs to another process; serving no HTTP, set http.listen to change that"
                );
            }
            Err(source) => return Err(StartError::Listen { at: address.to_string(), source }),
        }
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

/// Replaces a socket that an ended process left behind, but neither one that a process listens on nor any other kind of
/// file, where connecting is refused as well.
fn bind_unix(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // The group first: until then only the owner may connect.
    chown(path, None, group)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Listener {
    fn tcp(listen: Listen) -> io::Result<Listener> {
        let listener = TcpListener::bind(listen.address)?;
        Ok(if listen.tls { Listener::Tls(listener) } else { Listener::Tcp(listener) })
    }

    /// Whether its peers have to speak TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Listener::Tls(_))
    }

    /// The TCP address with its port; None for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) | Listener::Tls(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// Registers with the poll, which then reports waiting peers under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) | Listener::Tls(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }

    /// Accepts one peer. Its stream is plain, whatever it has to speak.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if no peer is waiting.
    pub fn accept_once(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) | Listener::Tls(listener) => {
                listener.accept().map(|(stream, _)| Stream::Tcp(stream))
            }
            Listener::Unix(listener, _) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// As the settings write it, with the actual port.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.local_addr()) {
            (Listener::Unix(_, path), _) => write!(f, "{}", path.display()),
            (_, Some(address)) => write!(f, "{}", Listen { address, tls: self.is_tls() }),
            (_, None) => f.write_str("an address that is gone"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}

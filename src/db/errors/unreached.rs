//! Why no server answered an attempt to connect, as the driver reports it.

use std::io::ErrorKind;

use mysql::DriverError;

/// What an attempt to connect met instead of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// The host's name has no address.
    NameUnknown,
    /// The host is there and nothing listens on the port or the socket.
    Refused,
    /// Nothing answered.
    TimedOut,
    /// There is no way to the host.
    NoRoute,
    /// The file of the Unix socket does not exist.
    NoSocket,
    /// This user may not use the Unix socket, or the system forbids the connection.
    Forbidden,
}

impl Unreached {
    pub(super) fn of(error: &DriverError) -> Option<Unreached> {
        let (text, kind) = match error {
            DriverError::ConnectTimeout => return Some(Unreached::TimedOut),
            DriverError::CouldNotConnect(Some((_, text, kind))) => (text, kind),
            _ => return None,
        };
        match kind {
            ErrorKind::ConnectionRefused => Some(Unreached::Refused),
            ErrorKind::TimedOut => Some(Unreached::TimedOut),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some(Unreached::NoRoute),
            ErrorKind::NotFound => Some(Unreached::NoSocket),
            ErrorKind::PermissionDenied => Some(Unreached::Forbidden),
            // std gives the failure of a look-up no kind of its own.
            _ if text.contains("failed to lookup address") => Some(Unreached::NameUnknown),
            _ => None,
        }
    }
}

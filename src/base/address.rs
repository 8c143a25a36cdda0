//! The address of a broker, as text and as a value. Never looks a name up and never connects.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a broker listens: `host:port`, `[v6]:port` or `unix:/path`.
///
/// ```
/// use resq::client::Address;
///
/// let address: Address = "[::1]:1300".parse()?;
/// assert_eq!(address, Address::Tcp { host: "::1".into(), port: 1300 });
/// assert_eq!(address.to_string(), "[::1]:1300");
/// # Ok::<(), resq::client::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// 1 to 65,535.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The text is not a valid [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Address, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Address::Unix(path.into())) } else { Err(InvalidAddress) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port @ 1..) if !host.is_empty() => Ok(Address::Tcp { host: host.into(), port }),
            _ => Err(InvalidAddress),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected host:port, [v6]:port or unix:/path")
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown_alike() {
        for text in ["10.0.0.7:1300", "localhost:1", "[::1]:65535", "[fe80::1%eth0]:3", "unix:/run/resq/resq.sock"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for text in ["", "10.0.0.7", "h:", ":1", "[]:1", "h:0", "h:65536", "h:x", "unix:", "unix:relative.sock"] {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text:?}");
        }
    }
}

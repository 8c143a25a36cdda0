//! An address to listen on, as the settings write it: `127.0.0.1:1300`, or `tls://192.0.2.1:1300`.

use std::{fmt, net::SocketAddr, str::FromStr};

/// Begins an address that is to be reached by TLS.
const TLS: &str = "tls://";

/// A TCP address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 picks a free one.
    pub address: SocketAddr,
    /// Whether clients speak TLS there.
    pub tls: bool,
}

impl Listen {
    /// Whether other machines can reach it.
    pub fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl FromStr for Listen {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Listen, Self::Err> {
        let (address, tls) = text.strip_prefix(TLS).map_or((text, false), |address| (address, true));
        Ok(Listen { address: address.parse()?, tls })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.tls { TLS } else { "" }, self.address)
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen { address, tls: false }
    }
}

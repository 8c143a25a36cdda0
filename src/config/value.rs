//! The values that settings accept: from the text of a flag, variable or file to a typed value, or `None` if invalid.
//! Pure; the descriptions of valid values are in `settings`.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use super::{Binlog, ClientTlsMode, Listen, SYSTEM_DATABASES, Secret, Tls};
use crate::wire::{MAX_STATES, State};

/// The longest token or password, in bytes; far below what a HELLO frame can carry.
pub const SECRET_BYTES: usize = 1024;

pub fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|n| range.contains(n))
}

/// A duration in milliseconds.
pub fn millis(text: &str, range: RangeInclusive<u64>) -> Option<Duration> {
    number(text, range).map(Duration::from_millis)
}

/// A duration in seconds.
pub fn seconds(text: &str, range: RangeInclusive<u64>) -> Option<Duration> {
    number(text, range).map(Duration::from_secs)
}

/// A word without spaces or control characters: a host, a user, a group.
pub fn word(text: &str) -> Option<String> {
    let fits = (1..=255).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    fits.then(|| text.into())
}

pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.into())
}

/// A Unix socket's path: `sun_path` has 108 bytes, one of them the final NUL.
pub fn socket_path(text: &str) -> Option<Option<PathBuf>> {
    path(text).filter(|path| path.as_os_str().len() <= 107).map(Some)
}

pub fn secret(text: &str) -> Option<Secret> {
    (text.len() <= SECRET_BYTES && !text.chars().any(char::is_control)).then(|| Secret(text.into()))
}

/// A secret that is not empty.
pub fn token(text: &str) -> Option<Option<Secret>> {
    secret(text).filter(|secret| !secret.0.is_empty()).map(Some)
}

pub fn tls(text: &str) -> Option<Tls> {
    match text {
        "off" => Some(Tls::Off),
        "preferred" => Some(Tls::Preferred),
        "required" => Some(Tls::Required),
        "verify" => Some(Tls::Verify),
        _ => None,
    }
}

pub fn binlog(text: &str) -> Option<Binlog> {
    match text {
        "auto" => Some(Binlog::Auto),
        "off" => Some(Binlog::Off),
        "on" => Some(Binlog::On),
        _ => None,
    }
}

pub fn client_tls(text: &str) -> Option<ClientTlsMode> {
    match text {
        "off" => Some(ClientTlsMode::Off),
        "required" => Some(ClientTlsMode::Required),
        "verify" => Some(ClientTlsMode::Verify),
        _ => None,
    }
}

/// The name of a database, or a prefix of one, that needs no quotes and is not one of the server's own.
pub fn database_name(text: &str, max: usize) -> Option<String> {
    let plain = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && !SYSTEM_DATABASES.contains(&text.to_ascii_lowercase().as_str())).then(|| text.into())
}

/// `host`, `host:port` or `[::1]:port`; the default port is MySQL's.
fn node(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { "3306" } else { port.strip_prefix(':')? })
        }
        None => text.split_once(':').unwrap_or((text, "3306")),
    };
    Some((word(host)?, number(port, 1..=u16::MAX)?))
}

/// Items separated by commas, without repeats; an empty text is an empty list.
fn list<T: PartialEq>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let value = item(part)?;
        if items.contains(&value) {
            return None;
        }
        items.push(value);
    }
    Some(items)
}

pub fn nodes(text: &str) -> Option<Vec<(String, u16)>> {
    list(text, node)
}

pub fn listeners(text: &str) -> Option<Vec<Listen>> {
    // Port 0 may be repeated: each becomes a different port.
    let addresses: Option<Vec<Listen>> =
        text.split(',').map(str::trim).filter(|_| !text.is_empty()).map(|part| part.parse().ok()).collect();
    let addresses = addresses?;
    let repeated = |i: usize, new: &Listen| {
        new.address.port() != 0 && addresses[..i].iter().any(|other| other.address == new.address)
    };
    (!addresses.iter().enumerate().any(|(i, a)| repeated(i, a))).then_some(addresses)
}

/// Names as they stand in `Host`, in lower case.
pub fn host_names(text: &str) -> Option<Vec<String>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
    list(text, |name| word(name).filter(|name| name.chars().all(is_plain)).map(|name| name.to_ascii_lowercase()))
}

/// States as RSQ/1 allows them, without patterns.
pub fn states(text: &str) -> Option<Option<Vec<String>>> {
    let states = list(text, |s| State::new(s).ok().map(|s| s.to_string()))?;
    (1..=MAX_STATES).contains(&states.len()).then_some(Some(states))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_names_are_plain_and_never_those_of_system_databases() {
        for (name, right) in [
            ("resq", true),
            ("Res_2", true),
            ("", false),
            ("a-b", false),
            ("a`b", false),
            ("größe", false),
            ("mysql", false),
            ("MySQL", false),
            ("sys", false),
            ("information_schema", false),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(database_name(name, 64).is_some(), right, "{name}");
        }
    }

    #[test]
    fn nodes_default_to_the_port_of_mysql() {
        let two = vec![("db1".to_string(), 3306), ("db2".to_string(), 3307)];
        assert_eq!(nodes("db1, db2:3307"), Some(two));
        assert_eq!(nodes("[::1]:3307"), Some(vec![("::1".to_string(), 3307)]));
        assert_eq!(nodes("[::1]"), Some(vec![("::1".to_string(), 3306)]));
        for wrong in ["db1,", ",", "db1:0", "db1:x", "::1", "[::1", "[db]:1", "db1,db1:3306"] {
            assert_eq!(nodes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn listeners_are_addresses_without_repeats() {
        assert_eq!(listeners("127.0.0.1:0,127.0.0.1:0,[::1]:1300").map(|l| l.len()), Some(3));
        assert_eq!(listeners(""), Some(vec![]));
        let mixed = listeners("tls://10.0.0.7:1300, tls://[::1]:1").unwrap();
        assert!(mixed.iter().all(|listen| listen.tls) && mixed[1].to_string() == "tls://[::1]:1");
        for wrong in ["tls://1300", "tls://127.0.0.1:1,127.0.0.1:1", "http://127.0.0.1:1", "tls:127.0.0.1:1"] {
            assert_eq!(listeners(wrong), None, "{wrong}");
        }
        for wrong in ["1300", "localhost", "127.0.0.1", "127.0.0.1:1300,127.0.0.1:1300", "127.0.0.1:70000", ","] {
            assert_eq!(listeners(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn host_names_have_no_port_and_no_case() {
        assert_eq!(host_names("Resq.example, b"), Some(vec!["resq.example".to_string(), "b".to_string()]));
        for wrong in ["a:1", "a,A", "http://a", "a/b", "*", "a b", "[::1]"] {
            assert_eq!(host_names(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn states_follow_the_rule_of_the_protocol() {
        assert_eq!(states("A,b_.:-9").flatten().map(|s| s.len()), Some(2));
        for wrong in ["", "*", "A b", "A,", "A,A", "É", &"x".repeat(65)] {
            assert_eq!(states(wrong), None, "{wrong}");
        }
    }
}

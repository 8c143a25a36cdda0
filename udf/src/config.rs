//! `resq_udf.conf` beside the library: the addresses of the daemons, their token, and how connections are encrypted. Never
//! read from SQL, so that no SQL user can make the database server connect anywhere. Nothing in the file is ignored: every
//! mistake is an error.

use resq::base::address::Address;
use resq::base::tls::ClientTls;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub const FILE_NAME: &str = "resq_udf.conf";
const DEFAULT_ADDRESS: &str = "127.0.0.1:1300";
const MAX_ADDRESSES: usize = 16;
const MAX_FILE_BYTES: u64 = 65_536;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The daemons' addresses: at least one, without repeats.
    pub addresses: Vec<Address>,
    /// The broker's token; empty if there is none.
    pub token: String,
    /// How connections by TCP are encrypted; None: not at all.
    pub tls: Option<ClientTls>,
}

/// Why the file cannot be used.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Read(io::Error),
    TooLarge,
    /// The file contains a token, and others can read it.
    Exposed,
    TooManyAddresses(usize),
    /// Settings of TLS that have no effect, or that lack another.
    Tls,
    /// A mistake in the line with this number, from 1.
    Line(usize, LineProblem),
}

#[derive(Debug, PartialEq, Eq)]
enum LineProblem {
    NotASetting,
    UnknownKey(String),
    InvalidAddress(String),
    InvalidTls(String),
    RelativePath(String),
    Repeated(&'static str),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Read(error) => write!(f, "cannot read it: {error}"),
            Problem::TooLarge => write!(f, "larger than {MAX_FILE_BYTES} bytes"),
            Problem::Exposed => {
                f.write_str("has a token and is accessible to others; chmod 640, with the group of the database server")
            }
            Problem::TooManyAddresses(n) => write!(f, "{n} addresses; at most {MAX_ADDRESSES}"),
            Problem::Tls => f.write_str("tls_ca needs tls = verify; tls_cert and tls_key need each other and tls"),
            Problem::Line(number, problem) => write!(f, "line {number}: {problem}"),
        }
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineProblem::NotASetting => f.write_str("expected `addr = …`, `token = …` or `tls = …`"),
            LineProblem::UnknownKey(key) => {
                write!(f, "unknown key {key:?}; expected addr, token, tls, tls_ca, tls_cert or tls_key")
            }
            LineProblem::InvalidAddress(text) => write!(f, "invalid addr {text:?}; expected host:port or unix:/path"),
            LineProblem::InvalidTls(text) => write!(f, "invalid tls {text:?}; expected off, required or verify"),
            LineProblem::RelativePath(text) => write!(f, "invalid path {text:?}; expected one that begins with /"),
            LineProblem::Repeated(key) => write!(f, "a second {key}"),
        }
    }
}

/// Reads the settings in `folder`; the defaults if it has no such file.
///
/// # Errors
/// The file cannot be read, contains a token that others can read, or contains anything but settings.
pub fn load(folder: &Path) -> Result<Config, Error> {
    let path = folder.join(FILE_NAME);
    read(&path).map_err(|problem| Error { path, problem })
}

fn read(path: &Path) -> Result<Config, Problem> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return parse(""),
        other => other.map_err(Problem::Read)?,
    };
    let mode = file.metadata().map_err(Problem::Read)?.mode();
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(Problem::Read)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::TooLarge);
    }
    let config = parse(&text)?;
    if config.token.is_empty() || mode & 0o007 == 0 { Ok(config) } else { Err(Problem::Exposed) }
}

/// The values of the keys so far.
#[derive(Default)]
struct Lines {
    addresses: Vec<Address>,
    token: Option<String>,
    tls: Option<String>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
}

/// Lines `addr = …` (several lines, or several in one, separated by commas) and one each of the other keys; `#` begins a
/// comment line.
fn parse(text: &str) -> Result<Config, Problem> {
    let mut lines = Lines::default();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if !line.is_empty() && !line.starts_with('#') {
            lines.add(line).map_err(|problem| Problem::Line(number, problem))?;
        }
    }
    let Lines { mut addresses, token, tls, tls_ca, tls_cert, tls_key } = lines;
    if addresses.is_empty() {
        addresses.extend(DEFAULT_ADDRESS.parse::<Address>());
    }
    let has_pair = tls_cert.is_some() == tls_key.is_some();
    let tls = match (tls.as_deref().unwrap_or("off"), tls_ca, tls_cert.zip(tls_key)) {
        ("off", None, None) if has_pair => None,
        ("required", None, certificate) if has_pair => Some(ClientTls { verify: false, ca: None, certificate }),
        ("verify", ca, certificate) if has_pair => Some(ClientTls { verify: true, ca, certificate }),
        _ => return Err(Problem::Tls),
    };
    match addresses.len() {
        1..=MAX_ADDRESSES => Ok(Config { addresses, token: token.unwrap_or_default(), tls }),
        n => Err(Problem::TooManyAddresses(n)),
    }
}

impl Lines {
    fn add(&mut self, line: &str) -> Result<(), LineProblem> {
        let (key, value) = line.split_once('=').ok_or(LineProblem::NotASetting)?;
        let value = value.trim();
        // The quotes of resqd's own settings file are accepted.
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        match key.trim() {
            "addr" => {
                for part in value.split(',').map(str::trim) {
                    let address = part.parse().map_err(|_| LineProblem::InvalidAddress(part.into()))?;
                    if !self.addresses.contains(&address) {
                        self.addresses.push(address);
                    }
                }
                Ok(())
            }
            "token" => once(&mut self.token, "token", value.into()),
            "tls" if !["off", "required", "verify"].contains(&value) => Err(LineProblem::InvalidTls(value.into())),
            "tls" => once(&mut self.tls, "tls", value.into()),
            "tls_ca" => once(&mut self.tls_ca, "tls_ca", path(value)?),
            "tls_cert" => once(&mut self.tls_cert, "tls_cert", path(value)?),
            "tls_key" => once(&mut self.tls_key, "tls_key", path(value)?),
            key => Err(LineProblem::UnknownKey(key.into())),
        }
    }
}

fn once<T>(place: &mut Option<T>, key: &'static str, value: T) -> Result<(), LineProblem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(LineProblem::Repeated(key)),
    }
}

/// The folder that a database server works in is not its administrator's business, so a path is absolute.
fn path(text: &str) -> Result<PathBuf, LineProblem> {
    if text.starts_with('/') { Ok(text.into()) } else { Err(LineProblem::RelativePath(text.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn shown(config: &Config) -> Vec<String> {
        config.addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn settings_are_parsed() {
        for (text, addrs, token) in [
            ("", &["127.0.0.1:1300"][..], ""),
            ("# nothing\n\n", &["127.0.0.1:1300"], ""),
            ("addr = 10.0.0.7:1300", &["10.0.0.7:1300"], ""),
            ("addr=unix:/run/resq/resq.sock\ntoken = s3cr3t = yes\n", &["unix:/run/resq/resq.sock"], "s3cr3t = yes"),
            ("addr = a:1, b:2\r\naddr = [::1]:3\naddr = a:1", &["a:1", "b:2", "[::1]:3"], ""),
            ("addr = \"localhost:1300\"\ntoken = \"t\"", &["localhost:1300"], "t"),
        ] {
            let config = parse(text).unwrap();
            assert_eq!((shown(&config), &*config.token), (addrs.iter().map(|a| a.to_string()).collect(), token));
        }
    }

    #[test]
    fn encryption_is_off_required_or_verified() {
        let tls = |text: &str| parse(text).unwrap().tls;
        let verified = ClientTls { verify: true, ..ClientTls::default() };
        let pair = Some(("/c.pem".into(), "/c.key".into()));
        for (text, expected) in [
            ("", None),
            ("tls = off", None),
            ("tls = required", Some(ClientTls::default())),
            ("tls = verify", Some(verified.clone())),
            ("tls = verify\ntls_ca = \"/ca.pem\"", Some(ClientTls { ca: Some("/ca.pem".into()), ..verified.clone() })),
            ("tls = verify\ntls_cert = /c.pem\ntls_key = /c.key", Some(ClientTls { certificate: pair, ..verified })),
        ] {
            assert_eq!(tls(text), expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_line_and_cause() {
        let many = (1..=17).map(|port| format!("addr = h:{port}\n")).collect::<String>();
        for (text, why) in [
            ("addr = 10.0.0.7", "line 1: invalid addr \"10.0.0.7\""),
            ("\naddr = h:0", "line 2: invalid addr \"h:0\""),
            ("addr = h:65536", "line 1: invalid addr"),
            ("addr = unix:relative.sock", "line 1: invalid addr"),
            ("addr = a:1,", "line 1: invalid addr \"\""),
            ("host = a", "line 1: unknown key \"host\""),
            ("# x\nwhat", "line 2: expected"),
            ("token = a\ntoken = b", "line 2: a second token"),
            ("tls = on", "line 1: invalid tls \"on\"; expected off, required or verify"),
            ("tls = verify\ntls_ca = ca.pem", "line 2: invalid path \"ca.pem\""),
            ("tls = required\ntls_ca = /ca.pem", "tls_ca needs tls = verify"),
            ("tls_ca = /ca.pem", "tls_ca needs tls = verify"),
            ("tls = verify\ntls_cert = /c.pem", "tls_ca needs tls = verify; tls_cert and tls_key need each other"),
            (
                "tls_cert = /c.pem\ntls_key = /c.key",
                "tls_ca needs tls = verify; tls_cert and tls_key need each other and tls",
            ),
            (&many, "17 addresses"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn token_that_others_can_read_is_refused() {
        let folder = std::env::temp_dir().join(format!("resq_udf-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(shown(&load(&folder).unwrap()), ["127.0.0.1:1300"]);
        let path = folder.join(FILE_NAME);
        for (text, mode, good) in [
            ("addr = a:1", 0o644, true),
            ("token = t", 0o640, true),
            ("token = t", 0o600, true),
            ("token = t", 0o644, false),
            ("token = t", 0o602, false),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = load(&folder).map_err(|error| error.to_string());
            assert_eq!(loaded.is_ok(), good, "{text:?} {mode:o}");
            assert!(loaded.err().is_none_or(|error| error.contains(FILE_NAME) && error.contains("chmod 640")));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

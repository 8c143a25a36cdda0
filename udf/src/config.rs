//! `resq_udf.conf` beside the library: where the daemons are and the token for them. Never in SQL, so that no SQL
//! user can make the server connect anywhere. Nothing in the file is ignored: what is wrong with it is named.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub const FILE_NAME: &str = "resq_udf.conf";
const DEFAULT_ADDR: &str = "127.0.0.1:1300";
const MAX_ADDRS: usize = 16;
const MAX_FILE_BYTES: u64 = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one, none twice.
    pub addrs: Vec<Addr>,
    /// Empty: none.
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// `host:port`; looked up at each attempt to connect.
    Tcp(String),
    Unix(PathBuf),
}

impl std::fmt::Display for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Addr::Tcp(addr) => f.write_str(addr),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The settings of `folder`; the defaults where it has no such file. The error names the file.
pub fn load(folder: &Path) -> Result<Config, String> {
    let path = folder.join(FILE_NAME);
    read(&path).map_err(|why| format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<Config, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return parse(""),
        other => other.map_err(|error| error.to_string())?,
    };
    let mode = file.metadata().map_err(|error| error.to_string())?.mode();
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("over {MAX_FILE_BYTES} bytes"));
    }
    let config = parse(&text)?;
    match config.token.is_empty() || mode & 0o007 == 0 {
        true => Ok(config),
        false => Err("it holds a token and others can read it; chmod 640, and the server's group".into()),
    }
}

/// Lines `addr = …` (several lines, or several by comma) and `token = …`; `#` begins a comment line.
fn parse(text: &str) -> Result<Config, String> {
    let (mut addrs, mut token) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!("line {number}: neither `addr = …` nor `token = …`"));
        };
        let value = value.trim();
        // Quotes as in resqd's own file do no harm.
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        match key.trim() {
            "addr" => {
                for part in value.split(',') {
                    let addr = addr(part.trim()).ok_or_else(|| {
                        format!("line {number}: addr {:?} is neither host:port nor unix:/path", part.trim())
                    })?;
                    if !addrs.contains(&addr) {
                        addrs.push(addr);
                    }
                }
            }
            "token" if token.is_some() => return Err(format!("line {number}: a second token")),
            "token" => token = Some(value.to_owned()),
            key => return Err(format!("line {number}: unknown key {key:?}; there are addr and token")),
        }
    }
    if addrs.is_empty() {
        addrs.extend(addr(DEFAULT_ADDR));
    }
    match addrs.len() {
        1..=MAX_ADDRS => Ok(Config { addrs, token: token.unwrap_or_default() }),
        n => Err(format!("{n} addresses, at most {MAX_ADDRS}")),
    }
}

fn addr(text: &str) -> Option<Addr> {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/').then(|| Addr::Unix(path.into()));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| Addr::Tcp(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn shown(config: &Config) -> Vec<String> {
        config.addrs.iter().map(Addr::to_string).collect()
    }

    #[test]
    fn what_the_file_may_say() {
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
    fn what_is_wrong_is_named() {
        let many = (1..=17).map(|port| format!("addr = h:{port}\n")).collect::<String>();
        for (text, why) in [
            ("addr = 10.0.0.7", "line 1: addr \"10.0.0.7\""),
            ("\naddr = h:0", "line 2: addr \"h:0\""),
            ("addr = h:65536", "line 1: addr"),
            ("addr = unix:relative.sock", "line 1: addr"),
            ("addr = a:1,", "line 1: addr \"\""),
            ("host = a", "line 1: unknown key \"host\""),
            ("# x\nwhat", "line 2: neither"),
            ("token = a\ntoken = b", "line 2: a second token"),
            (&many, "17 addresses"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
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
            let loaded = load(&folder);
            assert_eq!(loaded.is_ok(), good, "{text:?} {mode:o}");
            assert!(loaded.err().is_none_or(|error| error.contains(FILE_NAME) && error.contains("chmod 640")));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

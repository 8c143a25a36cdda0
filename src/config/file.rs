//! A settings file: from TOML text to (setting, value) pairs, or an error with the line, the key and what was expected.
//! Refuses a file that contains a secret and that others can read.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Invalid, Kind, SETTINGS, Setting, Watch, access, secret_file::refuse_if_shared};
use crate::base::text::{nearest, printable};

/// The table of the tables to watch.
const WATCH: &str = "watch";

/// More than any settings file needs. Keeps a file named by mistake (a device, a log) from being read completely.
const FILE_BYTES: u64 = 1 << 20;

/// One line of a settings file.
pub struct Entry {
    pub setting: &'static Setting,
    /// The value as it would be written after a flag.
    pub value: String,
    /// `FILE:LINE`, for messages.
    pub place: String,
}

/// What a settings file contains.
#[derive(Default)]
pub struct Contents {
    /// Its settings, in the order of the text.
    pub entries: Vec<Entry>,
    /// Its tables `[[broker.access]]`.
    pub access: Vec<access::Entry>,
    /// Its tables `[[watch]]`.
    pub watches: Vec<Watch>,
}

/// The file's contents; `None` if the file does not exist.
pub fn read(path: &Path) -> Result<Option<Contents>, Invalid> {
    let name = printable(&path.to_string_lossy()).into_owned();
    let cannot = |e: io::Error| {
        Invalid(format!("{name}: cannot read this settings file ({e}); make it readable or name another with --config"))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot(e)),
    };
    let mut text = String::new();
    (&file).take(FILE_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(Invalid(format!("{name}: larger than {FILE_BYTES} bytes; expected a settings file")));
    }
    let contents = parse(&name, &text)?;
    let is_secret = |entry: &&Entry| entry.setting.kind == Kind::Secret && !entry.value.is_empty();
    let secret = contents.entries.iter().find(is_secret).map(|entry| entry.setting.key);
    let token = contents.access.iter().any(access::Entry::has_secret).then_some(access::KEY);
    if let Some(key) = secret.or(token) {
        refuse_if_shared(&file, &name, key)?;
    }
    Ok(Some(contents))
}

/// The contents of a file's text. `name` is the file's, for messages.
pub fn parse(name: &str, text: &str) -> Result<Contents, Invalid> {
    // The Display of toml's error quotes the line, and with it a password: use the message alone.
    let at = |offset: usize| format!("{name}:{}", 1 + text[..offset.min(text.len())].matches('\n').count());
    let root = DeTable::parse(text).map_err(|e| {
        Invalid(format!("{}: not TOML: {}", at(e.span().map_or(0, |s| s.start)), printable(e.message())))
    })?;
    let Contents { mut entries, mut access, mut watches } = Contents::default();
    for (group, table) in root.get_ref() {
        let place = at(group.span().start);
        if group.get_ref() == WATCH {
            let Some(all) = table.get_ref().as_array() else {
                return Err(Invalid(format!(
                    "{place}: watch has the wrong type; expected [[watch]] in double brackets"
                )));
            };
            for one in all {
                watches.push(Watch::parse(one, &at)?);
            }
            continue;
        }
        let is_list = table.get_ref().is_array();
        let Some(table) = table.get_ref().as_table() else {
            if is_list {
                return Err(unknown_group(&place, group.get_ref()));
            }
            return Err(unknown(&place, group.get_ref()));
        };
        if !SETTINGS.iter().any(|s| s.section() == group.get_ref()) {
            return Err(unknown_group(&place, group.get_ref()));
        }
        for (key, value) in table {
            let place = at(key.span().start);
            let key = format!("{}.{}", group.get_ref(), key.get_ref());
            if key == access::KEY {
                access = access::parse(value, &at)?;
                continue;
            }
            let setting = SETTINGS.iter().find(|s| s.key == key).ok_or_else(|| unknown(&place, &key))?;
            let value = plain(setting, value)
                .ok_or_else(|| Invalid(format!("{place}: {key} has the wrong type; expected {}", wanted(setting))))?;
            entries.push(Entry { setting, value, place });
        }
    }
    Ok(Contents { entries, access, watches })
}

/// The value as it would be written after a flag, if it has the setting's type.
fn plain(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Option<String> {
    match (setting.kind, value.get_ref()) {
        (Kind::Text | Kind::Secret | Kind::SecretFile | Kind::List, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Number, DeValue::Integer(n)) => Some(i64::from_str_radix(n.as_str(), n.radix()).ok()?.to_string()),
        (Kind::List, DeValue::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            // An item that is empty or contains a comma would be split into other items.
            items.filter(|items| items.iter().all(|i| !i.is_empty() && !i.contains(','))).map(|items| items.join(","))
        }
        _ => None,
    }
}

fn wanted(setting: &Setting) -> String {
    match setting.kind {
        Kind::Number => format!("{}, without quotes", setting.expected),
        Kind::Text | Kind::Secret | Kind::SecretFile => format!("text in quotes: {}", setting.expected),
        Kind::List => format!("text, or an array of texts, in quotes: {}", setting.expected),
    }
}

fn unknown(place: &str, key: &str) -> Invalid {
    let word = key.rsplit('.').next().unwrap_or(key);
    // The right key in the wrong table is as common a mistake as a wrong key.
    let moved = SETTINGS.iter().map(|s| s.key).find(|k| k.rsplit('.').next() == Some(word));
    let hint = match moved.or_else(|| nearest(key, SETTINGS.iter().map(|s| s.key))) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", all(SETTINGS.iter().map(|s| s.key))),
    };
    Invalid(format!("{place}: unknown setting {}; {hint}", printable(key)))
}

fn unknown_group(place: &str, group: &str) -> Invalid {
    let hint = match nearest(group, SETTINGS.iter().map(Setting::section).chain([WATCH])) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("known are {}", all(SETTINGS.iter().map(Setting::section).chain([WATCH]))),
    };
    Invalid(format!("{place}: unknown table [{}]; {hint}", printable(group)))
}

fn all<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(&'static str, String)>, String> {
        match parse("f", text) {
            Ok(contents) => Ok(contents.entries.into_iter().map(|e| (e.setting.key, e.value)).collect()),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn values_become_the_text_that_a_flag_would_give() {
        let text = "[queue]\nworkers = 0x10\npoll_ms = 1_000\n[broker]\nstates = ['A', 'B']\nlisten = 'x,y'\n";
        let mut entries = parsed(text).unwrap();
        entries.sort();
        let expected =
            [("broker.listen", "x,y"), ("broker.states", "A,B"), ("queue.poll_ms", "1000"), ("queue.workers", "16")];
        assert_eq!(entries, expected.map(|(k, v)| (k, v.to_string())));
        assert_eq!(parsed("database.port = 3307\n").unwrap(), [("database.port", "3307".to_string())]);
        assert_eq!(parsed("# nothing\n").unwrap(), []);
    }

    #[test]
    fn a_mistake_is_reported_with_line_key_and_expected_value() {
        for (text, reported) in [
            ("\n[database]\nprot = 1\n", "f:3: unknown setting database.prot; did you mean database.port?"),
            ("[database]\nworkers = 1\n", "f:2: unknown setting database.workers; did you mean queue.workers?"),
            ("workers = 1\n", "f:1: unknown setting workers; did you mean queue.workers?"),
            ("[quue]\nworkers = 1\n", "f:1: unknown table [quue]; did you mean [queue]?"),
            (
                "[zzzzzzzzz]\n",
                "f:1: unknown table [zzzzzzzzz]; known are database, sql, queue, broker, http, client, events, watch",
            ),
            (
                "[queue]\nworkers = '5'\n",
                "f:2: queue.workers has the wrong type; expected a number from 1 to 1024, without quotes",
            ),
            ("[queue]\nworkers = 5.5\n", "f:2: queue.workers has the wrong type"),
            ("[database]\nhost = 1\n", "f:2: database.host has the wrong type; expected text in quotes: a host name"),
            ("[broker]\nstates = ['A,B']\n", "f:2: broker.states has the wrong type"),
            ("[database.host]\nx = 1\n", "f:1: database.host has the wrong type"),
            ("[database]\nhost = 'a'\nhost = 'b'\n", "f:3: not TOML: duplicate key"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.starts_with(reported), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_syntax_error_is_reported_without_the_password_in_its_line() {
        let message = parsed("[database]\npassword = \"hunter2\n").unwrap_err();
        assert!(message.starts_with("f:2: not TOML"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(text in "(\\[?[a-z.]{0,9}\\]?( = ('\\PC{0,4}'|[0-9]{1,3}|\\[\\]|.{0,4}))?\n?){0,6}") {
            if let Err(message) = parsed(&text) {
                proptest::prop_assert!(message.starts_with("f:") && !message.chars().any(char::is_control), "{message:?}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_a_secret_that_root_gave_to_a_group_may_be_read_by_it() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resq.toml");
        std::fs::write(&path, "[database]\npassword = 'x'\n").unwrap();
        if chown(&path, Some(0), Some(1)).is_err() {
            return println!("only root can give a file to another group");
        }
        for (mode, right) in [(0o640, true), (0o440, true), (0o660, false), (0o644, false), (0o641, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), right, "{mode:o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_a_secret_is_refused_if_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resq.toml");
        for (text, mode, right) in [
            ("[database]\npassword = 'x'\n", 0o600, true),
            ("[database]\npassword = 'x'\n", 0o644, false),
            ("[database]\npassword = 'x'\n", 0o640, false),
            ("[broker]\ntoken = 'x'\n", 0o604, false),
            ("[broker]\ntoken_file = '/x'\n", 0o644, true),
            ("[database]\npassword = ''\n", 0o644, true),
            ("[database]\nhost = 'x'\n", 0o644, true),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let result = read(&path).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(result.is_ok(), right, "{text:?} {mode:o}: {result:?}");
        }
    }
}

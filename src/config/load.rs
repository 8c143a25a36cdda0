//! Precedence: a flag over the environment over the file over the default; and which settings of weaker sources a
//! stronger one overrides. Reads the environment through a function, so that tests need no process of their own, and of
//! the files with secrets only those that no stronger source overrides.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Config, Invalid, Kind, SETTINGS, Setting, file, secret_file, taken, together, watch};
use crate::base::text::printable;

/// The settings file that is read if it exists and neither `--config` nor `RESQ_CONFIG` names another.
pub const DEFAULT_FILE: &str = "/etc/resq/resq.toml";

/// The sources of the settings.
pub struct Sources<'a> {
    /// The sections and single settings that the program accepts as flags and from the environment.
    pub takes: &'a [&'a str],
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The value of an environment variable. An empty one counts as unset, as compose files and unit files write it.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Flags in the order given, each a setting that the program accepts.
    pub flags: &'a [(&'static Setting, String)],
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    #[default]
    Default,
    File,
    Environment,
    Flag,
}

/// Where each setting that is not the default came from.
type Strengths = BTreeMap<&'static str, Strength>;

/// The settings of a program.
#[derive(Debug)]
pub struct Loaded {
    /// The validated settings.
    pub config: Config,
    /// The settings whose secret was read from a file that every user of the machine can read.
    pub public_secrets: Vec<&'static str>,
}

/// A setting's value in one source.
struct Given {
    setting: &'static Setting,
    /// As it would be written after a flag.
    value: String,
    /// Where it was found, for messages.
    place: String,
    strength: Strength,
}

/// Loads and validates the settings. The whole file is checked, including settings that this program does not take.
///
/// # Errors
/// An unreadable file, an unknown or repeated setting, an invalid value, or contradictory settings.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Invalid> {
    let mut loaded = Loaded { config: Config::default(), public_secrets: Vec::new() };
    let mut strengths = Strengths::new();
    let file::Contents { entries, access, watches } = from_file(sources)?;
    let all = from_weak_to_strong(sources, entries)?;
    for (at, Given { setting, value, place, strength }) in all.iter().enumerate() {
        strengths.insert(setting.key, *strength);
        let mut value = value.clone();
        if setting.kind == Kind::SecretFile {
            if all.iter().any(|other| is_alternative(other, setting, *strength)) {
                return Err(Invalid(format!(
                    "{place}: the same secret is also given without a file; keep one of the two"
                )));
            }
            if all[at + 1..].iter().any(|stronger| stronger.setting.gives() == setting.gives()) {
                continue;
            }
            let found = secret_file::read(Path::new(&value), place, true)?;
            value = found.secret;
            loaded.public_secrets.extend(found.is_public.then_some(setting.key));
        }
        if !(setting.set)(&mut loaded.config, &value) {
            return Err(invalid(setting, &value, place));
        }
    }
    // The tokens of others concern the daemon alone.
    for entry in access.into_iter().filter(|_| sources.takes.contains(&"broker")) {
        let (access, is_public) = entry.load()?;
        loaded.public_secrets.extend(is_public.then_some("broker.access.token_file"));
        loaded.config.broker.access.push(access);
    }
    let config = &mut loaded.config;
    config.http.is_default = !strengths.contains_key("http.listen");
    drop_overridden(config, &strengths);
    config.watches = watches;
    watch::check(config)?;
    together::check(config, sources.takes)?;
    Ok(loaded)
}

/// The values of all sources; a setting's strongest one is its last.
fn from_weak_to_strong(sources: &Sources<'_>, entries: Vec<file::Entry>) -> Result<Vec<Given>, Invalid> {
    // Of the files with secrets, a program reads those that it takes itself or whose secret it takes.
    let is_used =
        |s: &Setting| s.kind != Kind::SecretFile || taken(s, sources.takes) || sources.takes.contains(&s.gives());
    let mut all: Vec<Given> = entries
        .into_iter()
        .filter(|entry| is_used(entry.setting))
        .map(|file::Entry { setting, value, place }| Given {
            setting,
            value,
            place: format!("{place}: {}", setting.key),
            strength: Strength::File,
        })
        .collect();
    for setting in SETTINGS.iter().filter(|s| taken(s, sources.takes)) {
        if let Some((name, value)) = setting.env.and_then(|name| Some((name, given(sources, name)?))) {
            all.push(Given { setting, value, place: name.into(), strength: Strength::Environment });
        }
    }
    for (setting, value) in one_each(sources.flags)? {
        let place = setting.flag.unwrap_or_default().into();
        all.push(Given { setting, value, place, strength: Strength::Flag });
    }
    Ok(all)
}

/// Whether `other` gives, in the same source and under the same name, the secret that the file of `setting` contains.
fn is_alternative(other: &Given, setting: &Setting, strength: Strength) -> bool {
    let is_same = match (strength, setting.env, other.setting.env) {
        (Strength::Environment, Some(name), Some(other)) => name.strip_suffix("_FILE") == Some(other),
        _ => setting.key.strip_suffix("_file") == Some(other.setting.key),
    };
    other.strength == strength && is_same
}

/// The values of the flags: those of a list are joined, a secret is read from its file. Any other flag given twice is an
/// error.
fn one_each(flags: &[(&'static Setting, String)]) -> Result<Vec<(&'static Setting, String)>, Invalid> {
    let mut values: Vec<(&'static Setting, String)> = Vec::new();
    for (setting, value) in flags {
        let flag = setting.flag.unwrap_or_default();
        let value = match setting.kind {
            Kind::Secret => secret_file::read(Path::new(value), flag, false)?.secret,
            _ => value.clone(),
        };
        match values.iter_mut().find(|(other, _)| other.key == setting.key) {
            None => values.push((setting, value)),
            Some((_, values)) if setting.kind == Kind::List => *values = format!("{values},{value}"),
            Some(_) => return Err(Invalid(format!("{flag} is given twice"))),
        }
    }
    Ok(values)
}

fn given(sources: &Sources<'_>, name: &str) -> Option<String> {
    (sources.env)(name).filter(|value| !value.is_empty())
}

fn from_file(sources: &Sources<'_>) -> Result<file::Contents, Invalid> {
    let named = sources.file.clone().or_else(|| given(sources, "RESQ_CONFIG").map(PathBuf::from));
    match named {
        Some(path) => file::read(&path)?.ok_or_else(|| {
            Invalid(format!("{}: this settings file does not exist", printable(&path.to_string_lossy())))
        }),
        None => Ok(file::read(Path::new(DEFAULT_FILE))?.unwrap_or_default()),
    }
}

/// `--host` wins over a socket in the file; the same holds for the three ways to address the database.
fn drop_overridden(config: &mut Config, strengths: &Strengths) {
    let strength = |key| strengths.get(key).copied().unwrap_or_default();
    let client = strength("client.host").max(strength("client.port"));
    let database = strength("database.host").max(strength("database.port"));
    let (socket, hosts) = (strength("database.socket"), strength("database.hosts"));
    if client > strength("client.socket") {
        config.client.socket = None;
    }
    if database.max(hosts) > socket {
        config.database.socket = None;
    }
    if database.max(socket) > hosts {
        config.database.hosts.clear();
    }
}

fn invalid(setting: &Setting, value: &str, place: &str) -> Invalid {
    let value = match setting.kind {
        Kind::Secret | Kind::SecretFile => "(hidden)".into(),
        _ => format!("\"{}\"", printable(value)),
    };
    Invalid(format!("{place}: invalid value {value}; expected {}", setting.expected))
}

#[cfg(test)]
mod tests;

//! Normalizes a command line into the one form that argh accepts: `--x=y` is split, `-vv` is counted, a repeating option may
//! be followed by several values, options may stand on either side of a subcommand, positionals follow `--`. Removes
//! the options that all programs share, and the settings. Pure: words in, words out.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use crate::{
    base::text::{nearest, printable},
    config::{SETTINGS, Setting, taken},
};

/// What a command line requests.
pub enum Request {
    /// The help of the program or of this subcommand.
    Help(Option<String>),
    /// The version.
    Version,
    /// A page or completion of the program, by its name.
    Generate(String),
    /// To run the program.
    Run(Invocation),
}

/// A parsed command line.
#[derive(Clone, Default)]
pub struct Invocation {
    /// `--config`.
    pub config: Option<String>,
    /// `--log-file`.
    pub log_file: Option<String>,
    /// The number of `-v`.
    pub verbosity: usize,
    /// The settings with their values, in order.
    pub settings: Vec<(&'static Setting, String)>,
    /// The rest, for argh.
    pub args: Vec<String>,
}

/// A command line that is refused; the message says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(pub String);

/// The options of a program.
pub struct Grammar<'a> {
    /// The settings that it accepts: sections or single keys.
    pub takes: &'a [&'a str],
    /// argh's description of the program. An option of several subcommands must have the same kind in all of them.
    pub info: &'a CommandInfoWithArgs,
}

/// What handles an option.
#[derive(Clone, Copy)]
enum Owner {
    Help,
    Version,
    Generate,
    Verbose,
    Config,
    LogFile,
    Setting(&'static Setting),
    /// argh, by this long name.
    Argh(&'static str),
}

/// What follows an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arity {
    Switch,
    Value,
    /// One value or several: all words up to the next option.
    Values,
}

enum Item {
    Word(String),
    Option { name: String, owner: Owner, values: Vec<String> },
}

const VERSION: &str = "--version";

const SHARED: [(&str, Owner, Arity); 9] = [
    ("--help", Owner::Help, Arity::Switch),
    ("-h", Owner::Help, Arity::Switch),
    (VERSION, Owner::Version, Arity::Switch),
    ("-V", Owner::Version, Arity::Switch),
    ("--generate", Owner::Generate, Arity::Value),
    ("--verbose", Owner::Verbose, Arity::Switch),
    ("-v", Owner::Verbose, Arity::Switch),
    ("--config", Owner::Config, Arity::Value),
    ("--log-file", Owner::LogFile, Arity::Value),
];

impl Grammar<'_> {
    /// Parses a command line without the program's name.
    ///
    /// # Errors
    /// The first mistake, as a message for the user.
    pub fn parse(&self, words: &[String]) -> Result<Request, Mistake> {
        let mut items = self.items(words)?;
        let mut invocation = Invocation::default();
        let subcommand = self.take_subcommand(&mut items)?;
        let wants_help = |item: &Item| matches!(item, Item::Option { owner: Owner::Help, .. });
        if items.iter().any(wants_help) {
            return Ok(Request::Help(subcommand.map(|s| s.name.to_string())));
        }
        let (mut outer, mut inner, mut positionals) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            let (name, owner, values) = match item {
                Item::Word(word) => {
                    positionals.push(word);
                    continue;
                }
                Item::Option { name, owner, values } => (name, owner, values),
            };
            match owner {
                Owner::Help => {} // handled above
                Owner::Version => return Ok(Request::Version),
                Owner::Generate => return Ok(Request::Generate(values.concat())),
                Owner::Verbose => invocation.verbosity += 1,
                Owner::Config => once(&mut invocation.config, &name, values)?,
                Owner::LogFile => once(&mut invocation.log_file, &name, values)?,
                Owner::Setting(setting) => invocation.settings.extend(values.into_iter().map(|v| (setting, v))),
                Owner::Argh(long) => {
                    let its = |info: &CommandInfoWithArgs| info.flags.iter().any(|f| f.long == long);
                    let args = match subcommand {
                        _ if its(self.info) => &mut outer,
                        Some(subcommand) if its(subcommand) => &mut inner,
                        Some(subcommand) => {
                            return Err(Mistake(format!("{name} is not an option of '{}'", subcommand.name)));
                        }
                        None => return Err(Mistake(format!("{name} is an option of a subcommand, and none is given"))),
                    };
                    match values.is_empty() {
                        true => args.push(long.to_string()),
                        false => args.extend(values.into_iter().flat_map(|v| [long.to_string(), v])),
                    }
                }
            }
        }
        if !positionals.is_empty() {
            // So that argh takes no name for an option, and takes `help` for a name.
            positionals.insert(0, "--".into());
        }
        let subcommand = subcommand.map(|s| s.name.to_string()).into_iter().collect();
        invocation.args = [outer, subcommand, inner, positionals].concat();
        Ok(Request::Run(invocation))
    }

    /// Words and options with their values, in order.
    fn items(&self, words: &[String]) -> Result<Vec<Item>, Mistake> {
        let mut items = Vec::new();
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if word == "--" {
                items.extend(rest.iter().cloned().map(Item::Word));
                break;
            }
            if !is_option(word) {
                items.push(Item::Word(word.clone()));
                continue;
            }
            if let Some(switches) = self.cluster(word) {
                items.extend(switches);
                continue;
            }
            let (name, attached) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
            let has_value = attached.is_some() || rest.first().is_some_and(|next| !is_option(next));
            let (owner, arity) = match has_value && self.is_of_subcommand(name, &items) {
                true => (Owner::Argh(VERSION), Arity::Value),
                false => self.option(name).ok_or_else(|| self.unknown(name))?,
            };
            let mut values: Vec<String> = attached.map(str::to_string).into_iter().collect();
            match (arity, attached) {
                (Arity::Switch, Some(_)) => return Err(Mistake(format!("{name} takes no value"))),
                (Arity::Value | Arity::Values, None) => {
                    let (value, after) = rest.split_first().filter(|(v, _)| !self.is_known(v)).ok_or_else(|| {
                        Mistake(format!("{name} needs a value; write one that looks like an option as {name}=VALUE"))
                    })?;
                    values.push(value.clone());
                    rest = after;
                }
                _ => {}
            }
            if arity == Arity::Values {
                let more = rest.iter().take_while(|w| !is_option(w)).count();
                values.extend_from_slice(&rest[..more]);
                rest = &rest[more..];
            }
            items.push(Item::Option { name: name.into(), owner, values });
        }
        Ok(items)
    }

    /// Whether `name` is `--version` behind a subcommand that has an option of this name. Without a value it prints the
    /// program's version there, too.
    fn is_of_subcommand(&self, name: &str, before: &[Item]) -> bool {
        let command = before.iter().find_map(|item| match item {
            Item::Word(word) => self.info.commands.iter().find(|command| command.name == *word),
            Item::Option { .. } => None,
        });
        name == VERSION && command.is_some_and(|found| found.command.flags.iter().any(|flag| flag.long == VERSION))
    }

    /// `-vv` or `-vj` as single switches, if all of them are known.
    fn cluster(&self, word: &str) -> Option<Vec<Item>> {
        let letters = word.strip_prefix('-').filter(|l| !l.starts_with('-') && l.chars().nth(1).is_some())?;
        let switch = |letter: char| {
            let name = format!("-{letter}");
            let (owner, arity) = self.option(&name)?;
            (arity == Arity::Switch).then_some(Item::Option { name, owner, values: Vec::new() })
        };
        letters.chars().map(switch).collect()
    }

    /// The option of this name (`--x`, `-x`) of the program or of any subcommand.
    fn option(&self, name: &str) -> Option<(Owner, Arity)> {
        if let Some((_, owner, arity)) = SHARED.iter().find(|(n, ..)| *n == name) {
            return Some((*owner, *arity));
        }
        if let Some(setting) = self.settings().find(|s| s.flag == Some(name)) {
            return Some((Owner::Setting(setting), Arity::Value));
        }
        self.commands().find_map(|info| {
            let flag = info.flags.iter().find(|f| f.long == name || is_short(f, name))?;
            let arity = match (&flag.kind, &flag.optionality) {
                (FlagInfoKind::Switch, _) => Arity::Switch,
                // Next to positionals or subcommands, further words would be ambiguous.
                (_, Optionality::Repeating) if info.positionals.is_empty() && info.commands.is_empty() => Arity::Values,
                _ => Arity::Value,
            };
            Some((Owner::Argh(flag.long), arity))
        })
    }

    fn is_known(&self, word: &str) -> bool {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        word == "--" || (is_option(word) && (self.option(name).is_some() || self.cluster(word).is_some()))
    }

    fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|s| taken(s, self.takes))
    }

    fn commands(&self) -> impl Iterator<Item = &CommandInfoWithArgs> {
        std::iter::once(self.info).chain(self.info.commands.iter().map(|c| &c.command))
    }

    /// Removes the first word, if the program has subcommands; `help [SUBCOMMAND]` becomes `--help`.
    fn take_subcommand(&self, items: &mut Vec<Item>) -> Result<Option<&CommandInfoWithArgs>, Mistake> {
        if self.info.commands.is_empty() {
            return Ok(None);
        }
        let mut asked_for_help = false;
        while let Some(at) = items.iter().position(|item| matches!(item, Item::Word(_))) {
            let Item::Word(word) = items.remove(at) else { continue };
            if word == "help" && !asked_for_help {
                asked_for_help = true;
                items.push(Item::Option { name: word, owner: Owner::Help, values: Vec::new() });
                continue;
            }
            let names = || self.info.commands.iter().map(|c| c.name);
            let found = self.info.commands.iter().find(|c| c.name == word).ok_or_else(|| {
                let hint = nearest(&word, names()).map(|near| format!("; did you mean '{near}'?"));
                let list = || format!("; known are {}", names().collect::<Vec<_>>().join(", "));
                Mistake(format!("unknown subcommand '{}'{}", printable(&word), hint.unwrap_or_else(list)))
            })?;
            return Ok(Some(&found.command));
        }
        Ok(None)
    }

    fn unknown(&self, name: &str) -> Mistake {
        let lower = name.to_ascii_lowercase();
        if lower.contains("password") || lower.contains("token") {
            return Mistake(format!(
                "unknown option {}; secrets are never taken from a command line, use MYSQL_PASSWORD, RESQ_TOKEN, \
                 --token-file or a settings file",
                printable(name)
            ));
        }
        let argh = self.commands().flat_map(|c| c.flags).map(|f| f.long);
        let all = SHARED
            .iter()
            .map(|(n, ..)| *n)
            .filter(|n| n.len() > 2)
            .chain(self.settings().filter_map(|s| s.flag))
            .chain(argh);
        let hint = nearest(name, all).map(|near| format!("; did you mean {near}?"));
        Mistake(format!("unknown option {}{}", printable(name), hint.unwrap_or_default()))
    }
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1
}

fn is_short(flag: &FlagInfo<'_>, name: &str) -> bool {
    let mut letters = name.strip_prefix('-').unwrap_or_default().chars();
    flag.short.is_some() && letters.next() == flag.short && letters.next().is_none()
}

fn once(place: &mut Option<String>, name: &str, values: Vec<String>) -> Result<(), Mistake> {
    match place.is_some() {
        true => Err(Mistake(format!("{name} is given twice"))),
        false => {
            *place = values.into_iter().next();
            Ok(())
        }
    }
}

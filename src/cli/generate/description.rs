//! What pages and completions are made from: a program's options, subcommands and settings in one form, with what completes
//! the value of an option. Never formats.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use crate::{
    cli::{Program, help::SHARED},
    config::{Kind, SETTINGS, Setting, taken},
};

/// A program, as its page and its completions describe it.
pub struct Description<'a> {
    pub program: &'a Program,
    pub info: CommandInfoWithArgs,
}

/// One option.
pub struct Flag {
    /// `--count`.
    pub long: String,
    pub short: Option<char>,
    /// The placeholder of its value; None: a switch.
    pub value: Option<String>,
    pub about: String,
    pub is_required: bool,
    pub may_repeat: bool,
}

/// What completes a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Values<'a> {
    Files,
    Words(Vec<&'a str>),
    Unknown,
}

impl<'a> Description<'a> {
    pub fn of<A: ArgsInfo>(program: &'a Program) -> Description<'a> {
        Description { program, info: A::get_args_info() }
    }

    /// The program's own options.
    pub fn flags(&self) -> Vec<Flag> {
        own_flags(&self.info)
    }

    /// The subcommands with their options.
    pub fn commands(&self) -> impl Iterator<Item = (&CommandInfoWithArgs, Vec<Flag>)> {
        self.info.commands.iter().map(|sub| (&sub.command, own_flags(&sub.command)))
    }

    /// The options that all programs share.
    pub fn shared_flags(&self) -> Vec<Flag> {
        let flag = |&(long, short, value, about): &(&str, Option<char>, Option<&str>, &str)| Flag {
            long: long.into(),
            short,
            value: value.map(Into::into),
            about: about.into(),
            is_required: false,
            may_repeat: long == "--verbose",
        };
        SHARED.iter().map(flag).collect()
    }

    pub fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| taken(setting, self.program.takes))
    }

    /// The settings that can be given as options.
    fn setting_flags(&self) -> Vec<Flag> {
        self.settings().filter_map(setting_flag).collect()
    }

    /// All options that are valid with every subcommand.
    pub fn common_flags(&self) -> Vec<Flag> {
        [self.flags(), self.shared_flags(), self.setting_flags()].into_iter().flatten().collect()
    }
}

fn setting_flag(setting: &Setting) -> Option<Flag> {
    let usage = setting.flag_usage()?;
    let (long, value) = usage.split_once(' ')?;
    Some(Flag {
        long: long.into(),
        short: None,
        value: Some(value.into()),
        about: format!("{}: {}", setting.about, setting.expected),
        is_required: false,
        may_repeat: setting.kind == Kind::List,
    })
}

/// `--help` is among the shared ones.
fn own_flags(info: &CommandInfoWithArgs) -> Vec<Flag> {
    let visible = |flag: &&FlagInfo<'_>| !flag.hidden && flag.long != "--help";
    let flag = |flag: &FlagInfo<'_>| Flag {
        long: flag.long.into(),
        short: flag.short,
        value: match flag.kind {
            FlagInfoKind::Switch => None,
            FlagInfoKind::Option { arg_name } => Some(arg_name.to_uppercase().replace('-', "_")),
        },
        about: flag.description.into(),
        is_required: flag.optionality == Optionality::Required,
        may_repeat: flag.optionality == Optionality::Repeating,
    };
    info.flags.iter().filter(visible).map(flag).collect()
}

impl Flag {
    /// `-v` and `--verbose`.
    pub fn names(&self) -> Vec<String> {
        self.short.map(|short| format!("-{short}")).into_iter().chain([self.long.clone()]).collect()
    }

    /// What may follow it, from its description.
    pub fn values(&self) -> Values<'_> {
        let about = self.about.as_str();
        if matches!(self.value.as_deref(), Some("FILE" | "PROGRAM"))
            || about.contains(": the path of ")
            || about.contains(": a path of ")
        {
            return Values::Files;
        }
        let listed = about.rsplit(": ").next().unwrap_or_default();
        let words: Vec<&str> = listed.split(", ").flat_map(|part| part.split(" or ")).collect();
        let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-');
        if words.len() > 1 && listed.contains(" or ") && words.iter().all(is_word) {
            return Values::Words(words);
        }
        Values::Unknown
    }
}

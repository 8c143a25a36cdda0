//! Made from the options of a small program, since those of the real ones are tested with the real tools.

use super::{
    description::{Flag, Values},
    text,
};
use crate::{
    cli::{Program, tests::Nested},
    config::{Config, SETTINGS, Sources, load},
};

const PROGRAM: Program = Program { name: "p", takes: &["client"], handles_signals: false, commit: None };

#[test]
fn every_page_and_completion_has_every_option() {
    for kind in ["man", "bash", "zsh", "fish"] {
        let text = text::<Nested>(&PROGRAM, kind).unwrap().replace('\\', "");
        for part in ["add", "list", "tag", "limit", "quiet", "config", "verbose", "host"] {
            assert!(text.contains(part), "{kind}: {part} is missing in:\n{text}");
        }
    }
    assert_eq!(text::<Nested>(&PROGRAM, "nonsense"), None);
}

#[test]
fn settings_page_and_file_have_every_setting() {
    let page = text::<Nested>(&PROGRAM, "settings-man").unwrap();
    let file = text::<Nested>(&PROGRAM, "settings-file").unwrap();
    for setting in SETTINGS {
        let key = setting.key.split_once('.').unwrap().1;
        assert!(page.contains(&format!("\\fB{}\\fR", setting.key.replace('-', "\\-"))), "{}", setting.key);
        assert!(file.contains(&format!("\n#{key} = ")), "{}", setting.key);
    }
}

#[test]
fn settings_file_sets_the_defaults_and_its_lines_may_be_uncommented() {
    let text = text::<Nested>(&PROGRAM, "settings-file").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resq.toml");
    let loaded = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load(&Sources { takes: &["database"], file: Some(path.clone()), env: &|_| None, flags: &[] }).unwrap().config
    };
    assert_eq!(loaded(&text), Config::default());
    let uncommented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).or(Some(line)))
        .filter(|line| !line.ends_with("\"\"") && !line.ends_with("[]"))
        .collect();
    let mut config = loaded(&uncommented.join("\n"));
    assert!(!config.http.is_default, "an address that a file names is a choice");
    config.http.is_default = true;
    assert_eq!(config, Config::default());
}

#[test]
fn values_are_completed_as_their_description_says() {
    let flag = |value: &str, about: &str| Flag {
        long: "--x".into(),
        short: None,
        value: Some(value.into()),
        about: about.into(),
        is_required: false,
        may_repeat: false,
    };
    for (value, about, values) in [
        ("VALUE", "encryption: off, preferred or verify", Values::Words(vec!["off", "preferred", "verify"])),
        (
            "STATUS",
            "only jobs of this status: new, in_progress, done or error",
            Values::Words(vec!["new", "in_progress", "done", "error"]),
        ),
        ("FILE", "anything", Values::Files),
        ("VALUE", "folder: the path of a folder", Values::Files),
        ("VALUE", "host: a host name or an address", Values::Unknown),
        ("N", "maximum number", Values::Unknown),
    ] {
        assert_eq!(flag(value, about).values(), values, "{about}");
    }
}

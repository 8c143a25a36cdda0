//! The manual page of the settings file, and a settings file that explains itself.

use super::man;
use crate::config::{Kind, SETTINGS, Setting};

/// Columns of a line of the settings file.
const WIDTH: usize = 100;

const EXAMPLE: &str = "\
[database]
host = \"db1.example\"
user = \"resq\"
password_file = \"/etc/resq/password\"

[queue]
workers = 8";

/// `resq.toml(5)`.
pub fn page() -> String {
    let mut page = man::head("resq.toml", 5);
    let name = man::text("resq.toml - settings of resqd, resqctl, resq-client and resq-trigger");
    page += &format!(".SH NAME\n{name}.SH DESCRIPTION\n");
    page += &man::text(
        "A file in the TOML format. Each program uses its part and checks the whole file: a mistake ends it with exit code 2 \
         and a message that names the line, the key and what was expected. The file is the one that --config names, else \
         RESQ_CONFIG, else /etc/resq/resq.toml. Command-line options and environment variables are stronger than the file.",
    );
    page += &man::paragraph(
        "A file that contains a password or token and that its group or others can read is refused, unless root gave it to \
         a group (mode 0640). Settings that name a file with a secret accept any mode; one line end at the file's end does \
         not belong to the secret.",
    );
    page += &format!(".SH EXAMPLE\n.nf\n{EXAMPLE}\n.fi\n.SH SETTINGS\n");
    for (section, settings) in sections() {
        page += &format!(".SS [{}]\n", man::escaped(section));
        page += &settings.iter().map(|setting| man::setting(setting)).collect::<String>();
    }
    page + &man::see_also("resq.toml")
}

/// A settings file with every setting, commented out.
pub fn file() -> String {
    let mut text = "# Settings of resqd, resqctl, resq-client and resq-trigger; see resq.toml(5).\n\
                    # Every setting has its default here, or nothing. To change one, remove the # before its key.\n"
        .to_string();
    for (section, settings) in sections() {
        text += &format!("\n[{section}]\n");
        for setting in settings {
            let about = format!("{}: {}", setting.about, setting.expected);
            text += &man::filled(&about, WIDTH).iter().map(|line| format!("# {line}\n")).collect::<String>();
            text += &format!("#{} = {}\n", key(setting), value(setting));
        }
    }
    text
}

fn key(setting: &Setting) -> &str {
    setting.key.split_once('.').map_or(setting.key, |(_, key)| key)
}

/// The default in TOML; an empty value where there is none.
fn value(setting: &Setting) -> String {
    let items = || setting.default.split(',').filter(|item| !item.is_empty()).map(|item| format!("{item:?}"));
    match setting.kind {
        Kind::Number => setting.default.into(),
        Kind::List => format!("[{}]", items().collect::<Vec<_>>().join(", ")),
        Kind::Text | Kind::Secret | Kind::SecretFile => format!("{:?}", setting.default),
    }
}

/// The settings by section, in their order.
fn sections() -> Vec<(&'static str, Vec<&'static Setting>)> {
    let mut sections: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in SETTINGS {
        match sections.iter_mut().find(|(name, _)| *name == setting.section()) {
            Some((_, settings)) => settings.push(setting),
            None => sections.push((setting.section(), vec![setting])),
        }
    }
    sections
}

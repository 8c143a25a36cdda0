//! The reference of all settings as Markdown, for `docs/settings.md`. Pure; a test compares it with that page.

use std::fmt::Write;

use super::SETTINGS;

/// One table per section of the settings file: setting, variable, flag, default, meaning, accepted values.
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section() != section {
            section = setting.section();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n### `[{section}]`\n\n| setting | environment | flag | default | meaning | values |\n|---|---|---|---|---|---|\n"
            );
        }
        let code = |name: Option<&str>| name.map_or(String::new(), |name| format!("`{name}`"));
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            setting.key,
            code(setting.env),
            code(setting.flag_usage().as_deref()),
            code(Some(setting.default).filter(|default| !default.is_empty())),
            setting.about,
            setting.expected,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    const BEGIN: &str = "<!-- begin: generated from src/config/settings.rs -->\n";
    const END: &str = "\n<!-- end: generated -->";

    /// `RESQ_BLESS=1 cargo test --lib settings_page` writes the tables into the page, between its two marks.
    #[test]
    fn settings_page_holds_the_reference() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("docs/settings.md lacks the mark of the tables' beginning");
        let (tables, after) = rest.split_once(END).expect("docs/settings.md lacks the mark of the tables' end");
        if std::env::var_os("RESQ_BLESS").is_some() {
            std::fs::write(PAGE, format!("{before}{BEGIN}{}{END}{after}", reference())).unwrap();
            return;
        }
        assert!(tables == reference(), "docs/settings.md is out of date: RESQ_BLESS=1 cargo test --lib settings_page");
    }
}

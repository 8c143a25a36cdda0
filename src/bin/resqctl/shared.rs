//! What several commands need: checked ids, counted nouns, a progress bar.

use resq::cli::{Exit, Failure};

/// Refuses a call without the res_ids that it needs.
pub fn need_ids(ids: &[u64], what: &str) -> Result<(), Failure> {
    if ids.is_empty() {
        Err(Failure::new(Exit::Usage, format!("missing argument: {what} (see resqctl list)")))
    } else {
        Ok(())
    }
}

/// `1 job`, `2 jobs`.
pub fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// A progress bar; invisible unless standard error is a terminal.
pub fn bar(length: u64) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    indicatif::ProgressBar::new(length).with_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()))
}

//! Words for people: text from outside made safe to print, the nearest right word to a wrong one, and times as
//! RFC 3339. Pure functions; nothing here prints.

use std::{borrow::Cow, fmt::Write};

/// The text with every character that could move the cursor, end the line or turn the writing direction escaped,
/// so that nobody's name or payload can forge a line on a terminal or in a log.
///
/// ```
/// assert_eq!(resq::base::text::printable("a\n\u{1b}[31mb"), "a\\n\\u{1b}[31mb");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    // Controls (C0, DEL, C1); then the line and paragraph separators and the marks that reorder or hide text.
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The candidate that a typing error most likely meant, or none if all are too far off. Letters' case doesn't count.
///
/// ```
/// assert_eq!(resq::base::text::nearest("Eror", ["Error", "Completed"]), Some("Error"));
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    // A word from outside may be long; no candidate of ours is, and the comparison is quadratic.
    if wanted.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| {
            let given: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            (distance(&wanted, &given), given.len(), candidate)
        })
        .filter(|(errors, len, _)| *errors <= 1 + len.max(&wanted.len()) / 4 && errors < len)
        .min_by_key(|(errors, ..)| *errors)
        .map(|(.., candidate)| candidate)
}

/// How many letters must be added, removed, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// Microseconds since 1970 as `2026-11-21T19:00:01.123456Z`.
///
/// ```
/// assert_eq!(resq::base::text::utc(1_795_287_601_123_456), "2026-11-21T19:00:01.123456Z");
/// ```
pub fn utc(unix_time_us: u64) -> String {
    let (seconds, us) = (unix_time_us / 1_000_000, unix_time_us % 1_000_000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(27);
    // Writing to a String cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z");
    text
}

/// Days since 1970-01-01 as a date: Howard Hinnant's `civil_from_days`, for days after the epoch. Years start in
/// March there, so that the leap day is a year's last and months have a regular length.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_leaves_words_alone_and_escapes_what_moves_the_cursor() {
        for (raw, shown) in [
            ("", ""),
            ("Größe 12 µm \"x\" \\n", "Größe 12 µm \"x\" \\n"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\0\u{7f}\u{9b}2J", "\\u{0}\\u{7f}\\u{9b}2J"),
            ("abc\u{202e}fed", "abc\\u{202e}fed"),
        ] {
            assert_eq!(printable(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn nearest_finds_slips_and_stays_silent_on_strangers() {
        let states = ["Error", "Suspended", "Completed", "InProgress"];
        for (word, meant) in [
            ("error", Some("Error")),
            ("Erorr", Some("Error")),
            ("Suspnded", Some("Suspended")),
            ("Complete", Some("Completed")),
            ("Banana", None),
            ("", None),
            ("E", None),
        ] {
            assert_eq!(nearest(word, states), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), states), None);
    }

    #[test]
    fn utc_knows_leap_days_and_century_rules() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000), shown);
        }
        assert!(utc(u64::MAX).ends_with('Z'), "a server's nonsense time must not panic");
    }
}

//! Text for people: untrusted text made safe to print, suggestions for misspelt words, and times as RFC 3339. Pure
//! functions; nothing here prints.

use std::borrow::Cow;

use time::OffsetDateTime;

/// The last microsecond of the year 9999, the last that RFC 3339 can express.
const LAST_UTC_US: u64 = 253_402_300_799_999_999;

/// Escapes every character that could move the cursor, end the line or change the writing direction, so that no name
/// and no payload can forge a line on a terminal or in a log.
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
    // Control characters (C0, DEL, C1), line and paragraph separators, and marks that reorder or hide text.
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The candidate that a misspelt word most likely meant, ignoring case; `None` if all differ too much.
///
/// ```
/// assert_eq!(resq::base::text::nearest("Eror", ["Error", "Completed"]), Some("Error"));
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    // The word may be of any length, no candidate is long, and the comparison is quadratic.
    if length > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            (strsim::osa_distance(&word, &lower), lower.chars().count(), candidate)
        })
        .filter(|(errors, len, _)| *errors <= 1 + len.max(&length) / 4 && errors < len)
        .min_by_key(|(errors, ..)| *errors)
        .map(|(.., candidate)| candidate)
}

/// The seconds of an age: `7d`, `12h`, `30m` or `90s`; None: it is not written so, or longer than `longest_s`.
///
/// ```
/// assert_eq!(resq::base::text::age_s("2h", 10_000), Some(7_200));
/// ```
pub fn age_s(text: &str, longest_s: u64) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(seconds).filter(|age| *age <= longest_s)
}

/// Microseconds since 1970 as `2026-11-21T19:00:01.123456Z`. A time after the year 9999 becomes the last moment of it.
///
/// ```
/// assert_eq!(resq::base::text::utc(1_795_287_601_123_456), "2026-11-21T19:00:01.123456Z");
/// ```
pub fn utc(unix_time_us: u64) -> String {
    let nanoseconds = i128::from(unix_time_us.min(LAST_UTC_US)) * 1_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, us) = time.to_hms_micro();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_escapes_only_what_could_forge_a_line() {
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
    fn nearest_finds_misspelt_words_and_nothing_else() {
        let states = ["Error", "Suspended", "Completed", "InProgress"];
        for (word, expected) in [
            ("error", Some("Error")),
            ("Erorr", Some("Error")),
            ("Suspnded", Some("Suspended")),
            ("Complete", Some("Completed")),
            ("Banana", None),
            ("", None),
            ("E", None),
        ] {
            assert_eq!(nearest(word, states), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), states), None);
    }

    #[test]
    fn utc_handles_leap_days_and_any_number() {
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
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59.999999Z", "a server may send any time");
    }
}

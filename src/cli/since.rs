//! Where reading the event log begins, as people write it: a number, a time or an age.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{base::text::age_s, wire::Start};

/// From `1234`, `2026-11-25T10:00:00Z` (with a fraction, if wanted) or `90s`, `15m`, `2h`, `7d`, which counts back from this
/// computer's time.
///
/// # Errors
/// It is none of them; in words, as the parser of command lines takes them.
pub fn since(text: &str) -> Result<Start, String> {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    parse(text, now_us)
        .ok_or_else(|| "expected a number, a time such as 2026-11-25T10:00:00Z, or an age such as 2h".into())
}

fn parse(text: &str, now_us: u64) -> Option<Start> {
    match text.chars().last()? {
        'Z' => time_us(text).map(Start::Time),
        '0'..='9' => whole(text).map(Start::After),
        _ => {
            let age_us = age_s(text, u64::MAX)?.checked_mul(1_000_000)?;
            Some(Start::Time(now_us.saturating_sub(age_us)))
        }
    }
}

/// Digits and nothing else.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `2026-11-25T10:00:00Z` in µs since 1970.
fn time_us(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let three = |text: &str, between| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split(between).map(whole).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of = |year: u64| if is_leap(year) { 366 } else { 365 };
    let lengths = [31, days_of(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (before, length) = (lengths.get(..(month as usize).checked_sub(1)?)?, lengths.get(month as usize - 1)?);
    let is_valid = (1970..10_000).contains(&year) && (1..=*length).contains(&day);
    if !is_valid || hour > 23 || minute > 59 || second > 59 || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let days = (1970..year).map(days_of).sum::<u64>() + before.iter().sum::<u64>() + day - 1;
    let micros = whole(&format!("{fraction:0<9}"))? / 1_000;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::utc;

    #[test]
    fn numbers_times_and_ages() {
        let now_us = 1_795_287_601_123_456;
        for (text, expected) in [
            ("0", Some(Start::After(0))),
            ("18446744073709551615", Some(Start::After(u64::MAX))),
            ("18446744073709551616", None),
            ("2h", Some(Start::Time(now_us - 7_200_000_000))),
            ("90s", Some(Start::Time(now_us - 90_000_000))),
            ("15m", Some(Start::Time(now_us - 900_000_000))),
            ("7d", Some(Start::Time(now_us - 604_800_000_000))),
            ("100000d", Some(Start::Time(0))),
            ("999999999999999999d", None),
            ("2026-11-21T19:00:01.123456Z", Some(Start::Time(now_us))),
            ("2026-11-21T19:00:01Z", Some(Start::Time(1_795_287_601_000_000))),
            ("2026-11-21T19:00:01.5Z", Some(Start::Time(1_795_287_601_500_000))),
            ("1970-01-01T00:00:00Z", Some(Start::Time(0))),
            ("2024-02-29T00:00:00.999999999Z", Some(Start::Time(1_709_164_800_999_999))),
            ("2025-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-11-31T00:00:00Z", None),
            ("2026-11-25T24:00:00Z", None),
            ("2026-11-25T10:00:60Z", None),
            ("2026-11-25T10:00:00", None),
            ("2026-11-25T10:00:00+01:00", None),
            ("2026-11-25", None),
            ("2026-11-25T10:00:00.Z", None),
            ("2026-11-25T10:00Z", None),
            ("-1", None),
            ("+1", None),
            ("1.5h", None),
            ("h", None),
            ("2 h", None),
            ("2w", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now_us), expected, "{text:?}");
        }
        for us in [0, now_us, 951_782_399_999_999, 4_102_444_800_000_000] {
            assert_eq!(time_us(&utc(us)), Some(us));
        }
    }
}

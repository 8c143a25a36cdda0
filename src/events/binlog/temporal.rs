//! Dates and times as the binary log and MySQL's JSON store them, as text. Sources: MySQL's `mysys/my_time.cc`.

use super::bytes::{Bytes, Malformed};

/// A DATE of three bytes.
///
/// # Errors
/// It is cut off.
pub fn date(value: &[u8]) -> Result<String, Malformed> {
    let date = Bytes(value).little(3)?;
    Ok(format!("{:04}-{:02}-{:02}", date >> 9, date >> 5 & 15, date & 31))
}

/// A TIME with `digits` of fractions, which may be negative.
///
/// # Errors
/// It is cut off.
pub fn time(value: &[u8], digits: usize) -> Result<String, Malformed> {
    let fraction_bytes = digits.div_ceil(2);
    let packed = Bytes(value).big(3 + fraction_bytes)? as i64 - (0x80_0000 << (8 * fraction_bytes));
    let (sign, packed) = (if packed < 0 { "-" } else { "" }, packed.unsigned_abs());
    let whole = packed >> (8 * fraction_bytes);
    let fraction = packed & ((1 << (8 * fraction_bytes)) - 1);
    let (hours, minutes, seconds) = (whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63);
    Ok(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", shown(fraction, digits)))
}

/// A DATETIME with `digits` of fractions.
///
/// # Errors
/// It is cut off.
pub fn datetime(value: &[u8], digits: usize) -> Result<String, Malformed> {
    let mut value = Bytes(value);
    let packed = value.big(5)?.wrapping_sub(0x80_0000_0000);
    let fraction = value.big(digits.div_ceil(2))?;
    Ok(format!("{}{}", whole_datetime(packed), shown(fraction, digits)))
}

/// A TIMESTAMP with `digits` of fractions, in UTC.
///
/// # Errors
/// It is cut off.
pub fn timestamp(value: &[u8], digits: usize) -> Result<String, Malformed> {
    let mut value = Bytes(value);
    let (seconds, fraction) = (value.big(4)?, value.big(digits.div_ceil(2))?);
    Ok(instant(seconds, &shown(fraction, digits)))
}

/// A TIMESTAMP as before MySQL 5.6.
///
/// # Errors
/// It is cut off.
pub fn old_timestamp(value: &[u8]) -> Result<String, Malformed> {
    Ok(instant(Bytes(value).little(4)?, ""))
}

/// A DATETIME as before MySQL 5.6.
///
/// # Errors
/// It is cut off.
pub fn old_datetime(value: &[u8]) -> Result<String, Malformed> {
    let digits = Bytes(value).little(8)?;
    let (date, time) = (digits / 1_000_000, digits % 1_000_000);
    Ok(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date / 10_000,
        date / 100 % 100,
        date % 100,
        time / 10_000,
        time / 100 % 100,
        time % 100
    ))
}

/// A TIME as before MySQL 5.6.
///
/// # Errors
/// It is cut off.
pub fn old_time(value: &[u8]) -> Result<String, Malformed> {
    // Three bytes with a sign.
    let digits = ((Bytes(value).little(3)? << 40) as i64) >> 40;
    let (sign, digits) = (if digits < 0 { "-" } else { "" }, digits.unsigned_abs());
    Ok(format!("{sign}{:02}:{:02}:{:02}", digits / 10_000, digits / 100 % 100, digits % 100))
}

/// A moment in UTC; the server stores its zero date as 0.
pub fn instant(seconds: u64, fraction: &str) -> String {
    if seconds == 0 && fraction.bytes().all(|byte| matches!(byte, b'.' | b'0')) {
        return format!("0000-00-00 00:00:00{fraction}");
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The date so many days after 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A DATE in MySQL's JSON.
pub fn packed_date(packed: u64) -> String {
    whole_datetime(packed >> 24)[..10].to_string()
}

/// A DATETIME or TIMESTAMP in MySQL's JSON.
pub fn packed_datetime(packed: u64) -> String {
    format!("{}.{:06}", whole_datetime(packed >> 24), packed & 0xff_ffff)
}

/// A TIME in MySQL's JSON.
pub fn packed_time(packed: i64) -> String {
    let (sign, packed) = (if packed < 0 { "-" } else { "" }, packed.unsigned_abs());
    let whole = packed >> 24;
    format!("{sign}{:02}:{:02}:{:02}.{:06}", whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63, packed & 0xff_ffff)
}

fn whole_datetime(packed: u64) -> String {
    let (months, days, time) = (packed >> 22, packed >> 17 & 31, packed & 0x1_ffff);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        months / 13 % 10_000,
        months % 13,
        days,
        time >> 12,
        time >> 6 & 63,
        time & 63
    )
}

/// A fraction of `digits` digits, which the log stores with an even number of them.
fn shown(fraction: u64, digits: usize) -> String {
    if digits == 0 {
        return String::new();
    }
    let stored = digits.div_ceil(2) * 2;
    let all = format!("{fraction:0stored$}");
    format!(".{}", &all[..digits.min(all.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_the_server_prints_them() {
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xff], 2).unwrap(), "-00:00:00.01");
        assert_eq!(time(&[0x80, 0, 0], 0).unwrap(), "00:00:00");
        assert_eq!(date(&[0x5a, 0xd1, 0x0f]).unwrap(), "2024-10-26");
        assert_eq!(instant(0, ""), "0000-00-00 00:00:00");
        assert_eq!(instant(951_782_400, ".5"), "2000-02-29T00:00:00.5Z");
        assert_eq!(instant(4_294_967_295, ""), "2106-02-07T06:28:15Z");
        assert_eq!(old_time(&[0x00, 0xff, 0xff]).unwrap(), "-00:02:56");
        assert_eq!(old_datetime(&20_261_126_010_203_u64.to_le_bytes()).unwrap(), "2026-11-26 01:02:03");
    }
}

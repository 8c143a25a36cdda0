//! Whole numbers in JSON, without loss. Readers that keep numbers as floating point (JavaScript) are exact up to 2^53; what is
//! larger is a string of digits.

use serde_json::Value as Json;

/// The greatest whole number that is a JSON number: 2^53 - 1.
pub const LARGEST: u64 = (1 << 53) - 1;

/// A JSON number, or above [`LARGEST`] a string with the same digits.
pub fn integer(n: u64) -> Json {
    if n <= LARGEST { n.into() } else { n.to_string().into() }
}

/// The whole number that [`integer`] wrote; None: neither a whole number nor a string of digits.
pub fn parse_integer(json: &Json) -> Option<u64> {
    let text = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let positive = || whole(json).and_then(|n| u64::try_from(n).ok());
    json.as_u64().or_else(positive).or_else(|| json.as_str().and_then(text))
}

/// A JSON number without a fraction, which some writers print as `5.0`; None: another value, or one that is not exact.
pub fn whole(json: &Json) -> Option<i64> {
    let exact = |n: &f64| n.fract() == 0.0 && n.abs() <= LARGEST as f64;
    json.as_i64().or_else(|| json.as_f64().filter(exact).map(|n| n as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_integer_survives_json() {
        for (n, written) in [
            (0, "0"),
            (LARGEST, "9007199254740991"),
            (LARGEST + 1, "\"9007199254740992\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            assert_eq!(integer(n).to_string(), written);
            assert_eq!(parse_integer(&integer(n)), Some(n));
        }
        assert_eq!((parse_integer(&json!(5.0)), whole(&json!(-5.0)), whole(&json!(1e300))), (Some(5), Some(-5), None));
        for wrong in
            [json!(-1), json!(1.5), json!(""), json!("+1"), json!("1 "), json!("18446744073709551616"), json!(null)]
        {
            assert_eq!(parse_integer(&wrong), None, "{wrong}");
        }
    }
}

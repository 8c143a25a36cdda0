//! Parameters: the query of a target, and the body of a form. Pure.

use super::request::Rejection;

/// The most parameters of one request.
const MAX_PARAMETERS: usize = 1_100;

/// Decoded names and values, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses `a=b&c=d`, with `%XX` for any byte and `+` for a space.
    ///
    /// # Errors
    /// An escape is incomplete, the text is not UTF-8, or there are too many parameters.
    pub fn parse(text: &str) -> Result<Parameters, Rejection> {
        let malformed = || Rejection::new(400, "malformed parameters: expected name=value&…, percent-encoded UTF-8");
        let mut all = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            all.push((decode(name).ok_or_else(malformed)?, decode(value).ok_or_else(malformed)?));
            if all.len() > MAX_PARAMETERS {
                return Err(Rejection::new(400, format!("more than {MAX_PARAMETERS} parameters")));
            }
        }
        Ok(Parameters(all))
    }

    /// All of them.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// Refuses parameters with other names.
    ///
    /// # Errors
    /// There is one; the message names those that are known.
    pub fn only(&self, known: &[&str]) -> Result<(), Rejection> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                Err(Rejection::new(400, format!("unknown parameter {name:?}; known here: {known}")))
            }
            None => Ok(()),
        }
    }

    /// All values of a parameter.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// It is given more than once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Rejection> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Rejection::new(400, format!("parameter {name} is given more than once"))),
        }
    }

    /// The number that a parameter gives, if it is given.
    ///
    /// # Errors
    /// It is no number, or given more than once.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Rejection> {
        let wrong = |value: &str| Rejection::new(400, format!("parameter {name}: {value:?} is not a number"));
        self.one(name)?.map(|value| whole_number(value).ok_or_else(|| wrong(value))).transpose()
    }
}

/// Digits alone, without a sign.
pub fn whole_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let parameters = Parameters::parse("sub=Completed&sub=Err%2a&since=7&name=a+b%26%C3%A9&flag&=x").unwrap();
        assert_eq!(parameters.all("sub").collect::<Vec<_>>(), ["Completed", "Err*"]);
        assert_eq!(parameters.number("since"), Ok(Some(7)));
        assert_eq!(parameters.one("name"), Ok(Some("a b&é")));
        assert_eq!((parameters.one("flag"), parameters.one("none")), (Ok(Some("")), Ok(None)));
        assert_eq!(Parameters::parse(""), Ok(Parameters::default()));
    }

    #[test]
    fn wrong_parameters_are_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff", "%=1"] {
            assert!(Parameters::parse(text).is_err(), "{text}");
        }
        assert!(Parameters::parse(&"a&".repeat(MAX_PARAMETERS + 1)).is_err());
        for text in ["since=", "since=-1", "since=+1", "since=x", "since=1&since=2", "since=18446744073709551616"] {
            let parameters = Parameters::parse(text).unwrap();
            assert!(parameters.number("since").is_err(), "{text}");
        }
        let parameters = Parameters::parse("sub=A&sup=B").unwrap();
        assert!(parameters.only(&["sub"]).unwrap_err().message.contains("\"sup\""));
    }
}

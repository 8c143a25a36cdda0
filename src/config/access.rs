//! `[[broker.access]]`: one token with the rights that it gives, as a table of the settings file.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Invalid, Secret, secret_file, value};
use crate::{
    base::text::{nearest, printable},
    wire::{MAX_STATES, Pattern},
};

/// The array's key.
pub const KEY: &str = "broker.access";

const KEYS: [&str; 5] = ["name", "token", "token_file", "may", "states"];

/// Who presents this token, and what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its name in messages.
    pub name: String,
    /// The token.
    pub token: Secret,
    /// What it permits.
    pub may: May,
    /// Patterns of the states to which that is limited; None: every state.
    pub states: Option<Vec<String>>,
}

/// What a token permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct May {
    /// To receive events.
    pub subscribe: bool,
    /// To send ephemeral events.
    pub publish: bool,
    /// To wake resqd.
    pub ring: bool,
}

/// One entry of the file, whose token may still be in another.
pub struct Entry {
    access: Access,
    /// The token's file and the place that names it.
    token_file: Option<(String, String)>,
}

impl Entry {
    /// Whether the token is in the settings file itself.
    pub fn has_secret(&self) -> bool {
        self.token_file.is_none()
    }

    /// The entry with its token, and whether every user can read the token's file.
    ///
    /// # Errors
    /// The file cannot be read or holds no token.
    pub fn load(self) -> Result<(Access, bool), Invalid> {
        let Entry { mut access, token_file } = self;
        let Some((path, place)) = token_file else { return Ok((access, false)) };
        let found = secret_file::read(path.as_ref(), &place, true)?;
        let token = value::token(&found.secret).flatten();
        access.token = token.ok_or_else(|| {
            Invalid(format!("{place}: invalid value (hidden); expected 1 to 1024 bytes without control characters"))
        })?;
        Ok((access, found.is_public))
    }
}

/// The entries of `value`, which stands under [`KEY`]. `at` gives the place of an offset, for messages.
///
/// # Errors
/// It is not an array of tables with these keys, or two entries have one name or token.
pub fn parse(value: &Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> String) -> Result<Vec<Entry>, Invalid> {
    let place = at(value.span().start);
    let wrong = || Invalid(format!("{place}: {KEY} has the wrong type; expected tables [[{KEY}]]"));
    let DeValue::Array(items) = value.get_ref() else { return Err(wrong()) };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let table = item.get_ref().as_table().ok_or_else(wrong)?;
        let entry = one(table, &at(item.span().start), at)?;
        let same = |other: &Entry| {
            let tokens = [&other.access.token, &entry.access.token];
            other.access.name == entry.access.name || tokens[0] == tokens[1] && !tokens[0].0.is_empty()
        };
        if entries.iter().any(same) {
            let place = at(item.span().start);
            let name = printable(&entry.access.name).into_owned();
            return Err(Invalid(format!("{place}: {KEY} {name}: its name or token is that of another entry")));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn one(table: &DeTable<'_>, place: &str, at: &dyn Fn(usize) -> String) -> Result<Entry, Invalid> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.get_ref().as_ref())) {
        let (place, key) = (at(key.span().start), key.get_ref().as_ref());
        let hint =
            nearest(key, KEYS).map_or(format!("known are {}", KEYS.join(", ")), |near| format!("did you mean {near}?"));
        return Err(Invalid(format!("{place}: unknown setting {KEY}.{}; {hint}", printable(key))));
    }
    let get = |key: &str| table.iter().find(|(found, _)| found.get_ref() == key);
    let wrong = |key: &str, expected: &str| {
        let place = get(key).map_or_else(|| place.to_string(), |(found, _)| at(found.span().start));
        Invalid(format!("{place}: {KEY}.{key}: expected {expected}"))
    };
    let text = |key: &str| get(key).map(|(_, value)| value.get_ref().as_str().unwrap_or_default());
    let texts = |key: &str| {
        let items = get(key).map(|(_, value)| -> Option<Vec<String>> {
            let DeValue::Array(items) = value.get_ref() else { return None };
            items.iter().map(|item| item.get_ref().as_str().map(str::to_string)).collect()
        });
        items.map(Option::unwrap_or_default)
    };
    let name = text("name").and_then(value::word).ok_or_else(|| wrong("name", "a name without spaces"))?;
    let (token, token_file) = match (text("token"), text("token_file")) {
        (Some(token), None) => {
            let token = value::token(token).flatten();
            (token.ok_or_else(|| wrong("token", "1 to 1024 bytes without control characters"))?, None)
        }
        (None, Some(path)) if !path.is_empty() => {
            (Secret::default(), Some((path.to_string(), format!("{place}: {KEY}.token_file"))))
        }
        _ => return Err(wrong("token", "either token or token_file, in quotes")),
    };
    let mut may = May::default();
    for word in texts("may").unwrap_or_default() {
        match word.as_str() {
            "subscribe" => may.subscribe = true,
            "publish" => may.publish = true,
            "ring" => may.ring = true,
            _ => return Err(wrong("may", MAY)),
        }
    }
    if may == May::default() {
        return Err(wrong("may", MAY));
    }
    let states: Option<Vec<String>> = texts("states");
    let are_patterns = |states: &Vec<String>| {
        (1..=MAX_STATES).contains(&states.len()) && states.iter().all(|state| Pattern::new(state).is_ok())
    };
    if !states.as_ref().is_none_or(are_patterns) {
        return Err(wrong("states", "an array of 1 to 1024 states, or beginnings of states followed by *"));
    }
    Ok(Entry { access: Access { name, token, may, states }, token_file })
}

const MAY: &str = "an array of one or more of \"subscribe\", \"publish\" and \"ring\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Access>, String> {
        let root = DeTable::parse(text).unwrap();
        let broker = root.get_ref().get("broker").unwrap().get_ref().as_table().unwrap();
        let at = |offset: usize| format!("f:{}", 1 + text[..offset].matches('\n').count());
        let entries = parse(broker.get("access").unwrap(), &at).map_err(|error| error.to_string())?;
        entries
            .into_iter()
            .map(|entry| entry.load().map(|(access, _)| access).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn entry_is_a_name_a_token_and_what_it_permits() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from a file\n").unwrap();
        let text = format!(
            "[[broker.access]]\nname = 'a'\ntoken = 't'\nmay = ['subscribe']\nstates = ['A*', 'B']\n\
             [[broker.access]]\nname = 'b'\ntoken_file = '{}'\nmay = ['publish', 'ring']\n",
            file.display()
        );
        let entries = parsed(&text).unwrap();
        assert_eq!(entries[0].token.0.clone() + &entries[1].token.0, "tfrom a file");
        assert_eq!(entries[0].may, May { subscribe: true, ..May::default() });
        assert_eq!(entries[1].may, May { publish: true, ring: true, ..May::default() });
        assert_eq!((entries[0].states.as_ref().map(Vec::len), &entries[1].states), (Some(2), &None));
    }

    #[test]
    fn mistake_is_reported_with_its_line_and_without_the_token() {
        let good = "[[broker.access]]\nname = 'a'\ntoken = 'hunter2'\nmay = ['ring']\n";
        for (text, reported) in [
            ("[broker]\naccess = 1\n", "f:2: broker.access has the wrong type; expected tables [[broker.access]]"),
            ("[broker]\naccess = ['x']\n", "f:2: broker.access has the wrong type"),
            ("[[broker.access]]\nname = 'a b'\n", "f:2: broker.access.name: expected a name"),
            ("[[broker.access]]\n", "f:1: broker.access.name: expected a name"),
            (&good.replace("may", "mai"), "f:4: unknown setting broker.access.mai; did you mean may?"),
            (&good.replace("'ring'", ""), "f:4: broker.access.may: expected an array of one or more of"),
            (&good.replace("'ring'", "'ring', 'read'"), "f:4: broker.access.may: expected"),
            (&good.replace("['ring']", "'ring'"), "f:4: broker.access.may: expected"),
            (&good.replace("'hunter2'", "''"), "f:3: broker.access.token: expected 1 to 1024"),
            (&good.replace("'hunter2'", "1"), "f:3: broker.access.token: expected 1 to 1024"),
            (&good.replace("token = 'hunter2'", ""), "f:1: broker.access.token: expected either"),
            (&(good.to_string() + "token_file = '/x'\n"), "f:3: broker.access.token: expected either"),
            (&good.replace("token =", "token_file ="), "f:1: broker.access.token_file: cannot read hunter2"),
            (&(good.to_string() + "states = []\n"), "f:5: broker.access.states: expected an array"),
            (&(good.to_string() + "states = ['a b']\n"), "f:5: broker.access.states: expected"),
            (&(good.to_string() + &good.replace("'a'", "'b'")), "f:5: broker.access b: its name or token"),
            (&(good.to_string() + &good.replace("hunter2", "other")), "f:5: broker.access a: its name or token"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.starts_with(reported), "{text:?}: {message}");
            assert!(!message.contains("hunter2") || text.contains("token_file ="), "{message}");
        }
    }
}

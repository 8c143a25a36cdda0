//! Texts in any of the server's character sets as UTF-8. The server itself says how: no table here could be more exact.

use std::borrow::Cow;

use mysql::{Conn, Value};

use super::column::BINARY;
use crate::db::{Error, ErrorClass, Link, ReadRows};

/// Converts texts to UTF-8. A text that is none in its character set has replacement characters.
pub trait Charsets {
    /// `bytes`, which have this collation, as UTF-8.
    ///
    /// # Errors
    /// The server could not be asked.
    fn utf8<'a>(&mut self, collation: u32, bytes: &'a [u8]) -> Result<Cow<'a, str>, Error>;
}

/// How the texts of a collation become UTF-8.
#[derive(Clone, Debug)]
enum Way {
    /// They are.
    AsIs,
    /// Each byte is a character.
    Bytewise(Box<[String; 256]>),
    /// The server converts each text from this character set.
    Asked(String),
}

/// As the server converts.
pub struct ServerCharsets {
    link: Link,
    /// By collation: a few, of which each value needs one.
    ways: Vec<(u32, Way)>,
}

impl ServerCharsets {
    /// Asks over `link` what is not known yet.
    pub fn new(link: Link) -> ServerCharsets {
        ServerCharsets { link, ways: Vec::new() }
    }

    fn find(&mut self, collation: u32) -> Result<Way, Error> {
        let name = self.link.run(|conn| character_set(conn, collation))?;
        let Some((name, widest)) = name else {
            // Of a server that has others: nearly all texts are UTF-8 today.
            return Ok(Way::AsIs);
        };
        match (name.as_str(), widest) {
            ("utf8mb4" | "utf8mb3" | "utf8" | "ascii", _) => Ok(Way::AsIs),
            (_, 1) => {
                let all: String = (0..=255).map(|byte: u8| format!("{byte:02X}")).collect();
                let each = |conn: &mut Conn| {
                    // In one text, whose characters are in the order of the bytes.
                    conn.read_first::<String>(format!("SELECT CONVERT(_{name} X'{all}' USING utf8mb4)"))
                };
                let text = self.link.run(each)?.unwrap_or_default();
                let characters: Vec<String> = text.chars().map(String::from).collect();
                let way = Box::<[String; 256]>::try_from(characters.into_boxed_slice());
                Ok(way.map_or(Way::Asked(name), Way::Bytewise))
            }
            _ => Ok(Way::Asked(name)),
        }
    }
}

/// The character set of a collation, and the bytes of its widest character.
fn character_set(conn: &mut Conn, collation: u32) -> Result<Option<(String, u32)>, Error> {
    // MariaDB lists the collations that are made for several character sets here alone, from 10.10 on.
    let found = ["COLLATION_CHARACTER_SET_APPLICABILITY", "COLLATIONS"].into_iter().find_map(|table| {
        let sets = format!(
            "SELECT s.CHARACTER_SET_NAME, s.MAXLEN FROM information_schema.{table} c \
             JOIN information_schema.CHARACTER_SETS s ON s.CHARACTER_SET_NAME = c.CHARACTER_SET_NAME WHERE c.ID = {collation}"
        );
        match conn.read_first(sets) {
            Ok(found) => found.map(Ok),
            Err(error) if error.class() == ErrorClass::Permanent => None,
            Err(error) => Some(Err(error)),
        }
    });
    found.transpose()
}

impl Charsets for ServerCharsets {
    fn utf8<'a>(&mut self, collation: u32, bytes: &'a [u8]) -> Result<Cow<'a, str>, Error> {
        if collation == BINARY {
            return Ok(String::from_utf8_lossy(bytes));
        }
        let place = match self.ways.iter().position(|(known, _)| *known == collation) {
            Some(place) => place,
            None => {
                let way = self.find(collation)?;
                self.ways.push((collation, way));
                self.ways.len() - 1
            }
        };
        match &self.ways[place].1 {
            Way::AsIs => Ok(String::from_utf8_lossy(bytes)),
            Way::Bytewise(characters) => {
                Ok(bytes.iter().map(|byte| characters[usize::from(*byte)].as_str()).collect::<String>().into())
            }
            Way::Asked(name) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                let converted = format!("SELECT CONVERT(CONVERT(X'{digits}' USING {name}) USING utf8mb4)");
                let value: Option<Value> = self.link.run(|conn| conn.read_first(&converted))?;
                match value {
                    Some(Value::Bytes(text)) => Ok(String::from_utf8_lossy(&text).into_owned().into()),
                    _ => Ok(String::from_utf8_lossy(bytes)),
                }
            }
        }
    }
}

//! Lists how the shape of a database differs from what it should be. Pure.

use serde_json::{Value as Json, json};

use super::{
    normal,
    object::{Identity, Key, Kind, Shape},
    text,
};

/// The longest value that a message shows as it is, in characters.
const SHOWN: usize = 80;
/// How many tokens of two long texts are shown from where they part.
const TOKENS: usize = 8;

/// One difference between a database and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The object.
    pub key: Key,
    /// How it differs.
    pub what: What,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It should be there.
    Missing,
    /// It should not be there.
    Unexpected,
    /// A property has another value.
    Property {
        /// The property: `default`, `collation`.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl Difference {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        let Key { table, kind, name } = &self.key;
        let (what, property, found, expected) = match &self.what {
            What::Missing => ("missing", None, None, None),
            What::Unexpected => ("unexpected", None, None, None),
            What::Property { name, found, expected } => ("differs", Some(name), Some(found), Some(expected)),
        };
        let table = (!table.is_empty()).then_some(table);
        json!({
            "kind": kind.as_str(), "table": table, "name": name, "what": what, "property": property, "found": found,
            "expected": expected,
        })
    }
}

/// `column orders.price: default is 5, expected 0`.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        match &self.what {
            What::Missing => write!(f, "{key}: missing"),
            What::Unexpected => write!(f, "{key}: unexpected"),
            What::Property { name: "state", found, .. } => write!(f, "{key}: {found}"),
            What::Property { name, found, expected } => {
                let (found, expected) = excerpts(found, expected);
                write!(f, "{key}: {name} is {found}, expected {expected}")
            }
        }
    }
}

/// Two values as a message shows them: long ones from where they part.
fn excerpts(found: &str, expected: &str) -> (String, String) {
    if found.chars().count().max(expected.chars().count()) <= SHOWN {
        let shown = |value: &str| if value.is_empty() { "none".into() } else { value.to_string() };
        return (shown(found), shown(expected));
    }
    let (one, other): (Vec<&str>, Vec<&str>) = (found.split(' ').collect(), expected.split(' ').collect());
    let parts_at = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let from = parts_at.saturating_sub(TOKENS / 2);
    let excerpt = |tokens: &[&str]| {
        let to = tokens.len().min(from + TOKENS);
        let words = tokens.get(from..to).unwrap_or_default().join(" ");
        let words: String = words.chars().take(SHOWN).collect();
        format!("{}{words}{}", if from > 0 { "… " } else { "" }, if to < tokens.len() { " …" } else { "" })
    };
    (excerpt(&one), excerpt(&other))
}

/// How `found` differs from `expected`, in the order of the objects. `expected` is compared as if it were the database of
/// `identity`: where a text has a value of `built_as`, `found` must have that of `identity`. So the values of `built_as` must
/// be such that nothing else in the shape equals them.
pub fn compare(expected: &Shape, built_as: &Identity, found: &Shape, identity: &Identity) -> Vec<Difference> {
    let mut differences = Vec::new();
    let lacks_table = |shape: &Shape, key: &Key| key.kind.is_part_of_table() && !shape.columns.contains_key(&key.table);
    for (key, properties) in &expected.objects {
        let key = Key { name: as_database(&key.name, built_as, identity), ..key.clone() };
        let Some(others) = found.objects.get(&key) else {
            if !lacks_table(found, &key) {
                differences.push(Difference { key, what: What::Missing });
            }
            continue;
        };
        for (name, value) in properties {
            let other = others.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value.as_str());
            if let Some(what) = differs(name, value, other, expected, built_as, identity) {
                differences.push(Difference { key: key.clone(), what });
            }
        }
        if key.kind == Kind::Table {
            differences.extend(order(&key, expected, found));
        }
        for (name, value) in others {
            if !value.is_empty() && !properties.iter().any(|(other, _)| other == name) {
                let what = What::Property { name, found: value.clone(), expected: String::new() };
                differences.push(Difference { key: key.clone(), what });
            }
        }
    }
    for key in found.objects.keys() {
        let is_expected = expected.objects.contains_key(key)
            || expected.objects.keys().any(|one| {
                one.kind == key.kind && one.table == key.table && as_database(&one.name, built_as, identity) == key.name
            });
        if !is_expected && !lacks_table(expected, key) {
            differences.push(Difference { key: key.clone(), what: What::Unexpected });
        }
    }
    // The database, its tables, and what stands beside them.
    differences.sort_by_key(|one| (one.key.kind > Kind::ForeignKey, one.key.clone()));
    differences
}

fn differs(
    name: &'static str,
    expected: &str,
    found: &str,
    shape: &Shape,
    built_as: &Identity,
    identity: &Identity,
) -> Option<What> {
    if expected == found {
        return None;
    }
    // What a server that replicates makes of an event that another one created, enabled or not.
    if name == "status" && [expected, found].iter().any(|status| status.ends_with("SIDE_DISABLED")) {
        return None;
    }
    // A definer that no text names is the account that built the database.
    if name == "definer" && (expected == shape.builder || normal::user(expected) == normal::user(found)) {
        return None;
    }
    let expected = as_database(expected, built_as, identity);
    (expected != found).then(|| What::Property { name, found: found.into(), expected })
}

/// The text of the reference as it is in the database of `identity`.
fn as_database(text: &str, built_as: &Identity, identity: &Identity) -> String {
    let mut out = text.to_string();
    let mut replace = |mark: &str, value: &str| {
        if out.contains(mark) {
            out = out.replace(mark, value);
        }
    };
    let (from, to) = (&built_as.db_name, &identity.db_name);
    if !from.is_empty() {
        replace(&text::name(from), &text::name(to));
        replace(from, to);
    }
    for (from, to) in [(&built_as.res_name, &identity.res_name), (&built_as.res_url, &identity.res_url)] {
        if !from.is_empty() {
            replace(&text::quoted(from), &text::quoted(to));
            replace(from, to);
        }
    }
    if built_as.res_id != 0 {
        replace(&built_as.res_id.to_string(), &identity.res_id.to_string());
    }
    out
}

/// The columns that both have, if they are in another order.
fn order(key: &Key, expected: &Shape, found: &Shape) -> Option<Difference> {
    let (expected, found) = (expected.columns.get(&key.table)?, found.columns.get(&key.table)?);
    let common = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|name| other.contains(name)).cloned().collect()
    };
    let (expected, found) = (common(expected, found), common(found, expected));
    (expected != found).then(|| Difference {
        key: key.clone(),
        what: What::Property { name: "order of columns", found: found.join(", "), expected: expected.join(", ") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(db_name: &str, res_name: &str, res_id: u64) -> Identity {
        Identity { db_name: db_name.into(), res_name: res_name.into(), res_url: String::new(), res_id }
    }

    /// A shape of tables with columns `name type`, and of other objects with one property.
    fn shape(tables: &[(&str, &[&str])], others: &[(Kind, &str, &'static str, &str)]) -> Shape {
        let mut shape = Shape { builder: "resq@%".into(), ..Shape::default() };
        for (table, columns) in tables {
            shape.objects.insert(Key::table(table), vec![("engine", "InnoDB".into())]);
            let names = columns.iter().map(|column| column.split(' ').next().unwrap().to_string()).collect();
            shape.columns.insert(table.to_string(), names);
            for column in *columns {
                let (name, column_type) = column.split_once(' ').unwrap();
                shape.objects.insert(Key::part(table, Kind::Column, name), vec![("type", column_type.into())]);
            }
        }
        for (kind, name, property, value) in others {
            shape.objects.insert(Key::own(*kind, name), vec![(property, value.to_string())]);
        }
        shape
    }

    #[test]
    fn each_difference_is_one_readable_line() {
        let expected = shape(
            &[("t", &["a int", "b int", "c text"]), ("u", &["x int"])],
            &[(Kind::View, "v", "state", "compiles"), (Kind::Trigger, "g", "text", "SET NEW . a = 1")],
        );
        let changed = |tables: &[(&str, &[&str])], others: &[(Kind, &str, &'static str, &str)]| {
            let found = shape(tables, others);
            let all = compare(&expected, &identity("scratch", "n12345", 987_654), &found, &identity("d", "m", 8));
            all.iter().map(Difference::to_string).collect::<Vec<_>>()
        };
        let (tables, others): (&[(&str, &[&str])], &[_]) = (
            &[("t", &["a int", "b int", "c text"]), ("u", &["x int"])],
            &[(Kind::View, "v", "state", "compiles"), (Kind::Trigger, "g", "text", "SET NEW . a = 1")],
        );
        let empty: Vec<String> = Vec::new();
        assert_eq!(changed(tables, others), empty);
        assert_eq!(changed(&tables[..1], others), ["table u: missing"]);
        assert_eq!(
            changed(&[("t", &["b bigint", "a int"]), ("u", &["x int"]), ("w", &["y int"])], others),
            [
                "table t: order of columns is b, a, expected a, b",
                "column t.b: type is bigint, expected int",
                "column t.c: missing",
                "table w: unexpected",
            ]
        );
        assert_eq!(
            changed(
                tables,
                &[
                    (Kind::View, "v", "state", "no longer compiles"),
                    (Kind::Trigger, "g", "text", "SET NEW . a = 2"),
                    (Kind::Event, "e", "text", "DO 1")
                ]
            ),
            [
                "view v: no longer compiles",
                "trigger g: text is SET NEW . a = 2, expected SET NEW . a = 1",
                "event e: unexpected"
            ]
        );
    }

    #[test]
    fn long_texts_are_shown_from_where_they_part() {
        let words = |last: &str| format!("{} {last} THEN {}", "SET a = 1 ; ".repeat(30).trim(), "x ".repeat(40).trim());
        let (found, expected) = excerpts(&words("IF"), &words("WHILE"));
        assert_eq!((found.as_str(), expected.as_str()), ("… a = 1 ; IF THEN x x …", "… a = 1 ; WHILE THEN x x …"));
    }

    #[test]
    fn values_of_the_database_stand_for_those_of_the_reference() {
        let built_as = identity("res_scratch-1", "n12345", 1_234_567_890);
        for (expected, found, is_equal) in [
            ("select `res_scratch-1` . t . a", "select res_a . t . a", true),
            ("select `res_scratch-1` . t . a", "select other . t . a", false),
            ("select a from `res_scratch-1` . res_a", "select a from res_a . res_a", true),
            ("SET NEW . a = 'n12345' , NEW . b = 1234567890", "SET NEW . a = 'it''s' , NEW . b = 7", true),
            ("SET NEW . a = 'n12345'", "SET NEW . a = 'other'", false),
            ("owner is n12345", "owner is it's", true),
        ] {
            let of = |text: &str| shape(&[], &[(Kind::View, "v", "text", text)]);
            let differences = compare(&of(expected), &built_as, &of(found), &identity("res_a", "it's", 7));
            assert_eq!(differences.is_empty(), is_equal, "{expected} {found}: {differences:?}");
        }
    }

    #[test]
    fn an_event_that_another_node_created_is_no_difference() {
        for (expected, found, is_equal) in [
            ("ENABLED", "REPLICA_SIDE_DISABLED", true),
            ("SLAVESIDE_DISABLED", "ENABLED", true),
            ("DISABLED", "REPLICA_SIDE_DISABLED", true),
            ("ENABLED", "DISABLED", false),
        ] {
            let of = |status: &str| shape(&[], &[(Kind::Event, "e", "status", status)]);
            let differences = compare(&of(expected), &Identity::default(), &of(found), &Identity::default());
            assert_eq!(differences.is_empty(), is_equal, "{expected} {found}");
        }
    }

    #[test]
    fn a_definer_counts_where_a_template_names_it() {
        for (expected, found, is_equal) in
            [("resq@%", "root@localhost", true), ("app@%", "app@10.0.0.%", true), ("app@%", "root@localhost", false)]
        {
            let of = |definer: &str| shape(&[], &[(Kind::Trigger, "g", "definer", definer)]);
            let differences = compare(&of(expected), &Identity::default(), &of(found), &Identity::default());
            assert_eq!(differences.is_empty(), is_equal, "{expected} {found}");
        }
    }
}

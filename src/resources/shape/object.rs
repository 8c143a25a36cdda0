//! What a shape consists of: objects with properties, all of them text. Pure.

use std::collections::BTreeMap;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The database itself: its options.
    Database,
    /// A table. Tables with system versioning and sequences are distinguished by a property.
    Table,
    /// A column of a table.
    Column,
    /// An index, the primary key included.
    Index,
    /// A CHECK constraint.
    Check,
    /// A foreign key.
    ForeignKey,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// A stored procedure.
    Procedure,
    /// A stored function.
    Function,
    /// A package of MariaDB's, or its body.
    Package,
    /// A scheduled event.
    Event,
}

impl Kind {
    /// The kind as named in messages and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Database => "database",
            Kind::Table => "table",
            Kind::Column => "column",
            Kind::Index => "index",
            Kind::Check => "check",
            Kind::ForeignKey => "foreign key",
            Kind::View => "view",
            Kind::Trigger => "trigger",
            Kind::Procedure => "procedure",
            Kind::Function => "function",
            Kind::Package => "package",
            Kind::Event => "event",
        }
    }

    /// Belongs to a table and is not reported beside a table that is missing.
    pub fn is_part_of_table(self) -> bool {
        matches!(self, Kind::Column | Kind::Index | Kind::Check | Kind::ForeignKey)
    }
}

/// Which object of a database. Sorted, the parts of a table follow it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table that a column, an index or a constraint belongs to, and the own name of a table. Empty for all others.
    pub table: String,
    /// What it is.
    pub kind: Kind,
    /// Its name. Where the server chose the name, what it is on instead: `(a, b)`.
    pub name: String,
}

impl Key {
    /// An object that belongs to no table.
    pub fn own(kind: Kind, name: &str) -> Key {
        Key { table: String::new(), kind, name: name.into() }
    }

    /// A table.
    pub fn table(name: &str) -> Key {
        Key { table: name.into(), kind: Kind::Table, name: name.into() }
    }

    /// A part of a table.
    pub fn part(table: &str, kind: Kind, name: &str) -> Key {
        Key { table: table.into(), kind, name: name.into() }
    }
}

/// `column orders.price`, `index orders (a, b)`, `view open_orders`.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = (self.kind.as_str(), &self.name);
        match self.kind {
            Kind::Database => f.write_str(kind),
            _ if !self.kind.is_part_of_table() => write!(f, "{kind} {name}"),
            _ if name.starts_with('(') => write!(f, "{kind} {} {name}", self.table),
            _ => write!(f, "{kind} {}.{name}", self.table),
        }
    }
}

/// The properties of an object, by name.
pub type Properties = Vec<(&'static str, String)>;

/// The shape of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Every object.
    pub objects: BTreeMap<Key, Properties>,
    /// The columns of each table in their order.
    pub columns: BTreeMap<String, Vec<String>>,
    /// The account that a definer is when the SQL text names none, `user@host`: that of the session that built the
    /// database. Empty where that is not known; then every definer counts as named.
    pub builder: String,
}

/// The values by which one database's shape may differ from another's: what templates write as `{{RES_NAME}}` and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The database's name, unquoted.
    pub db_name: String,
    /// The resource's name.
    pub res_name: String,
    /// The resource's URL; empty if there is none.
    pub res_url: String,
    /// The resource's number.
    pub res_id: u64,
}

//! The checks of the server's variables: those that resq sets otherwise in its own sessions, and those that no session
//! can set.

use std::collections::BTreeMap;

use mysql::{ChangeUserOpts, Conn};

use super::verdict::{AGAIN, Verdict, failed, good, warning};
use crate::db::{
    Error, ReadRows,
    session::{self, LEAST_PACKET, SETTINGS},
};

/// A global variable that resq depends on, since a session cannot set it.
struct Needed {
    name: &'static str,
    suffices: fn(&str) -> bool,
    fix: &'static str,
}

/// A server that lacks one of them passes: on it nothing limits resq.
const NEEDED: &[Needed] = &[
    Needed {
        name: "disabled_storage_engines",
        suffices: |engines| !engines.split(',').any(|engine| engine.trim().eq_ignore_ascii_case("innodb")),
        fix: "take InnoDB off that list",
    },
    Needed {
        name: "enforce_storage_engine",
        suffices: |engine| engine.is_empty() || engine.eq_ignore_ascii_case("innodb"),
        fix: "unset it, or set it to InnoDB",
    },
    Needed {
        name: "max_allowed_packet",
        suffices: |bytes| at_least(bytes, LEAST_PACKET as u64),
        fix: "raise it to 1M (1048576) or more: an event may have that size",
    },
    // Numbering moves up to 16 MiB of events at a time, and the log takes them when they come and when they go.
    Needed {
        name: "max_binlog_cache_size",
        suffices: |bytes| at_least(bytes, 64 << 20),
        fix: "raise it to 64M or more",
    },
];

fn at_least(value: &str, least: u64) -> bool {
    value.parse().is_ok_and(|value: u64| value >= least)
}

/// What resq needs, and cannot set.
pub fn needed(conn: &mut Conn) -> Verdict {
    let names: Vec<_> = NEEDED.iter().map(|needed| needed.name).collect();
    let values = match global(conn, &names) {
        Ok(values) => values,
        Err(error) => return warning(error.to_string(), "cannot read the server's variables"),
    };
    let lacking: Vec<_> = NEEDED
        .iter()
        .filter_map(|needed| Some((needed, values.get(needed.name)?)))
        .filter(|(needed, value)| !(needed.suffices)(value))
        .collect();
    if lacking.is_empty() {
        return good("those that a session cannot set are as resq needs them");
    }
    let what: Vec<_> = lacking.iter().map(|(needed, value)| format!("{} = {value}", needed.name)).collect();
    let fix: Vec<_> = lacking.iter().map(|(needed, _)| format!("{}: {}", needed.name, needed.fix)).collect();
    failed(what.join(", "), format!("{}; {AGAIN}", fix.join("; ")))
}

/// What the server presets in an odd way, and resq sets otherwise in its own sessions; `conn` comes back reset.
pub fn presets(conn: &mut Conn) -> Verdict {
    match odd_presets(conn) {
        Err(error) => warning(error.to_string(), "cannot read the server's variables"),
        Ok(odd) if odd.is_empty() => good("none that would disturb resq"),
        Ok(odd) => warning(
            odd.join(", "),
            "resq sets its own values in its sessions; applications get these: make sure that they are meant",
        ),
    }
}

fn odd_presets(conn: &mut Conn) -> Result<Vec<String>, Error> {
    // The driver asks for utf8mb4 when it logs in. With the LIMIT there is an answer whatever sql_select_limit is.
    conn.change_user(ChangeUserOpts::new().with_db_name(None))?;
    let given: Option<String> = conn.read_first("SELECT @@character_set_client LIMIT 1")?;
    session::reset(conn)?;
    let mut odd = Vec::new();
    if let Some(given) = given.filter(|given| given != "utf8mb4") {
        odd.push(format!(
            "character_set_client = {given} whatever a client asks for (skip-character-set-client-handshake)"
        ));
    }
    let names: Vec<_> = SETTINGS.iter().filter(|setting| setting.is_odd).map(|setting| setting.name).collect();
    let (preset, ours) = (global(conn, &names)?, variables(conn, "SESSION", &names)?);
    odd.extend(
        names
            .iter()
            .filter(|name| preset.get(**name) != ours.get(**name))
            .map(|name| format!("{name} = {}", preset.get(*name).map_or("", String::as_str))),
    );
    Ok(odd)
}

fn global(conn: &mut Conn, names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    variables(conn, "GLOBAL", names)
}

/// Those of the variables that the server has, in the scope `GLOBAL` or `SESSION`.
fn variables(conn: &mut Conn, scope: &str, names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    let rows: Vec<(String, String)> =
        conn.read_rows(format!("SHOW {scope} VARIABLES WHERE Variable_name IN ('{}')", names.join("','")))?;
    Ok(rows.into_iter().collect())
}

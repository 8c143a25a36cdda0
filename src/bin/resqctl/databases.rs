//! The command that lists the registry.

use std::collections::HashMap;

use resq::{
    base::text::printable,
    cli::{Failure, Output},
    config::Config,
    db::Db,
    resources::{
        Templates,
        registry_page::{self, Chosen, Database},
        resource_server,
    },
};
use serde_json::{Value as Json, json};

use crate::args::Databases;

/// Databases that are read at a time.
const PAGE: u32 = 1000;

pub fn list(db: &Db, config: &Config, args: &Databases, out: &mut Output) -> Result<(), Failure> {
    let templates = Templates::load(config.sql_dir.as_deref())?;
    let mut conn = db.global()?;
    let chosen = Chosen { res_type: args.res_type.clone(), ..Chosen::default() };
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let (page, next) = registry_page::databases(&mut conn, &chosen, after.as_deref(), PAGE)?;
        // In pages, so that no query of the server's own tables is long.
        let sizes = match args.sizes {
            true => {
                let names: Vec<&str> = page.iter().map(|one| one.db_name.as_str()).collect();
                resource_server::sizes(&mut conn, &names)?.into_iter().collect::<HashMap<_, _>>()
            }
            false => HashMap::new(),
        };
        let is_shown = |one: &Database| !args.outdated || one.version < templates.migrations.newest(&one.res_type);
        all.extend(page.into_iter().filter(is_shown).map(|one| {
            let bytes = sizes.get(&one.db_name).copied();
            (one, bytes)
        }));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if args.json {
        let object = |(one, bytes): &(Database, Option<u64>)| {
            let mut object = one.to_json();
            if args.sizes {
                object["bytes"] = json!(bytes);
            }
            object
        };
        out.line(Json::Array(all.iter().map(object).collect()));
    } else if all.is_empty() {
        out.line("no databases");
    } else {
        all.iter().for_each(|(one, bytes)| out.line(line(one, *bytes)));
    }
    Ok(())
}

/// `res_shop_17  job 17  shop  version 3  ready  template 1f2e3d4c5b6a  last check differs (2026-11-26 10:00:00 UTC)  1.5 MiB`.
fn line(one: &Database, bytes: Option<u64>) -> String {
    let state = match (&one.dropping_at, &one.drop_at) {
        (Some(_), _) => "being dropped".into(),
        (None, Some(at)) => format!("to be dropped at {at} UTC"),
        (None, None) => one.state.clone(),
    };
    let template = one.template_version.get(..12).unwrap_or(&one.template_version);
    let size = bytes.map(|bytes| format!("  {:.1} MiB", bytes as f64 / f64::from(1 << 20))).unwrap_or_default();
    let drift = one.drift.as_ref();
    let drift = drift.map(|one| format!("  last check {} ({} UTC)", one.verdict.as_str(), one.at)).unwrap_or_default();
    format!(
        "{}  job {}  {}  version {}  {state}  template {template}{drift}{size}",
        printable(&one.db_name),
        one.res_id,
        printable(&one.res_type),
        one.version
    )
}

//! `resqctl check`: parses, calls `resq::resources::check`, prints.

use resq::{
    base::text::printable,
    cli::{Exit, Failure, Output},
    config::Config,
    db::{Db, ServerInfo},
    resources::{
        Templates,
        check::{Candidate, Checker, Finding, Which, to_json},
        references::References,
        scratch::ScratchDatabases,
    },
};

use crate::{args::Check, shared::count};

/// Differences of one database that are printed for people.
const SHOWN: usize = 20;

/// References of the templates on disk and of what the control database has kept.
pub fn references<'a>(db: &Db, config: &Config, templates: &'a Templates) -> Result<References<'a>, Failure> {
    let server = ServerInfo::query(&mut *db.any()?)?;
    let scratch = ScratchDatabases::new(db, db, &config.queue.db_prefix, &server);
    Ok(References::new(scratch, db.global_db(), templates))
}

pub fn check(db: &Db, config: &Config, args: &Check, out: &mut Output) -> Result<(), Failure> {
    if args.ids.is_empty() && !args.all && args.res_type.is_none() {
        return Err(Failure::new(Exit::Usage, "missing argument: res_ids, --type or --all"));
    }
    let templates = Templates::load(config.sql_dir.as_deref())?;
    let mut checker = Checker::new(db, db, references(db, config, &templates)?)?;
    let which = Which { ids: args.ids.clone(), res_type: args.res_type.clone() };
    let summary = checker.run(&which, |candidate, finding| {
        match args.json {
            true => out.line(to_json(candidate, finding)),
            false => show(candidate, finding, out),
        }
        // Before a server that fails later.
        out.flush();
    })?;
    let checked = summary.same + summary.differ + summary.unknown;
    if args.json {
        out.line(summary.to_json());
    } else {
        let (databases, same) = (count(checked, "database"), summary.same);
        out.line(format_args!(
            "{databases} checked: {same} as they should be, {} different, {} unknown",
            summary.differ, summary.unknown
        ));
    }
    match summary {
        _ if checked == 0 && !args.ids.is_empty() => {
            Err(Failure::new(Exit::Failed, "no complete database belongs to one of these res_ids"))
        }
        summary if summary.differ + summary.unknown > 0 => {
            let message =
                format!("{} not as they should be, or not known to be", count(checked - summary.same, "database"));
            Err(Failure::new(Exit::Failed, message))
        }
        _ => Ok(()),
    }
}

fn show(candidate: &Candidate, finding: &Finding, out: &mut Output) {
    let (identity, version) = (&candidate.identity, &candidate.version);
    let database = format!(
        "{} (job {}, type {}, version {})",
        printable(&identity.db_name),
        identity.res_id,
        version.res_type,
        version.version
    );
    match finding {
        Finding::Same => {}
        Finding::Unknown(why) => out.line(format_args!("{database}: unknown: {why}")),
        Finding::Differs(all) => {
            out.line(format_args!("{database}: {}", count(all.len() as u64, "difference")));
            for difference in all.iter().take(SHOWN) {
                out.line(format_args!("  {}", printable(&difference.to_string())));
            }
            if all.len() > SHOWN {
                out.line(format_args!("  and {} more; --json prints all", all.len() - SHOWN));
            }
        }
    }
}

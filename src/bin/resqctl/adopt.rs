//! `resqctl adopt`: parses, calls `resq::resources::adopt`, prints.

use resq::{
    base::text::printable,
    cli::{Exit, Failure, Output},
    config::Config,
    db::Db,
    resources::{
        Templates,
        adopt::{AdoptError, Adopter, Outcome, Request},
        shape::Difference,
    },
};

use crate::{actor, args::Adopt, check::references, shared::count};

/// Differences of one database that are printed.
const SHOWN: usize = 20;

pub fn adopt(db: &Db, config: &Config, args: &Adopt, out: &mut Output) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::new(Exit::Usage, message));
    if args.databases.is_empty() {
        return usage("missing argument: one or more names of databases");
    }
    if args.name.is_some() && args.databases.len() > 1 {
        return usage("--name is for one database; without it each resource gets the name of its database");
    }
    let templates = Templates::load(config.sql_dir.as_deref())?;
    let (references, actor) = (references(db, config, &templates)?, actor::of_system(&args.reason));
    let mut adopter = Adopter::new(db, db, references, &templates, &config.queue.db_prefix, actor)?;
    let request =
        Request { res_type: &args.res_type, version: args.version, res_name: args.name.as_deref(), force: args.force };
    let (mut adopted, mut refused) = (0, 0);
    adopter
        .run(&args.databases, &request, |db_name, outcome| {
            let name = printable(db_name);
            match outcome {
                Outcome::Adopted(res_id, overruled) => {
                    adopted += 1;
                    out.line(format_args!("{name}: adopted as job {res_id}"));
                    show(overruled, out);
                }
                Outcome::Differs(all) => {
                    refused += 1;
                    out.line(format_args!("{name}: refused: {}", count(all.len() as u64, "difference")));
                    show(all, out);
                }
                Outcome::Refused(why) => {
                    refused += 1;
                    out.line(format_args!("{name}: refused: {why}"));
                }
            }
            out.flush();
        })
        .map_err(|error| match error {
            AdoptError::Database(error) => error.into(),
            other => Failure::new(Exit::Failed, format!("{other}; nothing was adopted")),
        })?;
    out.line(format_args!("{} adopted, {refused} refused", count(adopted, "database")));
    match refused {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            "databases that differ were not adopted; change them or the templates, or repeat with --force",
        )),
    }
}

fn show(differences: &[Difference], out: &mut Output) {
    for difference in differences.iter().take(SHOWN) {
        out.line(format_args!("  {}", printable(&difference.to_string())));
    }
    if differences.len() > SHOWN {
        out.line(format_args!("  and {} more", differences.len() - SHOWN));
    }
}

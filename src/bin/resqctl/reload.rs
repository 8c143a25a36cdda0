//! The command that makes every daemon read its templates again.

use mysql::prelude::Queryable;
use resq::{
    cli::{Failure, Output},
    config::Config,
    db::{Db, Link, ServerInfo, ring},
    events::store,
    queue::audit::record,
    resources::{Templates, migrate::applied, template_sets::RELOAD},
};

use crate::{actor, args::Reload};

pub fn run(db: &Db, config: &Config, args: &Reload, out: &mut Output) -> Result<(), Failure> {
    let mut conn = db.global()?;
    // A mistake is reported here, where it can be seen; each daemon checks its own files, too.
    let templates = Templates::load(config.sql_dir.as_deref())?;
    templates.check_sizes(ServerInfo::query(&mut conn)?.max_packet_bytes)?;
    applied::check(&mut conn, &templates)?;
    let actor = actor::of_system(&args.reason);
    Link::new(db).run(|conn| {
        conn.query_drop("START TRANSACTION")?;
        record(conn, &actor, "reload", "the templates", 0)?;
        store::write(conn, RELOAD, "{}")?;
        Ok(conn.query_drop("COMMIT")?)
    })?;
    ring(&mut conn);
    out.line("the templates are right; every resqd reads its own again, and logs it if it cannot use them");
    Ok(())
}

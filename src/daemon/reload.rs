//! What the daemon reads again at SIGHUP: certificates, tokens and templates; templates also after `resqctl reload`. Each is
//! checked first, and what cannot be used leaves the old one in place.

use std::path::Path;

use mysql::Conn;

use crate::{
    base::failure::Failure,
    cli,
    db::{Db, ServerInfo},
    net::Reloader,
    resources::{DatabaseBuilder, Templates, migrate::applied, template_sets},
};

/// Takes over the certificates and tokens that the settings name now.
pub fn settings(broker: &Reloader) {
    let settings = cli::settings_again().map_err(|error| error.to_string());
    match settings.and_then(|config| broker.reload(&config).map_err(|error| error.to_string())) {
        Ok(()) => log::info!("settings: certificates and tokens were read again"),
        Err(error) => log::error!("settings: {error}; keeping all certificates and tokens as they were"),
    }
}

/// Builds databases by the templates that are in `sql_dir` now.
pub fn templates(db: &Db, builder: &DatabaseBuilder, sql_dir: Option<&Path>) {
    match read(db, sql_dir) {
        Ok(templates) => {
            builder.replace(templates);
            log::info!("templates: read again");
        }
        Err(failure) => log::error!("templates: cannot be read again; going on with those from before: {failure}"),
    }
}

fn read(db: &Db, sql_dir: Option<&Path>) -> Result<Templates, Failure> {
    let templates = Templates::load(sql_dir)?;
    let mut conn = db.global()?;
    let server = ServerInfo::query(&mut conn)?;
    accept(&mut conn, &server, &templates)?;
    Ok(templates)
}

/// Checks templates against the server and against what was applied, and keeps their texts there.
///
/// # Errors
/// They cannot be used, or the server's.
pub fn accept(conn: &mut Conn, server: &ServerInfo, templates: &Templates) -> Result<(), Failure> {
    templates.check_sizes(server.max_packet_bytes)?;
    applied::check(conn, templates)?;
    template_sets::keep(conn, templates)?;
    Ok(())
}

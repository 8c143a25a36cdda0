//! What SIGHUP has read again. Changes nothing where something read cannot be used.

use crate::{cli, net::Reloader};

/// Takes over the certificates and tokens that the settings name now.
pub fn reload(broker: &Reloader) {
    let settings = cli::settings_again().map_err(|error| error.to_string());
    match settings.and_then(|config| broker.reload(&config).map_err(|error| error.to_string())) {
        Ok(()) => log::info!("settings: certificates and tokens were read again"),
        Err(error) => log::error!("settings: {error}; keeping all certificates and tokens as they were"),
    }
}

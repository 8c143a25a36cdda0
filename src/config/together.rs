//! Settings that are right one by one and not together. Reads nothing.

use super::{ClientTlsMode, Config, Invalid, Tls};

/// Checks the settings of the sections that a program takes.
///
/// # Errors
/// Two of them contradict each other, or one lacks another.
pub fn check(config: &Config, takes: &[&str]) -> Result<(), Invalid> {
    let problem = takes.iter().find_map(|section| match *section {
        "broker" => broker(config),
        "database" => database(config),
        "client" => client(config),
        _ => None,
    });
    problem.map_or(Ok(()), |problem| Err(Invalid(problem.into())))
}

fn broker(config: &Config) -> Option<&'static str> {
    let broker = &config.broker;
    let has_tls = broker.listen.iter().chain(&config.http.listen).any(|listen| listen.tls);
    match (&broker.tls_cert, &broker.tls_key) {
        _ if broker.listen.is_empty() && broker.socket.is_none() => {
            Some("broker.listen is empty and broker.socket is not set; resqd needs at least one address to listen on")
        }
        (Some(_), None) | (None, Some(_)) => {
            Some("of broker.tls_cert and broker.tls_key one is set; set both or neither")
        }
        (None, None) if has_tls => {
            Some("an address with tls:// needs a certificate and its key; set broker.tls_cert and broker.tls_key")
        }
        _ if broker.tls_client_ca.is_some() && !broker.listen.iter().any(|listen| listen.tls) => Some(
            "broker.tls_client_ca has no effect unless broker.listen has an address with tls://; add one, or remove it",
        ),
        _ => None,
    }
}

fn database(config: &Config) -> Option<&'static str> {
    let is_idle = config.database.tls_ca.is_some() && config.database.tls != Tls::Verify;
    is_idle.then_some("database.tls_ca has no effect unless database.tls is verify; set both or neither")
}

fn client(config: &Config) -> Option<&'static str> {
    let client = &config.client;
    match client.tls {
        _ if client.tls_cert.is_some() != client.tls_key.is_some() => {
            Some("of client.tls_cert and client.tls_key one is set; set both or neither")
        }
        ClientTlsMode::Off if client.tls_cert.is_some() => {
            Some("client.tls_cert has no effect while client.tls is off; set client.tls (--tls) to verify")
        }
        ClientTlsMode::Off | ClientTlsMode::Required if client.tls_ca.is_some() => Some(
            "client.tls_ca has no effect unless client.tls is verify; set both (--tls verify --tls-ca FILE) or neither",
        ),
        _ => None,
    }
}

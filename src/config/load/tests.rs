//! Which source wins, and what is refused.

use super::*;

/// Loads with a file's text, variables and flags.
fn loaded(takes: &[&str], file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    all_loaded(takes, file, env, flags).map(|loaded| loaded.config)
}

fn all_loaded(takes: &[&str], file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resq.toml");
    std::fs::write(&path, file).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags: Vec<_> = flags
        .iter()
        .map(|(flag, value)| {
            let setting = SETTINGS.iter().find(|s| s.flag == Some(flag) && taken(s, takes)).unwrap();
            (setting, value.to_string())
        })
        .collect();
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
    load(&Sources { takes, file: Some(path), env: &env, flags: &flags }).map_err(|e| e.to_string())
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let (file, env, flag) = ("[queue]\nworkers = 2\n", [("RESQ_WORKERS", "3")], [("--workers", "4")]);
    let workers = |file: &str, env: &[_], flags: &[_]| loaded(&["queue"], file, env, flags).unwrap().queue.workers;
    assert_eq!(workers("", &[], &[]), 5);
    assert_eq!(workers(file, &[], &[]), 2);
    assert_eq!(workers(file, &env, &[]), 3);
    assert_eq!(workers(file, &env, &flag), 4);
    assert_eq!(workers(file, &[("RESQ_WORKERS", "")], &[]), 2, "an empty variable counts as unset");
}

#[test]
fn a_program_ignores_variables_of_settings_that_it_does_not_accept() {
    let env = [("RESQ_SOCKET", "/s"), ("RESQ_WORKERS", "nonsense")];
    let client = loaded(&["client"], "", &env, &[]).unwrap();
    assert_eq!(client.client.socket, Some("/s".into()));
    assert_eq!(client.broker.socket, None);
    assert_eq!(loaded(&["broker"], "", &env, &[]).unwrap().broker.socket, Some("/s".into()));
}

#[test]
fn a_repeated_flag_extends_a_list_and_is_an_error_elsewhere() {
    let two = [("--listen", "127.0.0.1:1"), ("--listen", "127.0.0.1:2,127.0.0.1:3")];
    let listen = loaded(&["broker"], "", &[], &two).unwrap().broker.listen;
    assert_eq!(listen.iter().map(|a| a.address.port()).collect::<Vec<_>>(), [1, 2, 3]);
    let twice = [("--workers", "1"), ("--workers", "2")];
    assert_eq!(loaded(&["queue"], "", &[], &twice).unwrap_err(), "--workers is given twice");
}

#[test]
fn a_stronger_address_of_the_server_overrides_a_weaker_one() {
    let file = "[client]\nsocket = '/s'\n[database]\nsocket = '/m'\nhosts = 'a,b'\n";
    let config = loaded(&["client", "database"], file, &[], &[("--host", "h"), ("--db-port", "7")]).unwrap();
    assert_eq!((config.client.host.as_str(), config.client.socket), ("h", None));
    assert_eq!((config.database.port, config.database.socket, config.database.hosts.len()), (7, None, 0));
    let config = loaded(&["client", "database"], file, &[("MYSQL_SOCKET", "/n")], &[]).unwrap();
    assert_eq!(config.client.socket, Some("/s".into()));
    assert_eq!((config.database.socket, config.database.hosts.len()), (Some("/n".into()), 0));
}

#[test]
fn an_invalid_value_is_reported_with_its_place_unless_it_is_secret() {
    let file = |text: &str| loaded(&[], text, &[], &[]).unwrap_err();
    let message = file("[database]\n\nport = 0\n");
    assert!(message.ends_with("resq.toml:3: database.port: invalid value \"0\"; expected a number from 1 to 65535"));
    let env = |name, value| loaded(&["database", "broker"], "", &[(name, value)], &[]).unwrap_err();
    assert!(env("RESQ_GLOBAL_DB", "mysql").starts_with("RESQ_GLOBAL_DB: invalid value \"mysql\"; expected 1 to 64"));
    assert!(env("MYSQL_HOST", "a\u{1b}[2J").starts_with("MYSQL_HOST: invalid value \"a\\u{1b}[2J\""));
    assert!(!env("MYSQL_PASSWORD", "hunter2\n").contains("hunter2"));
    let flag = loaded(&["queue"], "", &[], &[("--workers", "many")]).unwrap_err();
    assert_eq!(flag, "--workers: invalid value \"many\"; expected a number from 1 to 1024");
}

#[test]
fn a_daemon_needs_something_to_listen_on() {
    assert!(loaded(&["broker"], "[broker]\nlisten = []\n", &[], &[]).unwrap_err().contains("at least one address"));
    assert!(loaded(&["broker"], "[broker]\nlisten = []\nsocket = '/s'\n", &[], &[]).is_ok());
    assert!(loaded(&["client"], "[broker]\nlisten = []\n", &[], &[]).is_ok());
}

#[test]
fn an_authority_without_verification_is_refused() {
    let file = "[database]\ntls_ca = '/ca.pem'\n";
    assert!(loaded(&["database"], file, &[], &[]).unwrap_err().contains("has no effect"));
    assert!(loaded(&["database"], file, &[("MYSQL_TLS", "verify")], &[]).is_ok());
    assert!(loaded(&["client"], file, &[], &[]).is_ok());
    let wrong = loaded(&["database"], "", &[], &[("--db-tls", "on")]).unwrap_err();
    assert_eq!(wrong, "--db-tls: invalid value \"on\"; expected off, preferred, required or verify");
}

#[test]
fn a_named_settings_file_must_exist() {
    let load = |file: Option<&str>, var: &str| {
        let env = |name: &str| (name == "RESQ_CONFIG").then(|| var.to_string());
        load(&Sources { takes: &[], file: file.map(PathBuf::from), env: &env, flags: &[] }).map_err(|e| e.to_string())
    };
    let missing = "/nonexistent/x: this settings file does not exist";
    assert_eq!(load(Some("/nonexistent/x"), "").unwrap_err(), missing);
    assert_eq!(load(None, "/nonexistent/x").unwrap_err(), missing);
    assert!(load(Some("/"), "").unwrap_err().starts_with("/: cannot read this settings file"));
}

#[cfg(unix)]
#[test]
fn a_token_file_is_read_without_its_line_end_and_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let token = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        loaded(&["broker.token"], "", &[("RESQ_TOKEN", "weaker")], &[("--token-file", path.to_str().unwrap())])
            .map(|config| config.broker.token.unwrap().0)
    };
    assert_eq!(token("s3cret\n", 0o600).unwrap(), "s3cret");
    assert!(token("s3cret\n", 0o640).unwrap_err().contains("chmod 600"));
    assert!(token("\n", 0o600).unwrap_err().starts_with("--token-file: invalid value (hidden)"));
    assert!(!token(&"s3cret".repeat(1000), 0o600).unwrap_err().contains("s3cret"));
}

#[cfg(unix)]
#[test]
fn a_secret_is_read_from_a_file_of_any_mode_and_a_public_one_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let of = |setting: &str, text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let (section, key) = setting.split_once('.').unwrap();
        let file = format!("[{section}]\n{key} = '{}'\n", path.display());
        let takes = if section == "client" { &["client", "broker.token"][..] } else { &["database", "broker"] };
        all_loaded(takes, &file, &[], &[]).map(|Loaded { config, public_secrets }| {
            let token = config.broker.token.unwrap_or_default().0;
            (config.database.password.0 + &token, !public_secrets.is_empty())
        })
    };
    for setting in ["database.password_file", "broker.token_file", "client.token_file"] {
        for (text, mode, secret, is_public) in [
            ("s3cret", 0o400, "s3cret", false),
            ("s3cret\n", 0o440, "s3cret", false),
            ("s3cret\r\n", 0o444, "s3cret", true),
            (" a # b ", 0o644, " a # b ", true),
            (&"x".repeat(1024), 0o600, &"x".repeat(1024), false),
        ] {
            assert_eq!(of(setting, text, mode), Ok((secret.to_string(), is_public)), "{setting} {text:?} {mode:o}");
        }
        for (text, why) in [
            ("s3cret\n\n", "invalid value (hidden)"),
            ("s3cret\0", "invalid value (hidden)"),
            (&"s3cret".repeat(200), "invalid value (hidden)"),
        ] {
            let refused = of(setting, text, 0o600).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("s3cret"), "{setting} {text:?}: {refused}");
        }
    }
    assert_eq!(of("database.password_file", "\n", 0o600), Ok((String::new(), false)), "no password");
    assert!(of("broker.token_file", "\n", 0o600).is_err(), "no token");
}

#[test]
fn a_secrets_file_counts_as_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (one, two) = (path("one", "one"), path("two", "two"));
    let gone = "/nonexistent/secret";
    let client = ["client", "broker.token"];
    let daemon = ["database", "broker"];
    let in_broker = |path: &str| format!("[broker]\ntoken_file = '{path}'\n");
    let in_client = |path: &str| format!("[client]\ntoken_file = '{path}'\n");
    // Program, file, environment; the token, or what the error says.
    for (takes, file, env, token) in [
        (&daemon[..], in_broker(&one), &[][..], Ok("one")),
        (&client, in_broker(&one), &[], Ok("one")),
        (&client, in_broker(gone) + &in_client(&two), &[("RESQ_TOKEN", "three")], Ok("three")),
        (&client, in_broker(gone) + &in_client(&two), &[], Ok("two")),
        (&client, in_broker(&one) + &in_client(&two), &[], Ok("two")),
        (&daemon, in_broker(&one) + &in_client(gone), &[], Ok("one")),
        (&daemon, in_broker(gone), &[("RESQ_TOKEN_FILE", &two)], Ok("two")),
        (&daemon, in_broker(gone), &[("RESQ_TOKEN", "three")], Ok("three")),
        (&client, in_client(&one), &[("RESQ_TOKEN_FILE", &two)], Ok("two")),
        (&daemon, in_broker(gone), &[], Err("broker.token_file: cannot read /nonexistent/secret")),
        (&daemon, in_broker(&one) + "token = 'three'\n", &[], Err("keep one of the two")),
        (&daemon, String::new(), &[("RESQ_TOKEN", "a"), ("RESQ_TOKEN_FILE", &one)], Err("keep one of the two")),
        (&client, String::new(), &[("RESQ_TOKEN", "a"), ("RESQ_TOKEN_FILE", &one)], Err("keep one of the two")),
    ] {
        let found = loaded(takes, &file, env, &[]).map(|config| config.broker.token.unwrap_or_default().0);
        match (&found, token) {
            (Ok(found), Ok(token)) => assert_eq!(found, token, "{file} {env:?}"),
            (Err(found), Err(error)) => assert!(found.contains(error), "{file} {env:?}: {found}"),
            _ => panic!("{file} {env:?}: {found:?}"),
        }
    }
}

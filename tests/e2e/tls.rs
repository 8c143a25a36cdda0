//! TLS to the database, with certificates of the test's own: what each value of `database.tls` takes and refuses, and
//! that nothing a server or a file holds makes a program panic.

use std::{fs, path::PathBuf};

use mysql::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use resq_test_support::{Finished, Instance, Program, Server};

/// An authority, and a folder where a server finds its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = Authority { issuer: Issuer::new(params, key), pem, dir: tempfile::tempdir().unwrap() };
        fs::write(authority.file("ca.pem"), &authority.pem).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a certificate for `name`, good until the end of `until`, where the server finds it.
    fn certify(&self, name: &str, until: i32) {
        let mut params = CertificateParams::new([name.to_string()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        fs::write(self.file("cert.pem"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
    }

    /// A single server of this kind with that certificate; None on a cluster.
    fn server(&self) -> Option<Server> {
        if matches!(Server::shared().kind(), "galera" | "group") {
            return None;
        }
        let option = |name: &str, file: &str| format!("--ssl-{name}={}", self.file(file).display());
        let options = [option("ca", "ca.pem"), option("cert", "cert.pem"), option("key", "key.pem")];
        Some(Server::with_options(&options.each_ref().map(String::as_str)))
    }
}

/// With these settings of `database.tls` and `database.tls_ca`.
fn with(program: Program, tls: &str, ca: Option<&PathBuf>) -> Program {
    let program = program.env("MYSQL_TLS", tls);
    ca.into_iter().fold(program, |program, path| program.env("MYSQL_TLS_CA", path))
}

fn refused(finished: Finished, why: &str) {
    assert!(finished.stderr.contains(why) && !finished.stderr.contains("panicked"), "{why:?} expected: {finished}");
}

#[test]
fn an_account_that_requires_tls_is_served_over_it_alone() {
    let authority = Authority::new();
    authority.certify("127.0.0.1", 4000);
    let Some(server) = authority.server() else { return };
    let instance = Instance::on(&server, "tls_account");
    let mut conn = instance.server.conn();
    conn.query_drop(format!("ALTER USER '{}'@'%' REQUIRE SSL", instance.daemon.user)).unwrap();
    let denied = with(instance.resqctl(["init"]), "off", None).expect_code(3);
    refused(denied, "database.tls where the account requires it");
    with(instance.resqctl(["init"]), "required", None).ok();

    let ca = authority.file("ca.pem");
    for (tls, ca) in [("preferred", None), ("required", None), ("verify", Some(&ca))] {
        let resqd = with(instance.resqd(), tls, ca).spawn_ready();
        with(instance.resqctl(["seed", "--count", "10"]), tls, ca).ok();
        with(instance.resqctl(["wait", "--timeout", "50"]), tls, ca).ok();
        let doctor = with(instance.resqctl(["doctor"]), tls, ca).ok();
        assert!(doctor.contains("ok       encryption: TLSv1."), "{tls}: {doctor}");
        assert_eq!(resqd.stop().code(), Some(0));
    }

    // Sessions that are lost are made anew in the same way, whatever the server remembers of the password.
    let resqd = with(instance.resqd(), "verify", Some(&ca)).spawn_ready();
    let sessions = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{}'", instance.daemon.user);
    conn.query_drop("FLUSH PRIVILEGES").unwrap();
    for id in conn.query::<u64, _>(&sessions).unwrap() {
        let _ = conn.query_drop(format!("KILL {id}"));
    }
    with(instance.resqctl(["seed", "--count", "5"]), "verify", Some(&ca)).ok();
    with(instance.resqctl(["wait", "--timeout", "50"]), "verify", Some(&ca)).ok();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn verify_takes_the_hosts_own_certificate_by_a_trusted_authority_and_no_other() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.certify("127.0.0.1", 4000);
    let Some(server) = authority.server() else { return };
    let instance = Instance::on(&server, "tls_verify");
    instance.resqctl(["init"]).ok();
    let (ca, other) = (authority.file("ca.pem"), stranger.file("ca.pem"));
    let verify = |ca: Option<&PathBuf>| with(instance.resqctl(["list"]), "verify", ca);
    verify(Some(&ca)).ok();
    refused(verify(None).expect_code(3), "UnknownIssuer; check database.tls, database.tls_ca");
    refused(verify(Some(&other)).expect_code(3), "invalid peer certificate");
    let doctor = with(instance.resqctl(["doctor"]), "verify", None).expect_code(3);
    assert!(doctor.stdout.contains("FAILED   login: ") && doctor.stdout.contains("database.tls_ca"), "{doctor}");

    for (name, until, why) in [("other.example", 4000, "not valid for name"), ("127.0.0.1", 2020, "expired")] {
        authority.certify(name, until);
        match (server.kind(), until) {
            ("mysql97", 2020) => continue, // takes none that is expired
            ("mysql97", _) => server.conn().query_drop("ALTER INSTANCE RELOAD TLS").unwrap(),
            _ => server.conn().query_drop("FLUSH SSL").unwrap(),
        }
        refused(verify(Some(&ca)).expect_code(3), why);
        refused(with(instance.resqd(), "verify", Some(&ca)).expect_code(3), why);
        // Who did not ask whose certificate it is has a connection all the same.
        for tls in ["preferred", "required"] {
            let doctor = with(instance.resqctl(["doctor"]), tls, None).ok();
            assert!(doctor.contains("ok       encryption: TLSv1."), "{tls}: {doctor}");
        }
    }

    // A socket is never encrypted, and needs it least.
    let socket = server.node(1).socket;
    with(instance.resqctl(["list"]), "verify", Some(&ca)).env("MYSQL_SOCKET", &socket).ok();
}

#[test]
fn a_server_without_tls_is_taken_by_those_who_only_prefer_it() {
    let own;
    let server = match Server::shared().kind() {
        "galera" | "group" => return,
        "mysql97" => {
            own = Server::with_options(&["--tls-version="]);
            &own
        }
        _ => Server::shared(),
    };
    let instance = Instance::on(server, "tls_none");
    instance.resqctl(["init"]).ok();
    let resqd = instance.resqd().spawn();
    instance.resqctl(["seed", "--count", "5"]).ok();
    instance.resqctl(["wait", "--timeout", "50"]).ok();
    let doctor = instance.resqctl(["doctor"]).ok();
    assert!(doctor.contains("warning  encryption: none"), "{doctor}");
    assert_eq!(resqd.stop().code(), Some(0));
    for tls in ["required", "verify"] {
        refused(with(instance.resqctl(["list"]), tls, None).expect_code(3), "set up TLS on that server");
        refused(with(instance.resqd(), tls, None).expect_code(3), "set up TLS on that server");
    }
}

#[test]
fn what_a_server_made_for_itself_is_encrypted_with_and_verifies_nobody() {
    if Server::shared().kind() != "mysql97" {
        return; // the others make no certificate
    }
    let instance = Instance::ready("tls_own");
    let data: String = instance.conn().query_first("SELECT @@datadir").unwrap().unwrap();
    let ca = PathBuf::from(data).join("ca.pem");
    assert!(instance.resqctl(["doctor"]).run().stdout.contains("ok       encryption: TLSv1."));
    with(instance.resqctl(["list"]), "required", None).ok();
    refused(with(instance.resqctl(["list"]), "verify", Some(&ca)).expect_code(3), "not valid for name");
}

#[test]
fn a_file_that_holds_no_authority_is_refused_with_its_name() {
    let instance = Instance::new("tls_file");
    let file = instance.dir().join("ca.pem");
    let list = || with(instance.resqctl(["list"]), "verify", Some(&file));
    refused(list().expect_code(2), "database.tls_ca");
    for text in ["", "not a certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(&file, text).unwrap();
        refused(list().expect_code(2), "there is no certificate in it");
        refused(with(instance.resqd(), "verify", Some(&file)).expect_code(2), "there is no certificate in it");
    }
    for text in ["!!!", "AAAA", ""] {
        fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")).unwrap();
        let finished = list().run();
        assert!(matches!(finished.code(), Some(2 | 3)), "{finished}");
        refused(finished, "database.tls");
    }
    let alone = instance.resqctl(["list"]).env("MYSQL_TLS_CA", &file).expect_code(2);
    refused(alone, "database.tls is not verify");
}

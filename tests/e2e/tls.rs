//! TLS to the database, with the test's own certificates: what each value of `database.tls` accepts and refuses, and that
//! nothing in a server or a file makes a program panic.

use std::{fs, path::PathBuf};

use mysql::prelude::Queryable;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use resq_test_support::{Doctor, Instance, Program, Server, Verdict, sessions};

/// A certificate authority, and a folder in which a server finds its certificate.
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

    /// Puts a certificate for `name`, valid until the end of the year `until`, where the server finds it.
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

/// It has ended with this code, which a panic does not have, and names the setting.
fn refused(program: Program, code: i32, setting: &str) {
    let finished = program.expect_code(code);
    assert!(finished.stderr.contains(setting), "{setting} expected: {finished}");
}

fn assert_encrypted(program: Program) {
    let doctor = Doctor::of(program.expect_code(0));
    assert!(doctor.verdict("encryption") == Verdict::Good && doctor.text("encryption").starts_with("TLSv1."));
}

#[test]
fn account_that_requires_tls_is_used_over_tls_only() {
    let authority = Authority::new();
    authority.certify("127.0.0.1", 4000);
    let Some(server) = authority.server() else { return };
    let instance = Instance::on(&server, "tls_account");
    let mut conn = instance.server.conn();
    conn.query_drop(format!("ALTER USER '{}'@'%' REQUIRE SSL", instance.daemon.user)).unwrap();
    refused(with(instance.resqctl(["init"]), "off", None), 3, "database.tls");
    with(instance.resqctl(["init"]), "required", None).ok();

    let ca = authority.file("ca.pem");
    for (tls, ca) in [("preferred", None), ("required", None), ("verify", Some(&ca))] {
        let resqd = with(instance.resqd(), tls, ca).spawn_ready();
        with(instance.resqctl(["seed", "--count", "10"]), tls, ca).ok();
        with(instance.resqctl(["wait", "--timeout", "50"]), tls, ca).ok();
        assert_encrypted(with(instance.resqctl(["doctor"]), tls, ca));
        assert_eq!(resqd.stop().code(), Some(0));
    }

    // Lost sessions are opened again in the same way, even after the server has flushed its cache of passwords.
    let resqd = with(instance.resqd(), "verify", Some(&ca)).spawn_ready();
    let opened = format!("SELECT id FROM {} WHERE user = '{}'", sessions(), instance.daemon.user);
    conn.query_drop("FLUSH PRIVILEGES").unwrap();
    for id in conn.query::<u64, _>(&opened).unwrap() {
        let _ = conn.query_drop(format!("KILL {id}"));
    }
    with(instance.resqctl(["seed", "--count", "5"]), "verify", Some(&ca)).ok();
    with(instance.resqctl(["wait", "--timeout", "50"]), "verify", Some(&ca)).ok();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn verify_accepts_only_the_hosts_certificate_from_a_trusted_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.certify("127.0.0.1", 4000);
    let Some(server) = authority.server() else { return };
    let instance = Instance::on(&server, "tls_verify");
    instance.resqctl(["init"]).ok();
    let (ca, other) = (authority.file("ca.pem"), stranger.file("ca.pem"));
    let verify = |ca: Option<&PathBuf>| with(instance.resqctl(["list"]), "verify", ca);
    verify(Some(&ca)).ok();
    refused(verify(None), 3, "database.tls_ca");
    refused(verify(Some(&other)), 3, "database.tls_ca");
    let doctor = Doctor::of(with(instance.resqctl(["doctor"]), "verify", None).expect_code(3));
    assert_eq!(doctor.with(Verdict::Failed), ["login"]);
    assert!(doctor.text("login").contains("database.tls_ca"), "{}", doctor.finished);

    for (name, until) in [("other.example", 4000), ("127.0.0.1", 2020)] {
        authority.certify(name, until);
        match (server.kind(), until) {
            ("mysql97", 2020) => continue, // does not load an expired one
            ("mysql97", _) => server.conn().query_drop("ALTER INSTANCE RELOAD TLS").unwrap(),
            _ => server.conn().query_drop("FLUSH SSL").unwrap(),
        }
        refused(verify(Some(&ca)), 3, "database.tls");
        refused(with(instance.resqd(), "verify", Some(&ca)), 3, "database.tls");
        // Without verification the connection is encrypted all the same.
        for tls in ["preferred", "required"] {
            assert_encrypted(with(instance.resqctl(["doctor"]), tls, None));
        }
    }

    // A Unix socket is not encrypted and needs no verification.
    let socket = server.node(1).socket;
    with(instance.resqctl(["list"]), "verify", Some(&ca)).env("MYSQL_SOCKET", &socket).ok();
}

#[test]
fn server_without_tls_is_accepted_by_preferred_only() {
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
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(0));
    assert_eq!(doctor.verdict("encryption"), Verdict::Warning);
    assert_eq!(resqd.stop().code(), Some(0));
    for tls in ["required", "verify"] {
        refused(with(instance.resqctl(["list"]), tls, None), 3, "database.tls");
        refused(with(instance.resqd(), tls, None), 3, "database.tls");
    }
}

#[test]
fn self_made_certificate_encrypts_and_does_not_verify() {
    if Server::shared().kind() != "mysql97" {
        return; // the others create no certificate
    }
    let instance = Instance::ready("tls_own");
    let data: String = instance.conn().query_first("SELECT @@datadir").unwrap().unwrap();
    let ca = PathBuf::from(data).join("ca.pem");
    assert_encrypted(instance.resqctl(["doctor"]));
    with(instance.resqctl(["list"]), "required", None).ok();
    refused(with(instance.resqctl(["list"]), "verify", Some(&ca)), 3, "database.tls");
}

#[test]
fn file_without_an_authority_is_refused_by_its_setting() {
    let instance = Instance::new("tls_file");
    let file = instance.dir().join("ca.pem");
    let list = || with(instance.resqctl(["list"]), "verify", Some(&file));
    refused(list(), 2, "database.tls_ca");
    for text in ["", "not a certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(&file, text).unwrap();
        refused(list(), 2, "database.tls_ca");
        refused(with(instance.resqd(), "verify", Some(&file)), 2, "database.tls_ca");
    }
    for text in ["!!!", "AAAA", ""] {
        fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")).unwrap();
        let finished = list().run();
        assert!(matches!(finished.code(), Some(2 | 3)), "{finished}");
        assert!(finished.stderr.contains("database.tls"), "{finished}");
    }
    refused(instance.resqctl(["list"]).env("MYSQL_TLS_CA", &file), 2, "database.tls_ca");
}

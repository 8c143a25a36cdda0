//! The accounts under which the tests run resq. They are created by the project's own grant files, under names unique to
//! one installation, so every test also tests these files. Tests prepare and inspect as root.

use mysql::{Conn, OptsBuilder, prelude::Queryable};

use crate::{server::Server, wait::wait_until};

const DAEMON: &str = include_str!("../../../scripts/grants.sql");
const APPLICATION: &str = include_str!("../../../scripts/grants_app.sql");

/// A user of the database server and its password.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub password: String,
}

impl Account {
    /// The account of resqd and resqctl.
    pub fn daemon(server: &Server, global_db: &str, db_prefix: &str) -> Account {
        let account = Account::named(global_db);
        let escaped = |name: &str| name.replace('_', "\\_");
        let names = [
            ("`resq`", format!("`{}`", escaped(global_db))),
            ("`res\\_%`", format!("`{}%`", escaped(db_prefix))),
            ("'resq'@", format!("'{}'@", account.user)),
        ];
        account.grant(server, DAEMON, &names);
        account
    }

    /// An application's account; after `resqctl init`.
    pub fn application(server: &Server, global_db: &str) -> Account {
        let account = Account::named(&format!("{global_db}_app"));
        let names = [("`resq`", format!("`{global_db}`")), ("'resq_app'@", format!("'{}'@", account.user))];
        account.grant(server, APPLICATION, &names);
        account
    }

    fn named(user: &str) -> Account {
        assert!(user.len() <= 32, "MySQL limits user names to 32 characters: {user}");
        // Longer than the nonce that scrambles it at login.
        Account { user: user.into(), password: format!("the password of {user}") }
    }

    fn grant(&self, server: &Server, file: &str, names: &[(&str, String)]) {
        let script = names.iter().fold(file.replace("CHANGE-ME", &self.password), |script, (from, to)| {
            assert!(script.contains(from), "no {from} in the grant file");
            script.replace(from, to)
        });
        let mut conn = server.conn();
        conn.query_drop(script).expect("the grants");
        // The other nodes of a cluster apply them a moment later.
        let show = format!("SHOW GRANTS FOR '{}'@'%'", self.user);
        let granted: Vec<String> = conn.query(&show).expect("its grants");
        for n in 2..=server.nodes().len() {
            wait_until("the grants on every node", || match server.try_conn(n) {
                Ok(mut conn) => conn.query(&show).is_ok_and(|there: Vec<String>| there == granted),
                // Another test has killed it; it has them when it is back.
                Err(_) => true,
            });
        }
    }

    /// A session over TCP.
    pub fn conn(&self, server: &Server) -> Conn {
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(server.port())
            .prefer_socket(false)
            .user(Some(&self.user))
            .pass(Some(&self.password));
        server.open(opts).expect("the account logs in")
    }
}

//! `resq-client --toast`, in a client of its own that has this feature, on a real D-Bus session bus, with a stand-in for the
//! desktop's notification service that records what it is asked to show.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use dbus::{
    blocking::LocalConnection,
    channel::{Channel, MatchingReceiver, Sender},
    message::MatchRule,
};

use resq_test_support::{DEADLINE, Program, Running, not_tested, warnings};

use super::broker::TestBroker;

/// A session bus in a folder of its own; ends with the value.
struct Bus {
    address: String,
    _daemon: Running,
    _directory: tempfile::TempDir,
}

impl Bus {
    fn start() -> Bus {
        let directory = tempfile::tempdir().unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/testbus.sh");
        let run = Program::new(script).arg(directory.path()).env("HOME", std::env::var_os("HOME").unwrap_or_default());
        let mut daemon = run.spawn();
        daemon.wait_for_output("unix:path=");
        Bus { address: daemon.stdout().trim().into(), _daemon: daemon, _directory: directory }
    }

    /// A notification service; gives each notification as one line `app|icon|title|body`, until the bus ends.
    fn desktop(&self) -> mpsc::Receiver<String> {
        let (shown, notifications) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let address = self.address.clone();
        std::thread::spawn(move || {
            let mut channel = Channel::open_private(&address).unwrap();
            channel.register().unwrap();
            let connection = LocalConnection::from(channel);
            connection.request_name("org.freedesktop.Notifications", false, true, false).unwrap();
            connection.start_receive(
                MatchRule::new_method_call(),
                Box::new(move |call, connection| {
                    let reply = call.method_return();
                    if call.member().as_deref() != Some("Notify") {
                        return connection.send(reply).is_ok();
                    }
                    let mut args = call.iter_init();
                    let app: String = args.read().unwrap();
                    let _replaces: u32 = args.read().unwrap();
                    let [icon, title, body]: [String; 3] = std::array::from_fn(|_| args.read().unwrap());
                    let sent = shown.send(format!("{app}|{icon}|{title}|{body}"));
                    sent.is_ok() && connection.send(reply.append1(7u32)).is_ok()
                }),
            );
            ready.send(()).unwrap();
            while connection.process(Duration::from_secs(1)).is_ok() {}
        });
        is_ready.recv_timeout(DEADLINE).unwrap();
        notifications
    }
}

/// The client that `scripts/test.sh` has built with the feature. None: this is not run by it.
fn client(daemon: &TestBroker) -> Option<Program> {
    let Ok(path) = std::env::var("TOAST_CLIENT") else {
        not_tested("TOAST_CLIENT names no resq-client with the feature `toast`");
        return None;
    };
    Some(daemon.program(&path).arg("-v"))
}

#[test]
fn each_event_is_shown_with_the_icon_of_its_state() {
    let mut daemon = TestBroker::start();
    let bus = Bus::start();
    let desktop = bus.desktop();
    let Some(client) = client(&daemon) else { return };
    let mut client = client.args(["--sub", "*", "--toast"]).env("DBUS_SESSION_BUS_ADDRESS", &bus.address).spawn_ready();
    daemon.append("Error", r#"{"res_id":1,"res_name":"shop-17","last_error":"<b>full</b>"}"#);
    daemon.append("Suspended", r#"{"test":"T7"}"#);
    daemon.append("Completed", "plain");
    let next = || desktop.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next(), "resq|dialog-error|Error|res_name: shop-17\nlast_error: &lt;b&gt;full&lt;/b&gt;\nres_id: 1");
    assert_eq!(next(), "resq|dialog-warning|Suspended|test: T7");
    assert_eq!(next(), "resq|dialog-information|Completed|plain");
    client.wait_for_output("Completed #3 plain\n");
    assert!(warnings(&client.stderr()).is_empty(), "{}", client.stderr());
}

#[test]
fn client_without_a_desktop_warns_once_and_continues() {
    let mut daemon = TestBroker::start();
    let bus = Bus::start(); // a session without a notification service
    for address in [bus.address.as_str(), "unix:path=/nonexistent/bus"] {
        let Some(client) = client(&daemon) else { return };
        let client = client.args(["--sub=A", "--toast", "--count=3"]).env("DBUS_SESSION_BUS_ADDRESS", address);
        let client = client.spawn_ready();
        (0..3).for_each(|_| daemon.append("A", "1"));
        let finished = client.wait();
        assert_eq!((finished.code(), finished.stdout.lines().count()), (Some(0), 3), "{finished}");
        assert_eq!(finished.warnings().len(), 1, "{finished}");
    }
}

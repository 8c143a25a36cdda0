//! HTTP: probes, metrics, the event stream, and who is refused.

mod api;
mod probes;
mod refusals;
mod stream;
mod tools;

use resq_test_support::{Instance, Program, own_port};

/// resqd with HTTP on a port of its own.
fn resqd(instance: &Instance) -> (Program, u16) {
    let port = own_port();
    (resqd_on(instance, port), port)
}

/// resqd with HTTP on this port.
fn resqd_on(instance: &Instance, port: u16) -> Program {
    instance.resqd().env("RESQ_HTTP", format!("127.0.0.1:{port}"))
}

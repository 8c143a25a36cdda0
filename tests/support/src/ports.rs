//! TCP ports that a test may release and bind again.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// A free port below the range from which the system assigns ports, a different one for each call: no other process
/// binds it while the test's broker is down.
pub fn own_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..6_000)));
    let next = || 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 6_000;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).find(free).expect("the iterator is endless")
}

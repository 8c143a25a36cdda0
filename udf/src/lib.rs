//! The functions that a MySQL or MariaDB server loads: `resq_notify(state, payload)`, `resq_ring()` and
//! `resq_stats()`. None of them ever fails, blocks or slows the statement that calls it, whatever the daemon does:
//! a call at most puts a frame into a bounded queue (`inbox`), and one thread (`sender`) does all the talking.
//!
//! In reading order: the C edge (`abi`, `charset`), what calls and thread share (`inbox`), the settings (`config`), one
//! connection (`link`), the thread (`sender`) with its pauses (`pace`) and its lines in the server's log (`log`).

mod abi;
mod charset;
mod config;
mod inbox;
mod link;
mod log;
mod pace;
mod sender;

use abi::{UdfArgs, UdfInit, guard};
use inbox::Inbox;
use std::ffi::{c_char, c_longlong, c_uchar, c_ulong};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all calls share, with the sender at work on it.
fn inbox() -> &'static Inbox {
    static INBOX: OnceLock<Inbox> = OnceLock::new();
    static STARTED: AtomicBool = AtomicBool::new(false);
    let inbox = INBOX.get_or_init(|| {
        abi::quiet_panics();
        Inbox::default()
    });
    if !STARTED.load(Ordering::Acquire) && !STARTED.swap(true, Ordering::AcqRel) && sender::start(inbox).is_err() {
        STARTED.store(false, Ordering::Release);
    }
    inbox
}

/// Connects as soon as the server loads the library (at its start, or at CREATE FUNCTION): a sender that began with
/// the first call would find no connection for it, and the first event after each start would be lost.
#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = {
    extern "C" fn at_load() {
        guard((), || {
            inbox();
        });
    }
    at_load
};

/// # Safety
/// For the server alone, as for all functions here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_notify_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe { abi::init(init, args, message, 2, "resq_notify(state, payload) takes two arguments") })
}

/// 1: put in the sender's queue. 0: dropped.
///
/// # Safety
/// For the server alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_notify(
    _init: *mut UdfInit,
    args: *mut UdfArgs,
    _is_null: *mut c_uchar,
    _error: *mut c_uchar,
) -> c_longlong {
    guard(0, || {
        // SAFETY: passed through from the server, after `resq_notify_init`.
        let [state, payload] = unsafe { abi::arguments(args) };
        inbox().notify(state, payload).into()
    })
}

/// # Safety
/// For the server alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_ring_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe { abi::init(init, args, message, 0, "resq_ring() takes no arguments") })
}

/// Always 1: there is nothing that could go wrong with a ring.
///
/// # Safety
/// For the server alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_ring(
    _init: *mut UdfInit,
    _args: *mut UdfArgs,
    _is_null: *mut c_uchar,
    _error: *mut c_uchar,
) -> c_longlong {
    guard(0, || {
        inbox().ring();
        1
    })
}

/// # Safety
/// For the server alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_stats_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe {
        charset::result_is_utf8mb4(init);
        abi::init(init, args, message, 0, "resq_stats() takes no arguments")
    })
}

/// JSON text: how many daemons are connected, how many events were sent to them, how many dropped.
///
/// # Safety
/// For the server alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_stats(
    _init: *mut UdfInit,
    _args: *mut UdfArgs,
    result: *mut c_char,
    length: *mut c_ulong,
    _is_null: *mut c_uchar,
    _error: *mut c_uchar,
) -> *mut c_char {
    // SAFETY: the server gives RESULT_BYTES bytes for short results.
    let written = guard(0, || inbox().stats(unsafe { abi::result(result) }));
    // SAFETY: the server's own variable.
    unsafe { *length = written as c_ulong };
    result
}

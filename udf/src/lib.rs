//! The functions that a MySQL or MariaDB server loads: `resq_notify(state, payload)`, `resq_ring()` and `resq_stats()`. No
//! call fails, blocks or slows down its statement, whatever the daemon does: at most it puts a frame into a bounded queue
//! (`inbox`). Only the thread `sender` touches sockets.
//!
//! In reading order: the C interface (`abi`, `charset`), the state shared by calls and sender (`inbox`), the settings
//! (`config`), one connection (`connection`), the sender (`sender`) with the pauses between RING frames (`ring_gap`) and its
//! lines in the server's error log (`log`).

mod abi;
mod charset;
mod config;
mod connection;
mod inbox;
mod log;
mod ring_gap;
mod sender;

use abi::{UdfArgs, UdfInit, guard};
use inbox::Inbox;
use std::ffi::{c_char, c_longlong, c_uchar, c_ulong};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state shared by all calls; the first use starts the sender.
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

/// Connects as soon as the server loads the library (at its start, or at CREATE FUNCTION): if the sender started with
/// the first call, it would not be connected yet, and the first event after each start would be lost.
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

/// Refuses any other number of arguments than two.
///
/// # Safety
/// Only for the database server, like all functions here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_notify_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe { abi::init(init, args, message, 2, "resq_notify(state, payload) takes two arguments") })
}

/// 1: queued for sending. 0: dropped.
///
/// # Safety
/// Only for the database server.
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

/// Refuses any arguments.
///
/// # Safety
/// Only for the database server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_ring_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe { abi::init(init, args, message, 0, "resq_ring() takes no arguments") })
}

/// Always 1: it cannot fail.
///
/// # Safety
/// Only for the database server.
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

/// Refuses any arguments.
///
/// # Safety
/// Only for the database server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_stats_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    // SAFETY: passed through from the server.
    guard(false, || unsafe {
        charset::result_is_utf8mb4(init);
        abi::init(init, args, message, 0, "resq_stats() takes no arguments")
    })
}

/// JSON text: the numbers of connected daemons, of events sent to them, and of events dropped.
///
/// # Safety
/// Only for the database server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_stats(
    _init: *mut UdfInit,
    _args: *mut UdfArgs,
    result: *mut c_char,
    length: *mut c_ulong,
    _is_null: *mut c_uchar,
    _error: *mut c_uchar,
) -> *mut c_char {
    // SAFETY: the server provides RESULT_BYTES bytes for a string result.
    let written = guard(0, || inbox().stats(unsafe { abi::result(result) }));
    // SAFETY: a variable of the server, for this call.
    unsafe { *length = written as c_ulong };
    result
}

//! A loadable function that only panics, behind the same guard as the real ones. The tests load it into a real server, so
//! that the library itself needs no way to be made to fail. Includes the file of the guard: linked as a library, the real
//! functions and their sender would start in it, too.

#[path = "../src/abi.rs"]
#[allow(dead_code)]
mod abi;

use abi::{UdfArgs, UdfInit};
use std::ffi::{c_char, c_longlong, c_uchar};

/// Refuses any arguments.
///
/// # Safety
/// Only for the database server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_panic_init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char) -> bool {
    abi::quiet_panics();
    // SAFETY: passed through from the server.
    abi::guard(false, || unsafe { abi::init(init, args, message, 0, "resq_panic() takes no arguments") })
}

/// Always 0.
///
/// # Safety
/// Only for the database server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resq_panic(
    _init: *mut UdfInit,
    _args: *mut UdfArgs,
    _is_null: *mut c_uchar,
    _error: *mut c_uchar,
) -> c_longlong {
    abi::guard(0, || panic!("on purpose"))
}

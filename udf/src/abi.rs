//! The C interface, and with `charset` the only `unsafe` code: the structures that MySQL and MariaDB pass to a loadable
//! function, the guard that stops panics, and two system calls that the standard library lacks (find this library's file,
//! block signals). Knows nothing of what the functions do.
//!
//! Layouts and signatures are those of `mysql_com.h` (MariaDB) and `mysql/udf_registration_types.h` (MySQL), which
//! agree; `bool` and `my_bool` are both one byte.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// `MYSQL_ERRMSG_SIZE`: the size of the message buffer of a failing `_init`, in bytes.
const MESSAGE_BYTES: usize = 512;

/// The size of the server's buffer for a string result, in bytes.
pub const RESULT_BYTES: usize = 255;

const STRING_RESULT: c_int = 0;

/// How many panics are reported in the server's error log. Each is a bug of this library, but must not fill the log.
const REPORTED_PANICS: u32 = 10;

/// `UDF_INIT`.
#[repr(C)]
pub struct UdfInit {
    maybe_null: bool,
    decimals: c_uint,
    max_length: c_ulong,
    ptr: *mut c_char,
    const_item: bool,
    extension: *mut c_void,
}

/// `UDF_ARGS`.
#[repr(C)]
pub struct UdfArgs {
    arg_count: c_uint,
    arg_type: *mut c_int,
    args: *const *const c_char,
    lengths: *const c_ulong,
    maybe_null: *const c_char,
    attributes: *const *const c_char,
    attribute_lengths: *const c_ulong,
    extension: *mut c_void,
}

/// The body of every `_init`: refuses a wrong number of arguments and nothing else (true: refused), asks the server to
/// convert numbers to text, and declares that the result is never NULL and may differ for each row.
///
/// # Safety
/// The pointers must be those that the server passes to a function's `_init`.
pub unsafe fn init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char, arity: usize, usage: &str) -> bool {
    // SAFETY: the server's structures, which nothing else uses during the call.
    let (init, args) = unsafe { (&mut *init, &mut *args) };
    if args.arg_count as usize != arity {
        let length = usage.len().min(MESSAGE_BYTES - 1);
        // SAFETY: `message` has MESSAGE_BYTES bytes and does not overlap `usage`.
        unsafe {
            message.copy_from_nonoverlapping(usage.as_ptr().cast(), length);
            *message.add(length) = 0;
        }
        return true;
    }
    for i in 0..arity {
        // SAFETY: `arg_type` has `arg_count` entries, and an `_init` may change them.
        unsafe { *args.arg_type.add(i) = STRING_RESULT };
    }
    init.maybe_null = false;
    init.const_item = false;
    init.max_length = RESULT_BYTES as c_ulong;
    false
}

/// The arguments of one call, as bytes in the character set of the session; `None` is NULL.
///
/// # Safety
/// `args` must be what the server passed to a function whose `_init` was [`init`] with this `N`, and outlive the result.
pub unsafe fn arguments<'a, const N: usize>(args: *const UdfArgs) -> [Option<&'a [u8]>; N] {
    std::array::from_fn(|i| {
        // SAFETY: `_init` made sure that there are N arguments, all of them strings.
        unsafe {
            let start = *(*args).args.add(i);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), *(*args).lengths.add(i) as usize))
        }
    })
}

/// Runs `call` and returns its result, or `fallback` if it panics: no panic may unwind into the server.
pub fn guard<T>(fallback: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(fallback)
}

/// Writes one line to the server's error log, which is its standard error; the line is lost if that is closed.
pub fn log_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "resq_udf: {line}");
}

/// Replaces the standard panic hook: the first few panics are reported, in one line each.
pub fn quiet_panics() {
    static REPORTED: AtomicU32 = AtomicU32::new(0);
    std::panic::set_hook(Box::new(|panic| {
        if REPORTED
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < REPORTED_PANICS).then_some(n + 1))
            .is_ok()
        {
            log_line(&format!("{panic}").replace('\n', " "));
        }
    }));
}

/// The file of this library.
pub fn library_path() -> Option<PathBuf> {
    let here = library_path as fn() -> Option<PathBuf>;
    // SAFETY: `dladdr` fills `found` or returns 0; the name is valid as long as the library, which is never unmapped.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(here as *const c_void, &mut found) == 0 || found.dli_fname.is_null() {
            return None;
        }
        Some(OsStr::from_bytes(CStr::from_ptr(found.dli_fname).to_bytes()).into())
    }
}

/// Runs `call` with every signal blocked, so that a thread started by it never receives one: they belong to the server.
pub fn signals_blocked<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: the calls use two local sets only; the old mask of this thread is restored.
    unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        let result = call();
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        result
    }
}

/// The server's buffer for a string result.
///
/// # Safety
/// `result` must be what the server passed to a function that returns a string.
pub unsafe fn result<'a>(result: *mut c_char) -> &'a mut [u8] {
    // SAFETY: the server provides RESULT_BYTES bytes, which nothing else uses during the call.
    unsafe { std::slice::from_raw_parts_mut(result.cast(), RESULT_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null;

    #[test]
    fn layouts_match_the_headers() {
        assert_eq!((size_of::<UdfInit>(), size_of::<UdfArgs>()), (40, 64));
        assert_eq!(std::mem::offset_of!(UdfInit, const_item), 24);
        assert_eq!(std::mem::offset_of!(UdfArgs, lengths), 24);
    }

    #[test]
    fn arguments_are_counted_converted_to_text_and_may_be_null() {
        let mut types = [2, 1];
        let (values, lengths) = ([c"ab".as_ptr(), null()], [2, 0]);
        let mut args = UdfArgs {
            arg_count: 2,
            arg_type: types.as_mut_ptr(),
            args: values.as_ptr(),
            lengths: lengths.as_ptr(),
            maybe_null: null(),
            attributes: null(),
            attribute_lengths: null(),
            extension: std::ptr::null_mut(),
        };
        let mut init = UdfInit {
            maybe_null: true,
            decimals: 0,
            max_length: 0,
            ptr: std::ptr::null_mut(),
            const_item: true,
            extension: std::ptr::null_mut(),
        };
        let mut message = [0x55 as c_char; MESSAGE_BYTES];
        let mut check = |arity, usage: &str| {
            // SAFETY: the same structures as the server passes.
            unsafe { super::init(&mut init, &mut args, message.as_mut_ptr(), arity, usage) }
        };
        assert!(check(3, &"takes three ".repeat(100)));
        assert!(!check(2, ""));
        // SAFETY: `init` above wrote it, with a NUL at its end.
        let usage = unsafe { CStr::from_ptr(message.as_ptr()) };
        assert_eq!(usage.to_bytes().len(), MESSAGE_BYTES - 1);
        assert_eq!((types, init.maybe_null, init.const_item), ([STRING_RESULT; 2], false, false));
        // SAFETY: as above.
        assert_eq!(unsafe { arguments::<2>(&args) }, [Some(&b"ab"[..]), None]);
    }

    #[test]
    fn guard_stops_a_panic() {
        assert_eq!(guard(7, || panic!("on purpose")), 7);
    }
}

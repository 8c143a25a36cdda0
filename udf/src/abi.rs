//! The C edge, where the `unsafe` is: what MySQL and MariaDB hand to a loadable function, the net that no
//! panic falls through, and the two things that the standard library cannot do here (find our own file, block
//! signals). Nothing in it knows what the functions are for.
//!
//! Layouts and signatures are those of `mysql_com.h` (MariaDB) and `mysql/udf_registration_types.h` (MySQL), which
//! agree; `bool` and `my_bool` are both one byte.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// `MYSQL_ERRMSG_SIZE`: the room for the message of a failing `_init`.
const MESSAGE_BYTES: usize = 512;

/// The room for a string result that needs no allocation, in bytes.
pub const RESULT_BYTES: usize = 255;

const STRING_RESULT: c_int = 0;

/// How many panics are told of in the server's error log. They are a bug of ours, but a log must not grow by it.
const TOLD_PANICS: u32 = 10;

#[repr(C)]
pub struct UdfInit {
    maybe_null: bool,
    decimals: c_uint,
    max_length: c_ulong,
    ptr: *mut c_char,
    const_item: bool,
    extension: *mut c_void,
}

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

/// The work of every `_init`: refuses a wrong number of arguments and nothing else (true = refused), asks the server
/// to turn numbers into text, and says that the result is neither NULL nor the same for each row.
///
/// # Safety
/// The pointers are those that the server passes to a function's `_init`.
pub unsafe fn init(init: *mut UdfInit, args: *mut UdfArgs, message: *mut c_char, arity: usize, usage: &str) -> bool {
    // SAFETY: the server's own structures, ours alone for the time of the call.
    let (init, args) = unsafe { (&mut *init, &mut *args) };
    if args.arg_count as usize != arity {
        let length = usage.len().min(MESSAGE_BYTES - 1);
        // SAFETY: `message` has MESSAGE_BYTES bytes, and `usage` is no part of it.
        unsafe {
            message.copy_from_nonoverlapping(usage.as_ptr().cast(), length);
            *message.add(length) = 0;
        }
        return true;
    }
    for i in 0..arity {
        // SAFETY: `arg_type` has `arg_count` entries, which an `_init` may change.
        unsafe { *args.arg_type.add(i) = STRING_RESULT };
    }
    init.maybe_null = false;
    init.const_item = false;
    init.max_length = RESULT_BYTES as c_ulong;
    false
}

/// The arguments of one call, as bytes in whatever character set the session has; None is NULL.
///
/// # Safety
/// `args` is what the server passed to a function whose `_init` was [`init`] with this `N`; it outlives the result.
pub unsafe fn arguments<'a, const N: usize>(args: *const UdfArgs) -> [Option<&'a [u8]>; N] {
    std::array::from_fn(|i| {
        // SAFETY: `_init` saw to it that there are N arguments, all of them strings.
        unsafe {
            let start = *(*args).args.add(i);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), *(*args).lengths.add(i) as usize))
        }
    })
}

/// Runs `call`; a panic in it ends there and gives `fallback`.
pub fn guard<T>(fallback: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(fallback)
}

/// One line in the server's error log, which is where its standard error goes; lost if that is closed.
pub fn note(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "resq_udf: {line}");
}

/// Panics are told in one line each, the first few of them, in place of the standard hook's report on each.
pub fn quiet_panics() {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    std::panic::set_hook(Box::new(|panic| {
        if TOLD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < TOLD_PANICS).then_some(n + 1)).is_ok() {
            note(&format!("{panic}").replace('\n', " "));
        }
    }));
}

/// The file that this code was loaded from.
pub fn library_path() -> Option<PathBuf> {
    let here = library_path as fn() -> Option<PathBuf>;
    // SAFETY: `dladdr` fills `found` or returns 0; the name lives as long as the library, which is never unmapped.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(here as *const c_void, &mut found) == 0 || found.dli_fname.is_null() {
            return None;
        }
        Some(OsStr::from_bytes(CStr::from_ptr(found.dli_fname).to_bytes()).into())
    }
}

/// Runs `call` with every signal blocked, so that a thread which it starts never gets one: they are the server's.
pub fn signals_blocked<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: plain calls on two local sets; the old mask is put back on this thread.
    unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        let result = call();
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        result
    }
}

/// The room for a short string result.
///
/// # Safety
/// `result` is what the server passed to a function that returns a string.
pub unsafe fn result<'a>(result: *mut c_char) -> &'a mut [u8] {
    // SAFETY: the server promises RESULT_BYTES bytes, which nobody else uses during the call.
    unsafe { std::slice::from_raw_parts_mut(result.cast(), RESULT_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null;

    #[test]
    fn layouts_are_those_of_the_headers() {
        assert_eq!((size_of::<UdfInit>(), size_of::<UdfArgs>()), (40, 64));
        assert_eq!(std::mem::offset_of!(UdfInit, const_item), 24);
        assert_eq!(std::mem::offset_of!(UdfArgs, lengths), 24);
    }

    #[test]
    fn arguments_are_counted_made_text_and_may_be_null() {
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
            // SAFETY: structures as the server makes them.
            unsafe { super::init(&mut init, &mut args, message.as_mut_ptr(), arity, usage) }
        };
        assert!(check(3, &"takes three ".repeat(100)));
        assert!(!check(2, ""));
        // SAFETY: written by `init` above, with a NUL at its end.
        let told = unsafe { CStr::from_ptr(message.as_ptr()) };
        assert_eq!(told.to_bytes().len(), MESSAGE_BYTES - 1);
        assert_eq!((types, init.maybe_null, init.const_item), ([STRING_RESULT; 2], false, false));
        // SAFETY: as above.
        assert_eq!(unsafe { arguments::<2>(&args) }, [Some(&b"ab"[..]), None]);
    }

    #[test]
    fn a_panic_ends_in_the_guard() {
        assert_eq!(guard(7, || panic!("on purpose")), 7);
    }
}

//! The other half of the C interface: MySQL treats the text of a loadable function as binary, so that its client prints
//! hexadecimal and its JSON functions refuse it (3144), unless the function asks the component service
//! `mysql_udf_metadata` for a character set. MariaDB has neither the service nor the problem.

use crate::abi::UdfInit;
use std::ffi::{CStr, c_char, c_int, c_void};

type Service = *mut c_void;
type Unused = *const c_void;

/// `mysql/components/services/registry.h`; the functions return 0 on success.
#[repr(C)]
struct Registry {
    acquire: unsafe extern "C" fn(*const c_char, *mut Service) -> c_int,
    acquire_related: Unused,
    release: unsafe extern "C" fn(Service) -> c_int,
}

/// `mysql/components/services/udf_metadata.h`
#[repr(C)]
struct UdfMetadata {
    argument_get: Unused,
    result_get: Unused,
    argument_set: Unused,
    result_set: unsafe extern "C" fn(*mut UdfInit, *const c_char, *mut c_void) -> c_int,
}

/// The server exports these two under their mangled C++ names.
const ACQUIRE_REGISTRY: &CStr = c"_Z29mysql_plugin_registry_acquirev";
const RELEASE_REGISTRY: &CStr = c"_Z29mysql_plugin_registry_releasePK16s_mysql_registry";

/// Declares the function's text result as utf8mb4, if the server has the service for it.
///
/// # Safety
/// `init` must be what the server passed to the function's `_init`.
pub unsafe fn result_is_utf8mb4(init: *mut UdfInit) {
    // SAFETY: `dlsym` returns null or functions of the server, whose types are those of its headers.
    unsafe {
        let acquire = libc::dlsym(libc::RTLD_DEFAULT, ACQUIRE_REGISTRY.as_ptr());
        let release = libc::dlsym(libc::RTLD_DEFAULT, RELEASE_REGISTRY.as_ptr());
        if acquire.is_null() || release.is_null() {
            return;
        }
        let acquire: unsafe extern "C" fn() -> *const Registry = std::mem::transmute(acquire);
        let release: unsafe extern "C" fn(*const Registry) -> c_int = std::mem::transmute(release);
        let registry = acquire();
        if registry.is_null() {
            return;
        }
        let mut service: Service = std::ptr::null_mut();
        if ((*registry).acquire)(c"mysql_udf_metadata".as_ptr(), &mut service) == 0 && !service.is_null() {
            let metadata: *const UdfMetadata = service.cast();
            // If it fails, the text stays binary.
            ((*metadata).result_set)(init, c"charset".as_ptr(), c"utf8mb4".as_ptr().cast_mut().cast());
            ((*registry).release)(service);
        }
        release(registry);
    }
}

//! `mps.seal_key_file`: the one option that MPS has in the server's configuration. Only whoever may write that can name the file:
//! what a session, a role or a database sets is refused by the server.

use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};

const NAME: &CStr = c"mps.seal_key_file";

static SEAL_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Makes the option known. Once a session: another release of the library in the same session may have done it.
pub fn init() {
    // SAFETY: the name is a C string. What is missing has no flags, and what was only set has none of ours.
    let flags = unsafe { pg_sys::GetConfigOptionFlags(NAME.as_ptr(), true) } as u32;
    if flags & pg_sys::GUC_SUPERUSER_ONLY != 0 {
        return;
    }
    GucRegistry::define_string_guc(
        NAME,
        c"The file with the key that heads of the sealed log are signed with.",
        c"An Ed25519 key in PEM (PKCS #8), which only the server's own user may read. Not set: there are no receipts.",
        &SEAL_KEY_FILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
}

/// Where the key is; `None`: not set.
pub fn seal_key_file() -> Option<String> {
    // SAFETY: as above; the text is copied before anything can change it.
    let value = unsafe {
        let value = pg_sys::GetConfigOption(NAME.as_ptr(), true, false);
        if value.is_null() { None } else { Some(CStr::from_ptr(value).to_string_lossy().into_owned()) }
    };
    value.filter(|path| !path.is_empty())
}

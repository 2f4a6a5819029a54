//! The options that MPS has in the server's configuration, each the name of a file with a secret. Only whoever may write that can name
//! the file: what a session, a role or a database sets is refused by the server.

use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of a file.
pub struct FileOption {
    name: &'static CStr,
    what: &'static CStr,
    more: &'static CStr,
    setting: GucSetting<Option<CString>>,
    /// Something else than the configuration had set it when it became known: the server then forgot what the configuration says.
    is_hidden: AtomicBool,
}

impl FileOption {
    const fn new(name: &'static CStr, what: &'static CStr, more: &'static CStr) -> FileOption {
        FileOption {
            name,
            what,
            more,
            setting: GucSetting::<Option<CString>>::new(None),
            is_hidden: AtomicBool::new(false),
        }
    }

    /// Makes the option known. Once a session: another release of the library in the same session may have done it.
    fn init(&'static self) {
        // SAFETY: the name is a C string. What is missing has no flags, and what was only set has none of ours.
        let flags = unsafe { pg_sys::GetConfigOptionFlags(self.name.as_ptr(), true) } as u32;
        if flags & pg_sys::GUC_SUPERUSER_ONLY != 0 {
            return;
        }
        // What it goes back to without SET: of the configuration, or of who connects, the role, the database.
        // SAFETY: as above; whatever has flags is there, and what was only set is a text, which is copied.
        let given =
            (flags != 0).then(|| unsafe { copied(pg_sys::GetConfigOptionResetString(self.name.as_ptr())) }).flatten();
        let flags = GucFlags::SUPERUSER_ONLY;
        GucRegistry::define_string_guc(self.name, self.what, self.more, &self.setting, GucContext::Sighup, flags);
        self.is_hidden.store(given.is_some() && self.value() != given, Ordering::Relaxed);
    }

    fn value(&self) -> Option<String> {
        // SAFETY: as above; the text is copied before anything can change it.
        unsafe { copied(pg_sys::GetConfigOption(self.name.as_ptr(), true, false)) }
    }

    /// Where the file is; `None`: not set. Error: nobody knows, and why; so that this is not taken for not set.
    pub fn path(&self) -> Result<Option<String>, &'static str> {
        match self.value() {
            None if self.is_hidden.load(Ordering::Relaxed) => Err(
                "is hidden by what who connects, a role or a database has set, which does not count: RESET it there",
            ),
            value => Ok(value),
        }
    }
}

/// A text of the server's, unless it is empty or missing.
///
/// # Safety
/// It is null or a C string.
unsafe fn copied(text: *const std::ffi::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}

/// What heads of the sealed log are signed with.
pub static SEAL_KEY_FILE: FileOption = FileOption::new(
    c"mps.seal_key_file",
    c"The file with the key that heads of the sealed log are signed with.",
    c"An Ed25519 key in PEM (PKCS #8), which only the server's own user may read. Not set: there are no receipts.",
);

/// What secrets of gateways are sealed under.
pub static MASTER_KEY_FILE: FileOption = FileOption::new(
    c"mps.master_key_file",
    c"The file with the key that the secrets of payment gateways are sealed under.",
    c"32 bytes, or 64 hex digits, which only the server's own user may read. Not set: the secrets are kept as they are.",
);

/// Makes all of them known.
pub fn init() {
    SEAL_KEY_FILE.init();
    MASTER_KEY_FILE.init();
}

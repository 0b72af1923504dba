//! The plugin's C interface, made safe: a handle keeps its library loaded, and closes before it goes.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::{Library, Symbol};

use crate::BoxError;

/// Whom the plugin speaks for.
#[derive(Clone)]
pub struct Account {
    pub issuer: String,
    pub id: String,
    pub secret: String,
}

/// A loaded plugin, unloaded when it and its handles are dropped.
pub struct Plugin(Arc<Library>);

impl Plugin {
    pub fn load(path: &Path) -> Result<Self, BoxError> {
        // SAFETY: the plugin runs nothing when it is loaded or unloaded.
        Ok(Self(Arc::new(unsafe { Library::new(path) }?)))
    }

    pub fn open(&self, account: &Account) -> Result<Handle, BoxError> {
        type Open = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> *mut c_void;
        let [issuer, id, secret] =
            [&account.issuer, &account.id, &account.secret].map(|text| CString::new(text.as_str()));
        let (issuer, id, secret) = (issuer?, id?, secret?);
        // SAFETY: the function has that type, and the texts end in a zero byte.
        let orders = unsafe {
            let open: Symbol<'_, Open> = self.0.get(b"orders_open\0")?;
            open(issuer.as_ptr(), id.as_ptr(), secret.as_ptr())
        };
        let orders = NonNull::new(orders).ok_or("the plugin refused the account")?;
        Ok(Handle { orders, library: self.0.clone() })
    }
}

/// A handle of the plugin.
pub struct Handle {
    orders: NonNull<c_void>,
    library: Arc<Library>,
}

// SAFETY: the plugin says that any number of threads may use a handle at once.
unsafe impl Send for Handle {}
unsafe impl Sync for Handle {}

impl Handle {
    pub fn check(&self) -> Result<(), BoxError> {
        // SAFETY: the function has that type, and the handle is open.
        let status = unsafe {
            let check: Symbol<'_, unsafe extern "C" fn(*const c_void) -> i32> = self.library.get(b"orders_check\0")?;
            check(self.orders.as_ptr())
        };
        if status == 0 { Ok(()) } else { Err(format!("the plugin answered {status}").into()) }
    }

    pub fn requests(&self) -> u64 {
        type Requests = unsafe extern "C" fn(*const c_void) -> u64;
        // SAFETY: the function has that type, and the handle is open.
        unsafe {
            self.library.get::<Requests>(b"orders_requests\0").map_or(0, |requests| requests(self.orders.as_ptr()))
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the function has that type, and nobody else has the handle any more.
        unsafe {
            if let Ok(close) = self.library.get::<unsafe extern "C" fn(*mut c_void)>(b"orders_close\0") {
                close(self.orders.as_ptr());
            }
        }
    }
}

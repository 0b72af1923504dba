//! Where the tokens of a client are kept for other processes.

use std::any::Any;
use std::fmt;
use std::io;
use std::time::Duration;

/// Keeps tokens for all processes that share it, so that one of them asks the issuer for all.
///
/// [`M2mClientBuilder::token_file`](crate::M2mClientBuilder::token_file) is one implementation; implement the trait for another
/// place, such as a database or a keyring, and pass it to [`M2mClientBuilder::token_store`](crate::M2mClientBuilder::token_store).
///
/// A key is printable ASCII without blanks, at most 100 characters long, and says nothing about the client or its tokens. A value is
/// UTF-8 text that contains a token: keep it where only the program's own user can read it. An error of any method costs the sharing
/// and never the call: the token then comes from the issuer, and an [`Event`](crate::Event) says what happened.
///
/// ```
/// use aero2::{StoreLock, TokenStore};
/// use std::collections::HashMap;
/// use std::io;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// #[derive(Clone, Default)]
/// struct InMemory(Arc<Mutex<HashMap<String, Vec<u8>>>>);
///
/// impl TokenStore for InMemory {
///     fn load(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     fn store(&self, key: &str, value: &[u8], _ttl: Duration) -> io::Result<()> {
///         self.0.lock().unwrap().insert(key.to_owned(), value.to_vec());
///         Ok(())
///     }
///     fn remove(&self, prefix: &str) -> io::Result<()> {
///         self.0.lock().unwrap().retain(|key, _| !key.starts_with(prefix));
///         Ok(())
///     }
///     fn lock(&self, _key: &str, _budget: Duration) -> io::Result<Option<StoreLock>> {
///         Ok(Some(StoreLock::new(()))) // one process only, so there is nobody to lock out
///     }
/// }
///
/// let test = aero2::testing::TestIssuer::new();
/// test.register_client("svc-orders", "secret", ["api:read"]);
/// let store = InMemory::default();
/// let issuer = test.issuer();
/// let builder = issuer.m2m_client("svc-orders", "secret").token_store(store);
/// let client = || builder.clone().build(); // as another process would have it
/// let token = client()?.access_token()?;
/// assert_eq!(client()?.access_token()?.expose_secret(), token.expose_secret());
/// # Ok::<(), aero2::Error>(())
/// ```
pub trait TokenStore: Send + Sync {
    /// The value that was stored under `key`; `None` if there is none.
    ///
    /// # Errors
    /// The store cannot be read, or what is in it cannot be trusted.
    fn load(&self, key: &str) -> io::Result<Option<Vec<u8>>>;

    /// Stores `value` under `key`, in one step: a reader gets the old value or the new one. It may be dropped after `ttl`.
    ///
    /// # Errors
    /// The store cannot be written.
    fn store(&self, key: &str, value: &[u8], ttl: Duration) -> io::Result<()>;

    /// Removes every value whose key begins with `prefix`, and no other. A whole key is a prefix, too.
    ///
    /// # Errors
    /// The store cannot be written.
    fn remove(&self, prefix: &str) -> io::Result<()>;

    /// Takes the lock for `key` between the processes, waiting for it for `budget` at most; `None` if another process holds it all that
    /// time. It is held during a token request, ends when the [`StoreLock`] is dropped, and must end when its holder dies.
    ///
    /// # Errors
    /// There can be no lock.
    fn lock(&self, key: &str, budget: Duration) -> io::Result<Option<StoreLock>>;

    /// Where the store is, such as a path, for the texts of events. Defaults to nothing.
    fn location(&self) -> Option<String> {
        None
    }
}

impl<T: TokenStore + ?Sized> TokenStore for std::sync::Arc<T> {
    fn load(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        (**self).load(key)
    }

    fn store(&self, key: &str, value: &[u8], ttl: Duration) -> io::Result<()> {
        (**self).store(key, value, ttl)
    }

    fn remove(&self, prefix: &str) -> io::Result<()> {
        (**self).remove(prefix)
    }

    fn lock(&self, key: &str, budget: Duration) -> io::Result<Option<StoreLock>> {
        (**self).lock(key, budget)
    }

    fn location(&self) -> Option<String> {
        (**self).location()
    }
}

/// A lock of a [`TokenStore`], held until it is dropped.
#[must_use = "dropping it ends the lock"]
pub struct StoreLock {
    _guard: Box<dyn Any + Send>,
}

impl StoreLock {
    /// A lock that ends when `guard` is dropped.
    pub fn new(guard: impl Send + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreLock(..)")
    }
}

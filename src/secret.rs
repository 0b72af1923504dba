//! Secrets as a type: elided in `Debug`, wiped on drop, read out by one loud accessor.

use std::env::VarError;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::sha256;

/// A string that must not leak: a client secret, a token, an `Authorization` header.
///
/// It has no `Display`, no `PartialEq` and no serialization, and `Debug` does not show it. Its memory is wiped when the last
/// clone is dropped. A clone is cheap and shares the string.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// The secret itself. Lookup at each call of this method in a review.
    pub fn expose_secret(&self) -> &str {
        self.0.as_str()
    }

    /// Compares digests, so that the time taken tells nothing about the texts.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        sha256(self.expose_secret().as_bytes()) == sha256(other.expose_secret().as_bytes())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a client secret comes from. The source is read anew whenever the secret is needed, so a rotated secret takes effect with
/// the next token request.
///
/// Every `secret` parameter also accepts a plain `&str` or `String`. A client secret that is empty, has a blank at either end or
/// contains a control character is an [`Error::Config`](crate::Error::Config), and so is a private key where no key method is set: it
/// would be sent to the issuer.
///
/// ```
/// use aero2::SecretSource;
/// let from_environment = SecretSource::env("ORDERS_CLIENT_SECRET");
/// let from_file = SecretSource::file("/run/secrets/orders");
/// let from_vault =
///     SecretSource::from_fn(|| Ok::<_, std::io::Error>(String::from("fetched just now")));
/// ```
#[derive(Clone)]
#[must_use]
pub struct SecretSource(Source);

#[derive(Clone)]
enum Source {
    Text(Secret),
    Env(Arc<str>),
    File(Arc<PathBuf>),
    Credential(Arc<str>),
    Function(Arc<Function>),
}

type BoxError = Box<dyn StdError + Send + Sync>;
type Function = dyn Fn() -> Result<String, BoxError> + Send + Sync;

impl SecretSource {
    /// Reads the environment variable `name` and removes one line end (`\n` or `\r\n`) from its end.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Source::Env(name.into().into()))
    }

    /// Reads the file at `path` and removes one line end (`\n` or `\r\n`) from its end.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(Arc::new(path.into())))
    }

    /// Reads the credential `name` that systemd passes to a service (`LoadCredential=`, `SetCredentialEncrypted=`): the file of that
    /// name in the directory that the environment variable `CREDENTIALS_DIRECTORY` names. Removes one line end from its end.
    pub fn systemd_credential(name: impl Into<String>) -> Self {
        Self(Source::Credential(name.into().into()))
    }

    /// Calls `read`. If that fails, its error becomes the [`source`](std::error::Error::source) of an
    /// [`Error::Config`](crate::Error::Config) and appears nowhere else.
    pub fn from_fn<F, E>(read: F) -> Self
    where
        F: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        Self(Source::Function(Arc::new(move || read().map_err(Into::into))))
    }

    /// The secret as the source has it now.
    pub(crate) fn read(&self) -> Result<Secret, SecretFailure> {
        let secret = match &self.0 {
            Source::Text(secret) => secret.clone(),
            Source::Env(name) => from_env(name)?,
            Source::File(path) => from_file(path)?,
            Source::Credential(name) => from_credential(name)?,
            Source::Function(read) => Secret::from(read().map_err(|e| SecretFailure::Function(e.into()))?),
        };
        if secret.expose_secret().is_empty() { Err(SecretFailure::Empty) } else { Ok(secret) }
    }

    /// The text where it is known without reading anything, so that a builder can judge it.
    pub(crate) fn text(&self) -> Option<&Secret> {
        match &self.0 {
            Source::Text(secret) => Some(secret),
            _ => None,
        }
    }
}

impl From<String> for SecretSource {
    fn from(text: String) -> Self {
        Self(Source::Text(text.into()))
    }
}

impl From<&str> for SecretSource {
    fn from(text: &str) -> Self {
        Self(Source::Text(text.into()))
    }
}

impl From<&String> for SecretSource {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self(Source::Text(secret))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(_) => f.write_str("SecretSource::Text(..)"),
            Source::Env(name) => write!(f, "SecretSource::Env({name:?})"),
            Source::File(path) => write!(f, "SecretSource::File({path:?})"),
            Source::Credential(name) => write!(f, "SecretSource::Credential({name:?})"),
            Source::Function(_) => f.write_str("SecretSource::Function(..)"),
        }
    }
}

/// Why a source gave no secret.
#[derive(Debug)]
pub(crate) enum SecretFailure {
    Env { name: Arc<str>, source: VarError },
    File { source: std::io::Error },
    Function(Arc<dyn StdError + Send + Sync>),
    Empty,
}

fn from_env(name: &Arc<str>) -> Result<Secret, SecretFailure> {
    let text = variable(name)?;
    Ok(Secret::from(without_line_end(&text)))
}

fn variable(name: &Arc<str>) -> Result<Zeroizing<String>, SecretFailure> {
    let text = std::env::var(&**name);
    text.map(Zeroizing::new).map_err(|error| SecretFailure::Env { name: name.clone(), source: elided(error) })
}

/// The value of a variable that is no Unicode would show in the error's own text.
fn elided(error: VarError) -> VarError {
    match error {
        VarError::NotUnicode(_) => VarError::NotUnicode("..".into()),
        absent => absent,
    }
}

fn from_file(path: &Path) -> Result<Secret, SecretFailure> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretFailure::File { source })?;
    let text = Zeroizing::new(text);
    Ok(Secret::from(without_line_end(&text)))
}

fn from_credential(name: &str) -> Result<Secret, SecretFailure> {
    let directory = variable(&Arc::from(CREDENTIALS_DIRECTORY))?;
    // A name is a file's name, by the rules of systemd: it leads to no other directory.
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(SecretFailure::File { source: std::io::ErrorKind::InvalidInput.into() });
    }
    from_file(&Path::new(directory.as_str()).join(name))
}

fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |rest| rest.strip_suffix('\r').unwrap_or(rest))
}

/// Set by systemd for a service that has credentials (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_variable_that_is_no_unicode_does_not_show_its_value() {
        let error = elided(VarError::NotUnicode("hunter2".into()));
        assert!(matches!(error, VarError::NotUnicode(_)));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!(elided(VarError::NotPresent), VarError::NotPresent);
    }
}

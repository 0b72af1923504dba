//! Reads tokens one after another, each with what the ones before it have left to be used again.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::TokenErrorKind;
use crate::jose::base64url::Decoder;
use crate::jose::jws::Header;
use crate::resource_server::verify::UnverifiedToken;

/// What need not be made anew for each token.
pub(crate) struct Reader {
    decoder: Decoder,
    /// The header of the last verified token: an issuer's tokens have the same one for as long as it keeps its key.
    header: Mutex<Option<Arc<Header>>>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { decoder: Decoder::new(), header: Mutex::default() }
    }

    /// As [`UnverifiedToken::read`].
    pub(crate) fn read<'t>(&self, token: &'t str) -> Result<UnverifiedToken<'t>, TokenErrorKind> {
        let known = self.header.lock().clone();
        UnverifiedToken::read_knowing(known, token, &self.decoder)
    }

    /// Keeps the header of a verified token for the next one.
    pub(crate) fn remember(&self, header: &Arc<Header>) {
        let last = self.header.lock().replace(header.clone());
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn a_header_that_is_remembered_is_not_read_again_and_another_is() {
        let token = |header: &str| format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        let (one, other) = (token(r#"{"alg":"ES256","kid":"1"}"#), token(r#"{"alg":"RS256","kid":"2"}"#));
        let reader = Reader::new();
        let was_read = |token: &str| reader.read(token).unwrap().new_header().is_some();
        assert!(was_read(&one) && was_read(&one));
        reader.remember(reader.read(&one).unwrap().new_header().unwrap());
        assert!(!was_read(&one) && was_read(&other));
        assert_eq!(reader.read(&other).unwrap().kid(), Some("2"));
        reader.remember(reader.read(&other).unwrap().new_header().unwrap());
        assert!(was_read(&one) && !was_read(&other));
    }
}

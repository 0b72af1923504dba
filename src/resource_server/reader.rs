//! Reads tokens one after another, each with what the ones before it have left to be used again.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::TokenErrorKind;
use crate::jose::base64url::Decoder;
use crate::jose::jws::Header;
use crate::resource_server::checks::Presented;

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

    /// As [`Presented::read`].
    pub(crate) fn read<'t>(&self, token: &'t str) -> Result<Presented<'t>, TokenErrorKind> {
        let known = self.header.lock().clone();
        Presented::read_knowing(known, token, &self.decoder)
    }

    /// Keeps the header of a verified token for the next one.
    pub(crate) fn remember(&self, header: &Arc<Header>) {
        let last = self.header.lock().replace(header.clone());
        drop(last);
    }
}

//! What is known of a connection between two requests and up to the header section of an answer.

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::transport::ureq::failure::{Failure, is_disconnect};
use crate::transport::ureq::head::{head_length, is_interim, status};

/// The last connector: it knows whether a connection that ends had been idle before.
#[derive(Debug)]
pub(super) struct DetectStale;

impl<In: Transport> Connector<In> for DetectStale {
    type Out = Kept;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Kept { inner: inner.boxed(), reused: false, answered: false, final_head: false }))
    }
}

/// A connection that reports [`Failure::Stale`] if it was idle and then ends before the first byte of an answer.
#[derive(Debug)]
pub(super) struct Kept {
    inner: Box<dyn Transport>,
    reused: bool,
    answered: bool,
    /// The final answer has begun.
    final_head: bool,
}

impl Kept {
    fn is_stale(&self) -> bool {
        self.reused && !self.answered
    }

    /// ureq takes no `100 Continue` with header lines (RFC 9110 §15.2 allows them).
    fn drop_interim_answers(&mut self) {
        while !self.final_head {
            let input = self.inner.buffers().input();
            let Some(length) = head_length(input) else { return };
            self.final_head = !status(input).is_some_and(is_interim);
            if !self.final_head {
                self.inner.buffers().input_consume(length);
            }
        }
    }

    fn classify(&self, error: Error) -> Error {
        match error {
            Error::Io(error) if self.is_stale() && is_disconnect(&error) => Failure::Stale.into(),
            error => error,
        }
    }
}

impl Transport for Kept {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout).map_err(|error| self.classify(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match self.inner.await_input(timeout) {
            Ok(false) if self.is_stale() => Err(Failure::Stale.into()),
            Ok(progress) => {
                self.answered |= progress;
                self.drop_interim_answers();
                Ok(progress)
            }
            Err(error) => Err(self.classify(error)),
        }
    }

    /// ureq calls this between two requests, and only then.
    fn is_open(&mut self) -> bool {
        (self.reused, self.answered, self.final_head) = (true, false, false);
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

//! How the routes reach down to the connection that carries an answer.

use std::sync::Arc;

/// Ends the connection at once, with a reset. The listener sets it as a request extension.
///
/// A client that reads slowly leaves pieces of an answer waiting in the connection's buffers, where the body cannot call
/// them back. So when the lease ends, whoever streams an answer ends the connection itself.
#[derive(Clone)]
pub struct ConnectionCut(Arc<dyn Fn() + Send + Sync>);

impl ConnectionCut {
    /// `cut` must not block; it may be called more than once, and after the connection has ended.
    pub fn new(cut: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(cut))
    }

    /// Ends the connection.
    pub(crate) fn cut(&self) {
        (self.0)();
    }
}

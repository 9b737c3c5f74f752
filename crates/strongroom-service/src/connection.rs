//! How the routes reach down to the connection that carries an answer.

use std::sync::Arc;

use futures::future::BoxFuture;

/// The connection that a request came on. The listener sets it as a request extension.
///
/// A client that reads slowly leaves pieces of an answer waiting in the connection's buffers, where the body cannot call
/// them back. So when the lease ends, whoever answers ends the connection itself.
#[derive(Clone)]
pub struct ConnectionCut(Arc<dyn Carrier>);

/// What a listener can do to one of its connections.
pub trait Carrier: Send + Sync + 'static {
    /// Ends the connection at once, with a reset. Must not block; may be called more than once, and after the end.
    fn cut(&self);

    /// Resolves once everything that was handed over before the call has left for the system's socket buffer. Counts from the call, not
    /// from when the future is first polled.
    fn flushed(&self) -> BoxFuture<'static, ()>;
}

impl ConnectionCut {
    /// A handle to this connection.
    pub fn new(carrier: impl Carrier) -> Self {
        Self(Arc::new(carrier))
    }

    pub(crate) fn cut(&self) {
        self.0.cut();
    }

    pub(crate) fn flushed(&self) -> BoxFuture<'static, ()> {
        self.0.flushed()
    }
}

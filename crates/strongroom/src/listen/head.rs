//! Reads of a connection while it owes a request's head: so much and no more, because who sends it is not known yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Activity;
use crate::limits;

/// A connection that seems to end when a head goes on and on. The HTTP/1 reader has one limit for heads and for what
/// it reads ahead of bodies, and uploads want that one to be large.
pub(super) struct HeadGuard<I> {
    io: I,
    activity: Arc<Activity>,
    /// Requests begun when `read` was last set back.
    begun: u64,
    /// Bytes read since, with no request in flight.
    read: usize,
}

impl<I> HeadGuard<I> {
    pub(super) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self {
            io,
            activity,
            begun: 0,
            read: 0,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for HeadGuard<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.activity.owes_head() {
            this.read = 0;
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let begun = this.activity.begun.load(Ordering::Relaxed);
        if begun != this.begun {
            (this.begun, this.read) = (begun, 0);
        }
        if this.read >= limits::HEAD_READ {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(context, buffer);
        this.read += buffer.filled().len() - before;
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for HeadGuard<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

//! An answer on its way out under a lease. When the lease ends, the body ends with an error, and the connection with a reset: nothing
//! that was opened may pass for a whole answer, and nothing more of it leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use strongroom_store::{AccountId, KeyDenied, Lease};
use tokio::sync::oneshot;

use crate::connection::ConnectionCut;
use crate::journal::ServiceEvent;
use crate::limits;
use crate::service::{Service, Slot};

/// The pieces of an answer.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, CutShort>> + Send>>;

/// Why an answer ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CutShort {
    /// The lease ended.
    #[error(transparent)]
    Key(#[from] KeyDenied),
    /// What was to be read failed; the log says how.
    #[error("the answer cannot be completed")]
    Failed,
}

/// Where an answer belongs, for counters and journal.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) service: Arc<Service>,
    pub(crate) account: AccountId,
    pub(crate) route: &'static str,
    pub(crate) connection: Option<ConnectionCut>,
}

/// A body that is handed out piece by piece, each after a look at the lease.
pub(crate) struct Flow {
    pieces: Pieces,
    rest: Bytes,
    left: Option<u64>,
    guard: Option<Guard>,
    watch: Option<Watch>,
    over: bool,
    watched: Arc<Watched>,
    _slot: Option<Slot>,
}

struct Guard {
    lease: Lease,
    ended: BoxFuture<'static, KeyDenied>,
}

/// Tells the task beside the answer that the answer is over, and what to wait for until it has left.
struct Watch {
    connection: ConnectionCut,
    over: oneshot::Sender<BoxFuture<'static, ()>>,
}

/// What body and task share.
struct Watched {
    place: Place,
    noted: AtomicBool,
    handed: AtomicU64,
    /// The next piece is being waited for: it is not the client that stalls.
    waiting: AtomicBool,
}

impl Flow {
    /// `length` is set where it is known; `lease` where its end shall cut the answer; `slot` is given back at the end.
    pub(crate) fn new(
        place: Place,
        pieces: Pieces,
        length: Option<u64>,
        lease: Option<Lease>,
        slot: Option<Slot>,
    ) -> Self {
        let watched = Arc::new(Watched {
            place,
            noted: AtomicBool::new(false),
            handed: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        });
        let watch = watched.place.connection.clone().map(|connection| {
            let (over, told) = oneshot::channel();
            tokio::spawn(watch(
                Arc::clone(&watched),
                connection.clone(),
                lease.clone(),
                told,
            ));
            Watch { connection, over }
        });
        let guard = lease.map(|lease| Guard {
            ended: Box::pin(lease.ended()),
            lease,
        });
        Self {
            pieces,
            rest: Bytes::new(),
            left: length,
            guard,
            watch,
            over: false,
            watched,
            _slot: slot,
        }
    }

    pub(crate) fn into_body(self) -> Body {
        Body::new(self)
    }

    fn cut(&mut self, why: CutShort) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        self.over = true;
        self.rest = Bytes::new();
        if let CutShort::Key(denied) = why {
            self.watched.note(denied);
        }
        Poll::Ready(Some(Err(why)))
    }

    fn finish(&mut self) {
        self.over = true;
        if let Some(watch) = self.watch.take() {
            // From here on, before the connection can write what it was handed. The task may have ended it already.
            let _ = watch.over.send(watch.connection.flushed());
        }
    }

    /// The next piece, small enough to look at the lease often.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        while self.rest.is_empty() {
            match ready!(self.pieces.as_mut().poll_next(context)) {
                Some(Ok(piece)) => self.rest = piece,
                other => return Poll::Ready(other),
            }
        }
        let length = self.rest.len().min(limits::PIECE_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}

impl http_body::Body for Flow {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(guard) = &mut this.guard
            && let Poll::Ready(denied) = guard.ended.as_mut().poll(context)
        {
            return this.cut(denied.into());
        }
        let polled = this.poll_piece(context);
        this.watched.waiting.store(polled.is_pending(), Ordering::Relaxed);
        let piece = match ready!(polled) {
            Some(Ok(piece)) => piece,
            Some(Err(why)) => return this.cut(why),
            None => {
                this.finish();
                return Poll::Ready(None);
            }
        };
        // The last look before the piece is out of our hands.
        if let Some(Err(denied)) = this.guard.as_ref().map(|guard| guard.lease.check()) {
            return this.cut(denied.into());
        }
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        this.watched.handed.fetch_add(length, Ordering::Relaxed);
        this.watched.place.service.metrics.sent(length);
        if let Some(left) = &mut this.left {
            *left = left.saturating_sub(length);
            if *left == 0 {
                this.finish();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Watched {
    /// Counts and journals the cut, once.
    fn note(&self, denied: KeyDenied) {
        if self.noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let Place {
            service,
            account,
            route,
            ..
        } = &self.place;
        service.metrics.cut(route);
        service.journal.record(ServiceEvent::Cut {
            account: *account,
            route,
            denied,
            at_ms: u64::try_from((service.now)().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// Stands beside an answer until its last byte has left: ends the connection when the lease ends, or when the client takes nothing for
/// too long.
async fn watch(
    watched: Arc<Watched>,
    connection: ConnectionCut,
    lease: Option<Lease>,
    mut over: oneshot::Receiver<BoxFuture<'static, ()>>,
) {
    let mut ended = match lease {
        Some(lease) => Box::pin(lease.ended()) as BoxFuture<'static, KeyDenied>,
        None => Box::pin(std::future::pending()),
    };
    let flushed = loop {
        let handed = watched.handed.load(Ordering::Relaxed);
        tokio::select! {
            biased;
            told = &mut over => match told {
                Ok(flushed) => break flushed,
                // The body was dropped: the client went away, or the connection was cut.
                Err(_) => return,
            },
            denied = &mut ended => {
                watched.note(denied);
                return connection.cut();
            }
            () = tokio::time::sleep(limits::STALLED_CLIENT) => {
                let same = watched.handed.load(Ordering::Relaxed) == handed;
                if same && !watched.waiting.load(Ordering::Relaxed) {
                    return connection.cut();
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = flushed => {}
        denied = &mut ended => {
            watched.note(denied);
            connection.cut();
        }
        () = tokio::time::sleep(limits::STALLED_CLIENT) => connection.cut(),
    }
}

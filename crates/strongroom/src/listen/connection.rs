//! One connection from its first byte to its last: time-outs, idle limit, clean end, and the hard end of a
//! response that was cut.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use strongroom_service::{Carrier, ConnectionCut};
use strongroom_vault::ClientAddress;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::head::HeadGuard;
use super::names::Door;
use super::{Dispatch, Reception, Serving};
use crate::limits;

/// How a connection came in.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// The peer of the TCP connection, or of the tunnel that it comes out of.
    client: IpAddr,
    reception: Reception,
}

/// How connections of both doors are served.
pub(super) struct Connections {
    dispatch: Arc<Dispatch>,
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
    stop: CancellationToken,
    end: CancellationToken,
    kill: CancellationToken,
}

impl Connections {
    pub(super) fn new(dispatch: Arc<Dispatch>, serving: &Serving) -> Self {
        Self {
            dispatch,
            http1: http1(),
            http2: http2(),
            stop: serving.stop.clone(),
            end: serving.end.clone(),
            kill: serving.kill.clone(),
        }
    }

    /// Ends when such a connection is to take nothing more.
    pub(super) async fn stopping(&self, arrival: Arrival) {
        let stop = match arrival.reception {
            Reception::Open | Reception::Crowded => &self.stop,
            Reception::Closing => &self.end,
        };
        stop.cancelled().await;
    }

    /// How a connection from `peer` counts. One of our own proxy's counts as the client at the tunnel's other end.
    pub(super) fn arrival(&self, peer: SocketAddr, reception: Reception) -> Arrival {
        let client = self.dispatch.tunnels().client_of(peer);
        Arrival { client, reception }
    }

    pub(super) async fn serve_plain(&self, socket: Socket, cut: Cut, arrival: Arrival) {
        self.serve(&self.http1, socket, Door::Http, cut, arrival).await;
    }

    pub(super) async fn serve_tls(&self, stream: TlsStream<Socket>, cut: Cut, http2: bool, arrival: Arrival) {
        let builder = if http2 { &self.http2 } else { &self.http1 };
        self.serve(builder, stream, Door::Https, cut, arrival).await;
    }

    async fn serve<I>(&self, builder: &Builder<TokioExecutor>, io: I, door: Door, cut: Cut, arrival: Arrival)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Arrival { client, reception } = arrival;
        let activity = Arc::new(Activity::default());
        let io = HeadGuard::new(io, Arc::clone(&activity));
        let service = service_fn(|mut request: Request<Incoming>| {
            let held = Activity::begin(&activity);
            let http2 = request.version() == Version::HTTP_2;
            if http2 || request.method() == Method::CONNECT {
                activity.no_more_heads();
            }
            let on_error = (!http2).then(|| cut.clone());
            let carrier = OfRequest {
                cut: cut.clone(),
                http2,
            };
            request.extensions_mut().insert(ConnectionCut::new(carrier));
            request.extensions_mut().insert(ClientAddress(client));
            let cut = cut.clone();
            let dispatch = Arc::clone(&self.dispatch);
            async move {
                let response = match reception {
                    Reception::Crowded => dispatch.crowded(),
                    _ => dispatch.answer(door, request, cut, reception).await,
                };
                Ok::<_, Infallible>(response.map(|body| Answer {
                    body,
                    on_error,
                    _held: held,
                }))
            }
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        let mut stop = pin!(self.stopping(arrival));
        let mut idle = pin!(activity.idle());
        let mut kill = pin!(self.kill.cancelled());
        let mut gone = pin!(cut.0.gone.cancelled());
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(cause) = ended {
                        tracing::debug!(%cause, "a connection ended early");
                    }
                    return;
                }
                () = &mut kill => return,
                () = &mut gone => return,
                () = &mut stop, if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut idle, if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn http1() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ)
        .max_buf_size(limits::HTTP1_BUFFER);
    builder
}

fn http2() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(limits::HTTP2_SEND_BUFFER)
        .max_header_list_size(limits::REQUEST_HEAD)
        .keep_alive_interval(limits::HTTP2_PING)
        .keep_alive_timeout(limits::HTTP2_PING_ANSWER);
    builder
}

/// What a connection is doing, cheap to note for every request.
#[derive(Default)]
pub(super) struct Activity {
    pub(super) begun: AtomicU64,
    in_flight: AtomicUsize,
    /// What is read belongs to no HTTP/1 head any more: HTTP/2 has limits of its own, a tunnel has no heads.
    headless: AtomicBool,
}

impl Activity {
    fn begin(activity: &Arc<Self>) -> InFlight {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(activity))
    }

    fn no_more_heads(&self) {
        self.headless.store(true, Ordering::Relaxed);
    }

    /// Whether what is read next is, or should be, the head of an HTTP/1 request.
    pub(super) fn owes_head(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && !self.headless.load(Ordering::Relaxed)
    }

    /// Ends once nothing was asked and nothing was in flight for the idle limit.
    async fn idle(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(limits::IDLE_CONNECTION).await;
            let quiet = self.begun.load(Ordering::Relaxed) == before;
            if quiet && self.in_flight.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// A request whose answer is not yet sent.
struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response body that counts as in flight to its end. On HTTP/1 a failure on the way marks the socket; on
/// HTTP/2 it resets its own stream and the others go on.
struct Answer {
    body: Body,
    on_error: Option<Cut>,
    _held: InFlight,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Err(_))), Some(cut)) = (&polled, &self.on_error) {
            cut.mark();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The way to end a connection hard: its socket is reset rather than closed, so that what the kernel still
/// holds is not delivered.
#[derive(Clone)]
pub(super) struct Cut(Arc<CutState>);

struct CutState {
    marked: AtomicBool,
    gone: CancellationToken,
    /// Fires whenever all that was written has left for the kernel, and when the socket is closed.
    flushed: Arc<Notify>,
}

impl Cut {
    fn new() -> Self {
        Self(Arc::new(CutState {
            marked: AtomicBool::new(false),
            gone: CancellationToken::new(),
            flushed: Arc::default(),
        }))
    }

    /// When the connection ends, it ends with a reset.
    pub(super) fn mark(&self) {
        self.0.marked.store(true, Ordering::Release);
    }
}

/// The connection, as the routes see it.
struct OfRequest {
    cut: Cut,
    http2: bool,
}

impl Carrier for OfRequest {
    fn cut(&self) {
        self.cut.mark();
        self.cut.0.gone.cancel();
    }

    fn flushed(&self) -> BoxFuture<'static, ()> {
        let gone = self.cut.0.gone.clone();
        if self.http2 {
            // Frames of one stream may wait for its window while others leave; a flush says nothing then.
            return Box::pin(async move {
                tokio::select! {
                    () = tokio::time::sleep(limits::HTTP2_FLUSH) => {}
                    () = gone.cancelled() => {}
                }
            });
        }
        let flushed = Arc::clone(&self.cut.0.flushed).notified_owned();
        Box::pin(async move {
            tokio::select! {
                () = flushed => {}
                () = gone.cancelled() => {}
            }
        })
    }
}

/// A TCP stream that is reset, not closed, when its [`Cut`] is marked.
pub(super) struct Socket {
    stream: TcpStream,
    cut: Cut,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Cut) {
        let cut = Cut::new();
        (
            Self {
                stream,
                cut: cut.clone(),
            },
            cut,
        )
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.cut.0.marked.load(Ordering::Acquire) {
            // If the system refuses, the socket is closed in the ordinary way.
            let _ = self.stream.set_zero_linger();
        }
        self.cut.0.gone.cancel();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.cut.0.flushed.notify_waiters();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! The two doors: HTTPS for everything, plain HTTP on loopback for the default account, managed identity,
//! health and the proxy.

mod connection;
mod dispatch;
mod head;
mod names;
mod proxy;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;
use connection::{Arrival, Connections, Socket};

pub use dispatch::Routes;
pub(crate) use dispatch::{Dispatch, nothing_here, refusal};
pub(crate) use names::Ports;

/// Both listeners, bound and not yet serving.
pub(crate) struct Doors {
    https: TcpListener,
    http: TcpListener,
    ports: Ports,
    room: Room,
}

/// How many connections one door takes: so many are served, and a few more are told to come again.
#[derive(Clone, Copy)]
struct Room {
    served: usize,
    told: usize,
}

/// A port cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on 127.0.0.1:{port}: {cause}")]
pub struct DoorError {
    /// The port that was asked for.
    pub port: u16,
    /// What the system answered.
    pub cause: std::io::Error,
}

impl Doors {
    /// Binds both ports on loopback; 0 picks a free one.
    pub(crate) async fn open(https: u16, http: u16) -> Result<Self, DoorError> {
        let (https, https_port) = bind(https).await?;
        let (http, http_port) = bind(http).await?;
        Ok(Self {
            https,
            http,
            ports: Ports {
                https: https_port,
                http: http_port,
            },
            room: Room {
                served: limits::CONNECTIONS,
                told: limits::OVERFLOW_CONNECTIONS,
            },
        })
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Starts to serve.
    pub(crate) fn serve(self, tls: ServerConfig, dispatch: Dispatch) -> Serving {
        let serving = Serving {
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            late: TaskTracker::new(),
        };
        let connections = Arc::new(Connections::new(Arc::new(dispatch), &serving));
        let tls = Some(TlsAcceptor::from(Arc::new(tls)));
        serving.late.spawn(accept(
            self.https,
            self.room,
            tls,
            Arc::clone(&connections),
            serving.clone(),
        ));
        serving
            .late
            .spawn(accept(self.http, self.room, None, connections, serving.clone()));
        serving
    }
}

/// Both listeners at work.
#[derive(Clone)]
pub(crate) struct Serving {
    /// Requests in flight finish; the data plane takes no new ones.
    stop: CancellationToken,
    /// They have finished: nothing is accepted any more.
    end: CancellationToken,
    kill: CancellationToken,
    /// Connections that came before the stop.
    tasks: TaskTracker,
    /// The listeners, and connections that came after the stop: nobody waits for these.
    late: TaskTracker,
}

impl Serving {
    /// Lets requests in flight finish, and closes what is left when the time is over. Until then vaults and the issuers of tokens
    /// still answer: a transfer in flight needs its lease renewed. Says whether all of them finished.
    pub(crate) async fn drain(&self) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(limits::DRAIN, self.tasks.wait())
            .await
            .is_ok();
        self.end.cancel();
        self.kill.cancel();
        self.tasks.wait().await;
        self.late.close();
        self.late.wait().await;
        finished
    }
}

/// What is done with the requests of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reception {
    Open,
    /// Too many are open: it is told to come again.
    Crowded,
    /// It came after the stop: the data plane is closed to it.
    Closing,
}

async fn bind(port: u16) -> Result<(TcpListener, u16), DoorError> {
    let failed = |cause| DoorError { port, cause };
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?.port();
    Ok((listener, bound))
}

async fn accept(
    listener: TcpListener,
    room: Room,
    tls: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    serving: Serving,
) {
    let slots = Arc::new(Semaphore::new(room.served));
    let overflow = Arc::new(Semaphore::new(room.told));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = serving.end.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                tracing::warn!(%cause, "cannot accept a connection");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let is_late = serving.stop.is_cancelled();
        let (slot, reception) = match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) if is_late => (slot, Reception::Closing),
            Ok(slot) => (slot, Reception::Open),
            Err(_) => match Arc::clone(&overflow).try_acquire_owned() {
                Ok(slot) => (slot, Reception::Crowded),
                Err(_) => continue,
            },
        };
        let (tls, connections) = (tls.clone(), Arc::clone(&connections));
        let tasks = if is_late { &serving.late } else { &serving.tasks };
        tasks.spawn(async move {
            let arrival = connections.arrival(peer, reception);
            greet(stream, tls, &connections, arrival).await;
            drop(slot);
        });
    }
}

/// Takes one connection from the accepted socket to its end.
async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, connections: &Connections, arrival: Arrival) {
    // Without it small answers wait for the peer's acknowledgement; a socket that refuses is served slowly.
    let _ = stream.set_nodelay(true);
    let (socket, cut) = Socket::new(stream);
    let Some(acceptor) = tls else {
        return connections.serve_plain(socket, cut, arrival).await;
    };
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(limits::TLS_HANDSHAKE, acceptor.accept(socket)) => handshake,
        () = connections.stopping(arrival) => return,
    };
    match handshake {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connections.serve_tls(stream, cut, http2, arrival).await;
        }
        Ok(Err(cause)) => tracing::debug!(%cause, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

#[cfg(test)]
mod tests;

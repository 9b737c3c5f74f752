//! The CONNECT proxy: it makes every `<vault>.vault.localhost` resolve for any client, without root and
//! without a hosts file, and leads nowhere but to our own TLS door.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use strongroom_vault::ClientAddress;
use tokio::net::{TcpSocket, TcpStream};

use super::connection::Cut;
use super::dispatch::refusal;
use super::names::{Ports, may_tunnel};
use crate::limits;

/// Answers a CONNECT; the tunnel itself lives on in a task of its own until one side closes. It needs no
/// limits beside those of the connection at its far end, which is one of ours.
pub(super) fn connect(
    request: Request<Incoming>,
    ports: Ports,
    tunnels: &Arc<Tunnels>,
    cut: Cut,
) -> Response<Body> {
    let client = request.extensions().get::<ClientAddress>().copied();
    let Some(ClientAddress(client)) = client.filter(|_| may_tunnel(request.uri(), ports)) else {
        return refusal(
            StatusCode::FORBIDDEN,
            "proxy_refused",
            "this proxy leads to this server's own localhost names and to nothing else",
        );
    };
    let tunnels = Arc::clone(tunnels);
    tokio::spawn(async move {
        if let Err(cause) = tunnel(request, ports.https, (&tunnels, client), &cut).await {
            tracing::debug!(%cause, "a proxy tunnel ended early");
        }
    });
    Response::new(Body::empty())
}

async fn tunnel(
    request: Request<Incoming>,
    port: u16,
    (tunnels, address): (&Tunnels, IpAddr),
    cut: &Cut,
) -> std::io::Result<()> {
    let client = hyper::upgrade::on(request).await.map_err(std::io::Error::other)?;
    // Declared before the note of it and so closed after it: while a note stands, nobody else can have the port.
    let mut server: TcpStream;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let _noted = tunnels.note(socket.local_addr()?, address);
    server = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    server.set_nodelay(true)?;
    let mut client = TokioIo::new(client);
    let size = limits::TUNNEL_BUFFER;
    let copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, size, size).await;
    if copied.is_err() {
        // The far end was cut off, and what is still on its way through here must not arrive either.
        cut.mark();
    }
    copied.map(drop)
}

/// Whose bytes come out of our own tunnels. At its far end a tunnel is a connection from this very machine; without a note of
/// its client, whoever may use the proxy would stand behind every firewall rule that lets this machine through.
#[derive(Default)]
pub(super) struct Tunnels(Mutex<HashMap<SocketAddr, IpAddr>>);

impl Tunnels {
    /// The client of a connection from `peer`: of the tunnel, if it comes out of one.
    pub(super) fn client_of(&self, peer: SocketAddr) -> IpAddr {
        self.notes().get(&peer).copied().unwrap_or_else(|| peer.ip())
    }

    /// Notes, before a tunnel is connected, whose it is. The note ends when what is returned is dropped.
    fn note(&self, from: SocketAddr, client: IpAddr) -> Note<'_> {
        self.notes().insert(from, client);
        Note { tunnels: self, from }
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<SocketAddr, IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Note<'a> {
    tunnels: &'a Tunnels,
    from: SocketAddr,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.tunnels.notes().remove(&self.from);
    }
}

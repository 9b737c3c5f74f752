//! The CONNECT proxy: it makes every `<vault>.vault.localhost` resolve for any client, without root and
//! without a hosts file, and leads nowhere but to our own TLS door.

use std::net::Ipv4Addr;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connection::Cut;
use super::dispatch::refusal;
use super::names::{Ports, may_tunnel};
use crate::limits;

/// Answers a CONNECT; the tunnel itself lives on in a task of its own until one side closes. It needs no
/// limits beside those of the connection at its far end, which is one of ours.
pub(super) fn connect(request: Request<Incoming>, ports: Ports, cut: Cut) -> Response<Body> {
    if !may_tunnel(request.uri(), ports) {
        return refusal(
            StatusCode::FORBIDDEN,
            "proxy_refused",
            "this proxy leads to this server's own localhost names and to nothing else",
        );
    }
    tokio::spawn(async move {
        if let Err(cause) = tunnel(request, ports.https, &cut).await {
            tracing::debug!(%cause, "a proxy tunnel ended early");
        }
    });
    Response::new(Body::empty())
}

async fn tunnel(request: Request<Incoming>, port: u16, cut: &Cut) -> std::io::Result<()> {
    let client = hyper::upgrade::on(request).await.map_err(std::io::Error::other)?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
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

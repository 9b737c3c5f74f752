//! The doors with routes that only echo: what reaches whom, and how connections end.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use http::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::*;
use strongroom_vault::ClientAddress;

use crate::folder::DataFolder;
use crate::local;
use crate::tls::{self, Authority, Leaf};

const NOW: Duration = Duration::from_secs(1_795_000_000);

struct House {
    ports: Ports,
    authority: Authority,
    serving: Serving,
    slow: Arc<Slow>,
    _place: tempfile::TempDir,
}

/// What `/openai/slow` does: it reads nothing, and answers when it may.
#[derive(Default)]
struct Slow {
    asked: watch::Sender<usize>,
    may_answer: watch::Sender<bool>,
}

impl Slow {
    async fn answer(&self) {
        self.asked.send_modify(|asked| *asked += 1);
        self.may_answer.subscribe().wait_for(|may| *may).await.unwrap();
    }

    async fn was_asked(&self, times: usize) {
        self.asked
            .subscribe()
            .wait_for(|asked| *asked >= times)
            .await
            .unwrap();
    }
}

async fn house() -> House {
    let room = Room {
        served: limits::CONNECTIONS,
        told: limits::OVERFLOW_CONNECTIONS,
    };
    house_with_room(room).await
}

async fn house_with_room(room: Room) -> House {
    let place = tempfile::tempdir().unwrap();
    let folder = DataFolder::at(place.path()).unwrap();
    let _lock = folder.occupy().unwrap();
    // Trust is judged against the real clock here, so the certificates are dated by it.
    let now = Duration::from_secs(u64::try_from(jiff::Timestamp::now().as_second()).unwrap());
    let authority = Authority::load_or_make(&folder.tls(), now.max(NOW)).unwrap();
    let leaf = Leaf::issue(&authority, now.max(NOW)).unwrap();
    let doors = Doors {
        room,
        ..Doors::open(0, 0).await.unwrap()
    };
    let ports = doors.ports();
    let echo = |part: &'static str| {
        Router::new().fallback(move |uri: Uri| async move { format!("{part} {}", uri.path()) })
    };
    let cut = get(|| async {
        let pieces =
            futures::stream::iter([Ok(Bytes::from_static(b"piece")), Err("cut")]).then(|piece| async move {
                tokio::task::yield_now().await;
                piece
            });
        Body::from_stream(pieces)
    });
    let slow: Arc<Slow> = Arc::default();
    let answers_slowly = any({
        let slow = Arc::clone(&slow);
        || async move { slow.answer().await }
    });
    let reads = post(async |body: Bytes| body.len().to_string()).layer(DefaultBodyLimit::disable());
    let routes = Routes {
        vault: echo("vault").route("/address", get(address)),
        service: echo("service")
            .route("/openai/cut", cut)
            .route("/openai/slow", answers_slowly)
            .route("/openai/length", reads),
        control: echo("control"),
        admin: echo("admin"),
        loopback: echo("loopback"),
    };
    let config = tls::server_config(Arc::new(leaf)).unwrap();
    let serving = doors.serve(config, Dispatch::new(ports, "main", routes));
    House {
        ports,
        authority,
        serving,
        slow,
        _place: place,
    }
}

/// The address that a vault's firewall would decide by.
async fn address(client: axum::Extension<ClientAddress>) -> String {
    client.0.0.to_string()
}

impl House {
    fn client(&self) -> reqwest::Client {
        local::client_builder(self.authority.pem(), self.ports.https)
            .unwrap()
            .build()
            .unwrap()
    }

    async fn text(&self, url: &str) -> String {
        self.client().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Sends raw bytes to the plain door and reads until it answers.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.http))
            .await
            .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    }
}

#[tokio::test]
async fn every_name_reaches_its_own_part_over_tls() {
    let house = house().await;
    let port = house.ports.https;
    for (url, answer) in [
        (
            format!("https://kv1.vault.localhost:{port}/keys/k"),
            "vault /keys/k",
        ),
        ("https://kv1.vault.localhost/keys/k".to_owned(), "vault /keys/k"),
        (
            format!("https://acct.openai.localhost:{port}/openai/v1/models"),
            "service /openai/v1/models",
        ),
        (
            format!("https://localhost:{port}/openai-accounts/acct/openai/v1/models"),
            "service /openai/v1/models",
        ),
        (
            format!("https://localhost:{port}/strongroom/status"),
            "admin /strongroom/status",
        ),
        (
            format!("https://login.localhost:{port}/t/oauth2/v2.0/token"),
            "control /t/oauth2/v2.0/token",
        ),
        (format!("https://127.0.0.1:{port}/x"), "control /x"),
        (
            format!("http://127.0.0.1:{}/openai/v1/models", house.ports.http),
            "service /openai/v1/models",
        ),
        (
            format!("http://127.0.0.1:{}/healthz", house.ports.http),
            "loopback /healthz",
        ),
    ] {
        assert_eq!(house.text(&url).await, answer, "{url}");
    }
}

#[tokio::test]
async fn the_proxy_tunnels_to_our_own_names_whatever_the_clients_http_version() {
    let house = house().await;
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let own = house
            .raw(&format!(
                "CONNECT kv9.vault.localhost:443 {version}\r\nHost: x\r\n\r\n"
            ))
            .await;
        assert!(own.starts_with(&format!("{version} 200")), "{own}");
        let foreign = house
            .raw(&format!("CONNECT example.com:443 {version}\r\nHost: x\r\n\r\n"))
            .await;
        assert!(foreign.starts_with(&format!("{version} 403")), "{foreign}");
    }
    let proxy = reqwest::Proxy::https(format!("http://127.0.0.1:{}", house.ports.http)).unwrap();
    let authority = reqwest::Certificate::from_pem(house.authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .proxy(proxy)
        .tls_certs_only([authority])
        .build()
        .unwrap();
    let answer = client
        .get("https://kv9.vault.localhost/keys")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "vault /keys");
}

#[tokio::test]
async fn a_client_has_its_own_address_at_the_vault_also_behind_the_proxy_and_whatever_it_claims() {
    let house = house().await;
    let proxy = format!("http://127.0.0.1:{}", house.ports.http);
    for own in ["127.0.0.1", "127.0.0.2"] {
        let from = || {
            local::client_builder(house.authority.pem(), house.ports.https)
                .unwrap()
                .local_address(own.parse::<std::net::IpAddr>().unwrap())
        };
        let direct = from().build().unwrap();
        let tunnelled = from()
            .proxy(reqwest::Proxy::https(&proxy).unwrap())
            .build()
            .unwrap();
        for client in [direct, tunnelled] {
            let request = client
                .get("https://kv1.vault.localhost/address")
                .header("x-forwarded-for", "10.0.0.1")
                .header("forwarded", "for=10.0.0.1")
                .send();
            assert_eq!(request.await.unwrap().text().await.unwrap(), own);
        }
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_before_any_route() {
    let house = house().await;
    let foreign_host = house
        .raw("GET /openai/v1/models HTTP/1.1\r\nHost: example.com\r\n\r\n")
        .await;
    assert!(foreign_host.starts_with("HTTP/1.1 421"), "{foreign_host}");
    assert!(foreign_host.contains("foreign_host"));
    let url = format!("http://127.0.0.1:{}/openai/v1/models", house.ports.http);
    let foreign_origin = house
        .client()
        .get(url)
        .header("Origin", "https://example.com")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign_origin.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_response_that_is_cut_resets_the_connection() {
    let house = house().await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    stream
        .write_all(b"GET /openai/cut HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await;
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn draining_closes_idle_connections_and_accepts_no_more() {
    let house = house().await;
    let url = format!("http://127.0.0.1:{}/healthz", house.ports.http);
    let client = house.client();
    client.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(
        house.serving.drain().await,
        "a connection without a request does not hold up the end"
    );
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn while_requests_finish_vaults_and_tokens_answer_and_the_data_plane_takes_nothing_new() {
    let house = house().await;
    let Ports { https, http } = house.ports;
    let slow = house.client().get(format!("http://127.0.0.1:{http}/openai/slow"));
    let in_flight = tokio::spawn(slow.send());
    house.slow.was_asked(1).await;
    let serving = house.serving.clone();
    let drain = tokio::spawn(async move { serving.drain().await });
    house.serving.stop.cancelled().await;
    let vault = house
        .text(&format!("https://kv1.vault.localhost:{https}/keys/k"))
        .await;
    assert_eq!(vault, "vault /keys/k");
    let token = format!("http://127.0.0.1:{http}/msi/token");
    assert_eq!(house.text(&token).await, "loopback /msi/token");
    let models = format!("http://127.0.0.1:{http}/openai/v1/models");
    let refused = house.client().get(models).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!drain.is_finished());
    house.slow.may_answer.send_replace(true);
    assert!(drain.await.unwrap(), "nobody waits for those that came after");
    assert_eq!(in_flight.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(house.client().get(token).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn uploads_that_wait_do_not_keep_another_on_their_connection_from_its_end() {
    let house = house().await;
    // One client of HTTP/2 keeps to one connection.
    let (client, port) = (house.client(), house.ports.https);
    let url = |path: &str| format!("https://acct.openai.localhost:{port}/openai/{path}");
    let streams = limits::HTTP2_STREAMS as usize;
    let waiting: Vec<_> = (1..streams)
        .map(|_| tokio::spawn(client.post(url("slow")).body(vec![0; 1 << 20]).send()))
        .collect();
    house.slow.was_asked(streams - 1).await;
    let sent = client
        .post(url("length"))
        .body(vec![0; 3 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(sent.version(), http::Version::HTTP_2);
    assert_eq!(sent.text().await.unwrap(), (3 << 20).to_string());
    house.slow.may_answer.send_replace(true);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

/// An HTTP/1 connection to the plain door that has just been answered and stays open.
async fn kept_open(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    stream
}

#[tokio::test]
async fn too_many_connections_are_told_to_come_again_and_more_than_that_are_closed() {
    let house = house_with_room(Room { served: 1, told: 1 }).await;
    let _served = kept_open(&house).await;
    let mut told = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    let mut closed = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    let ended = closed.read(&mut [0; 16]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    told.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    told.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("retry-after: 1") && answer.contains("too_many_connections"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_request_head_is_closed() {
    let house = house().await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0")
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));
    assert!(began.elapsed() >= limits::HEADER_READ);
}

/// Sends all of `request` as far as it is taken, then reads to the end.
async fn sent_whole(house: &House, request: Vec<u8>) -> String {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.http))
        .await
        .unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sender = tokio::spawn(async move {
        // A server that has heard enough closes.
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut answer))
        .await
        .unwrap();
    drop(sender.await.unwrap());
    String::from_utf8(answer).unwrap()
}

fn with_head_of(bytes: usize) -> Vec<u8> {
    let mut request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX: ".to_vec();
    request.resize(bytes - 4, b'y');
    request.extend_from_slice(b"\r\n\r\n");
    request
}

#[tokio::test]
async fn a_request_head_that_is_too_long_is_refused_and_an_endless_one_is_not_read() {
    let house = house().await;
    let answered = sent_whole(&house, with_head_of(60 << 10)).await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    let refused = sent_whole(&house, with_head_of(100 << 10)).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    assert!(refused.contains("request_head_too_large"));
    // Were it read to the end, it would be answered.
    let unread = sent_whole(&house, with_head_of(500 << 10)).await;
    assert_eq!(unread, "");
}

#[tokio::test]
async fn bodies_and_pipelined_requests_are_no_heads() {
    let house = house().await;
    let mut request = b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400000\r\n\r\n".to_vec();
    request.resize(request.len() + 400_000, b'y');
    assert!(sent_whole(&house, request).await.starts_with("HTTP/1.1 200 "));

    let one = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut many = one.repeat(10_000);
    many.extend_from_slice(&with_head_of(1000));
    assert_eq!(
        sent_whole(&house, many).await.matches("HTTP/1.1 200 ").count(),
        10_001
    );
}

#[tokio::test]
async fn a_tunnel_carries_any_number_of_bytes() {
    let house = house().await;
    let proxy = format!("http://127.0.0.1:{}", house.ports.http);
    let client = local::client_builder(house.authority.pem(), house.ports.https)
        .unwrap()
        .proxy(reqwest::Proxy::https(proxy).unwrap())
        .build()
        .unwrap();
    let url = format!("https://a.vault.localhost:{}/keys", house.ports.https);
    for _ in 0..3 {
        let sent = client.post(&url).body(vec![0; 300 << 10]).send().await.unwrap();
        assert_eq!(sent.text().await.unwrap(), "vault /keys");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_handshake_is_closed() {
    let house = house().await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, house.ports.https))
        .await
        .unwrap();
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    let began = tokio::time::Instant::now();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(began.elapsed() >= limits::TLS_HANDSHAKE);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let house = house().await;
    let mut stream = kept_open(&house).await;
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
}

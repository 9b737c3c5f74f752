//! A system under load, the loss of its key, and what must hold then.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use strongroom::SystemClock;
use strongroom_seal::Clock as _;
use strongroom_store::StoreEvent;
use strongroom_testkit::{FailingVault, InstantUpstream, System, SystemOptions};
use tokio::sync::broadcast::Receiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::asking::{Answer, Asked, Asking, ENDLESS, Endless};
use crate::clients::{self, Client, End, RECEIVE};
use crate::{BOUND, PATIENCE, SLACK};

/// Large enough that a download at the clients' pace outlives every loss.
const LENGTH: usize = 80 << 20;
/// Short enough that a client has gone from one to the next when the key is lost, and is in the middle of another.
const PART: usize = (1 << 20) + 77;

/// A running system with a file in it.
pub(crate) struct Rig {
    pub(crate) system: System,
    pub(crate) vault: FailingVault,
    /// Came in parts, so that a download goes from one to the next.
    file: String,
    content: Vec<u8>,
    /// An upload with one part that was acknowledged, and that part.
    upload: [String; 2],
    _upstream: InstantUpstream,
}

/// What must follow a loss.
pub(crate) struct Expected {
    /// From the loss to the last byte.
    pub(crate) limit: Duration,
    /// For how long from the loss on it must go on, where a silent vault is put up with.
    pub(crate) served: Duration,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

impl Expected {
    /// The vault said no.
    pub(crate) fn refused(code: &'static str) -> Self {
        Self {
            limit: BOUND,
            served: Duration::ZERO,
            status: 403,
            code,
        }
    }
}

/// Everything that was under way when the key was lost.
pub(crate) struct Load {
    clients: Vec<Client>,
    stalling: (Client, oneshot::Sender<()>),
    asking: Vec<Asking>,
    uploads: [Endless; 2],
    events: Receiver<StoreEvent>,
}

/// The id of what this request makes.
async fn made(request: reqwest::RequestBuilder) -> String {
    Answer::to(request).await.id.unwrap()
}

impl Rig {
    pub(crate) async fn start(grace: Option<Duration>) -> Self {
        let upstream = InstantUpstream::start_paced(Duration::from_millis(20), 5_000)
            .await
            .unwrap();
        let mut options = SystemOptions::new()
            .unwrap()
            .revocation_bound(BOUND)
            .upstream(upstream.url());
        if let Some(grace) = grace {
            options = options.outage_grace(grace);
        }
        let (system, vault) = options.start_with_failing_vault().await.unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
        let parts = content.chunks(PART).map(<[u8]>::to_vec).collect();
        let file = system.upload_in_parts("large.bin", parts).await.unwrap();
        let upload = made(system.begin_upload("parts.bin", 5)).await;
        let part = made(system.part_request(&upload, b"short".to_vec())).await;
        Self {
            upload: [upload, part],
            system,
            vault,
            file,
            content,
            _upstream: upstream,
        }
    }

    /// Downloads and token streams over every door, an upload, and short requests of each kind: all under way.
    pub(crate) async fn load(&self) -> Load {
        let system = &self.system;
        let path = format!("/files/{}/content", self.file);
        let narrow = system
            .client_builder()
            .unwrap()
            .http2_initial_stream_window_size(RECEIVE)
            .http2_initial_connection_window_size(RECEIVE * 2)
            .build()
            .unwrap();
        // One connection for both, and no short request on it: they are cut together.
        let tls = |method, path: &str| {
            narrow
                .request(method, format!("{}{path}", system.tls_base_url()))
                .bearer_auth(system.variable("OPENAI_API_KEY"))
        };
        let tokens_tls = tls(Method::POST, "/chat/completions").json(&serde_json::json!({
            "model": system.variable("STRONGROOM_DEPLOYMENT"), "stream": true,
            "messages": [{"role": "user", "content": "Go on."}],
        }));
        let mut load = Load {
            events: system.running().store().events(),
            clients: vec![
                clients::draining_raw("download", system, &path).await,
                clients::draining_raw_tls("download over TLS", system, &path).await,
                clients::draining("download over HTTP/2", tls(Method::GET, &path)),
                clients::draining("token stream", system.chat_request("Go on.", true)),
                clients::draining("token stream over HTTP/2", tokens_tls),
            ],
            stalling: clients::stalling("stalled download", system, &path).await,
            asking: Asked::ALL
                .map(|asked| Asking::start(asked, system, &self.file))
                .into(),
            uploads: [
                Endless::start(system),
                Endless::start_part(system, &self.upload[0]),
            ],
        };
        for client in load.clients.iter_mut().chain([&mut load.stalling.0]) {
            client.at_least(200).await;
        }
        for upload in &mut load.uploads {
            upload.under_way().await;
        }
        load
    }

    /// Once the key is back everything works again, without a restart, and nothing acknowledged is lost.
    pub(crate) async fn recovers(&self, acknowledged: &[String]) {
        for asked in Asked::ALL {
            self.until(asked, 200, "").await;
        }
        assert!(self.system.download(&self.file).await.unwrap() == self.content);
        for id in acknowledged {
            assert_eq!(
                self.system.download(id).await.unwrap(),
                b"short",
                "{id} was acknowledged"
            );
        }
        let listed = self.system.api(Method::GET, "/files").send().await.unwrap();
        let listed: Value = listed.json().await.unwrap();
        let files = listed["data"].as_array().unwrap();
        assert!(!files.is_empty());
        assert!(
            files.iter().all(|file| file["filename"] != ENDLESS),
            "half an upload became a file"
        );
        self.completes().await;
    }

    /// The upload that was open when the key was lost is there with the part that was acknowledged; half a part is not.
    async fn completes(&self) {
        let [upload, part] = &self.upload;
        let complete = self.system.complete_upload(upload, std::slice::from_ref(part));
        let done = complete.send().await.unwrap();
        let done: Value = done.json().await.unwrap();
        let file = done["file"]["id"].as_str().unwrap();
        assert_eq!(self.system.download(file).await.unwrap(), b"short");
    }

    /// Asks until the answer is this one.
    pub(crate) async fn until(&self, asked: Asked, status: u16, code: &str) {
        let wanted = timeout(PATIENCE, async {
            loop {
                let answer = Answer::to(asked.request(&self.system, &self.file)).await;
                if (answer.status, answer.code.as_str()) == (status, code) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(
            wanted.await.is_ok(),
            "{asked:?} is never answered {status} {code}"
        );
    }

    /// One short request.
    pub(crate) async fn ask(&self, asked: Asked) -> Answer {
        Answer::to(asked.request(&self.system, &self.file)).await
    }
}

impl Load {
    /// Holds everything that was under way against what must follow a loss at this moment. Answers with the uploads that were acknowledged.
    pub(crate) async fn ends(self, lost: Instant, expected: &Expected) -> Vec<String> {
        let lost_ms = wall_ms().saturating_sub(milliseconds(lost.elapsed()));
        let end = lost + expected.limit + SLACK;
        for client in self.clients {
            let name = client.name;
            let seen = client.seen().await;
            let late = |moment: Instant| moment.saturating_duration_since(end);
            assert_ne!(seen.end, End::Whole, "{name}: passed for a whole answer");
            assert!(
                late(seen.last).is_zero(),
                "{name}: bytes {:?} too late",
                late(seen.last)
            );
            assert!(
                late(seen.ended).is_zero(),
                "{name}: cut {:?} too late",
                late(seen.ended)
            );
            // A push may be faster than the answer to whoever turned the key off.
            let early = !expected.served.is_zero() && seen.last < lost + expected.served;
            assert!(!early, "{name}: cut too early");
            if name.starts_with("download") && !name.contains("HTTP/2") {
                assert_eq!(seen.end, End::Reset, "{name}");
            }
        }
        sleep_until(end).await;
        check_stalled(self.stalling).await;
        for upload in self.uploads {
            let status = upload.status().await;
            assert_ne!(status, Some(200), "an upload without an end was acknowledged");
        }
        // A few more answers, so that a key that comes back by itself would be seen.
        sleep(Duration::from_millis(300)).await;
        let mut acknowledged = Vec::new();
        for asking in self.asking {
            let asked = asking.asked;
            let answers = asking.answers().await;
            check_answers(asked, &answers, lost, expected);
            if asked == Asked::Write {
                acknowledged.extend(
                    answers
                        .into_iter()
                        .filter(Answer::is_success)
                        .filter_map(|answer| answer.id),
                );
            }
        }
        check_events(self.events, lost_ms, expected).await;
        acknowledged
    }
}

/// A client that took nothing for long gets no more than what its own machine had received.
async fn check_stalled((client, go_on): (Client, oneshot::Sender<()>)) {
    let before = *client.progress.borrow();
    let _ = go_on.send(());
    let seen = client.seen().await;
    assert_eq!(seen.end, End::Reset, "the stalled download");
    let after = seen.bytes - before;
    // Linux doubles what a socket asks for.
    assert!(
        after <= u64::from(RECEIVE) * 4,
        "{after} bytes waited for the stalled client"
    );
}

fn check_answers(asked: Asked, answers: &[Answer], lost: Instant, expected: &Expected) {
    let end = lost + expected.limit + SLACK;
    let first_no = answers.iter().find(|answer| !answer.is_success());
    let first_no = first_no.unwrap_or_else(|| panic!("{asked:?} is still served"));
    let early = !expected.served.is_zero() && first_no.heard < lost + expected.served;
    assert!(!early, "{asked:?}: {first_no:?} too early");
    for answer in answers {
        if answer.is_success() {
            assert!(
                answer.heard <= end,
                "{asked:?}: served {:?} too late",
                answer.heard - end
            );
            assert!(
                answer.sent <= first_no.heard,
                "{asked:?}: served again after {first_no:?}"
            );
        } else {
            let told = (answer.status, answer.code.as_str());
            assert_eq!(told, (expected.status, expected.code), "{asked:?}: {answer:?}");
            let waits = answer
                .retry_after
                .is_some_and(|seconds| (1..=60).contains(&seconds));
            assert_eq!(waits, expected.status == 503, "{asked:?}: {answer:?}");
        }
    }
}

/// The store's own account of the last segment opened and of the wiping.
async fn check_events(mut events: Receiver<StoreEvent>, lost_ms: u64, expected: &Expected) {
    let (mut last_use, limit) = (None, lost_ms + milliseconds(expected.limit));
    let wiped = timeout(PATIENCE, async {
        loop {
            match events.recv().await.unwrap() {
                StoreEvent::LastUse { at_ms, .. } => last_use = Some(at_ms),
                StoreEvent::Wiped { at_ms, .. } => return at_ms,
                _ => {}
            }
        }
    });
    let wiped = wiped.await.expect("the key must be wiped");
    let last_use = last_use.expect("the key was in use");
    assert!(
        last_use <= limit,
        "a segment was opened {} ms too late",
        last_use - limit
    );
    assert!(
        wiped <= limit + milliseconds(SLACK),
        "wiped {} ms too late",
        wiped - limit
    );
}

pub(crate) fn wall_ms() -> u64 {
    milliseconds(SystemClock.now().wall)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

//! What stands for workspaces, storage accounts and event hubs: folders, and HTTP endpoints.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use strongroom_azure::ResourceId;
use url::Url;

use super::records::Record;
use super::setting::Destination;
use crate::limits::{DELIVERY_TIMEOUT, SINK_NAME};

/// Where the logs for one destination go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSink {
    /// Files below this folder, laid out as Azure lays them out in a storage account.
    Folder(PathBuf),
    /// `POST`s of `{"records": [...]}` to this URL. Nothing is sent with them that proves who we are.
    Http(Url),
}

/// The destinations that have a place of their own, by their ids; any other is a folder of its own below one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSinks {
    /// Where destinations without a place of their own go.
    pub folder: PathBuf,
    /// The others, by resource id in small letters.
    pub named: BTreeMap<String, LogSink>,
}

/// Why a text names no sink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLogSink {
    /// It is not `ID=WHERE`.
    #[error("{0} is not ID=FOLDER or ID=URL")]
    Form(String),
    /// What stands before the sign is no resource id.
    #[error("{0} is no resource id")]
    Id(String),
    /// The URL has another scheme, or carries a user or password; logs leave the machine over TLS only.
    #[error("{0} must be an https URL without user, or an http URL of a loopback address")]
    Url(String),
}

impl LogSink {
    /// Reads `ID=FOLDER` or `ID=URL`: the id in small letters, and the sink.
    pub fn parse(text: &str) -> Result<(String, Self), NoLogSink> {
        let (id, place) = text
            .split_once('=')
            .ok_or_else(|| NoLogSink::Form(text.to_owned()))?;
        let id: ResourceId = id.parse().map_err(|_| NoLogSink::Id(id.to_owned()))?;
        let sink = match place.split_once("://") {
            Some(_) => Self::Http(endpoint(place).ok_or_else(|| NoLogSink::Url(place.to_owned()))?),
            None if place.is_empty() => return Err(NoLogSink::Form(text.to_owned())),
            None => Self::Folder(PathBuf::from(place)),
        };
        Ok((id.as_str().to_ascii_lowercase(), sink))
    }
}

fn endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host()?;
    let here = match host {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    let plain = url.username().is_empty() && url.password().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    (plain && safe).then_some(url)
}

impl LogSinks {
    /// The sink of a destination.
    pub(super) fn of(&self, destination: &Destination) -> LogSink {
        let id = destination.id.to_ascii_lowercase();
        if let Some(sink) = self.named.get(id.trim_end_matches('/')) {
            return sink.clone();
        }
        let kind = match destination.property.as_str() {
            "workspaceId" => "workspaces",
            "storageAccountId" => "storage-accounts",
            "eventHubAuthorizationRuleId" => "event-hubs",
            _ => "partners",
        };
        LogSink::Folder(self.folder.join(kind).join(folder_name(id.trim_matches('/'))))
    }
}

/// A name for people to find, made unlike any other by the hash of the whole id in small letters: resources of different groups may
/// share theirs, and a file's name may not be as long as an id.
fn folder_name(id: &str) -> String {
    let last = id.rsplit('/').next().unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let shown: String = last.chars().filter(fits).take(SINK_NAME).collect();
    let hash = digest(&SHA256, format!("/{id}").as_bytes());
    format!("{shown}-{}", hex::encode(hash))
}

/// A record was not delivered. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    #[error("{}: {cause}", path.display())]
    Folder { path: PathBuf, cause: io::Error },
    #[error("the endpoint: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the endpoint answered {0}")]
    Answer(http::StatusCode),
    #[error("the work was interrupted")]
    Interrupted,
}

/// Brings records to sinks. Clones share connections.
#[derive(Clone)]
pub(super) struct Courier {
    client: reqwest::Client,
}

impl Courier {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(DELIVERY_TIMEOUT)
            .timeout(DELIVERY_TIMEOUT)
            .build()?;
        Ok(Self { client })
    }

    /// The records are where they belong when this succeeds. When it fails, some of them may be.
    pub(super) async fn deliver(
        &self,
        sink: &LogSink,
        scope: &ResourceId,
        records: Vec<Record>,
    ) -> Result<(), Undelivered> {
        match sink {
            LogSink::Http(url) => self.post(url, records).await,
            LogSink::Folder(folder) => {
                let (folder, scope) = (folder.clone(), scope.clone());
                let written = tokio::task::spawn_blocking(move || write(&folder, &scope, &records));
                written.await.map_err(|_| Undelivered::Interrupted)?
            }
        }
    }

    async fn post(&self, url: &Url, records: Vec<Record>) -> Result<(), Undelivered> {
        let records: Vec<Value> = records.into_iter().map(|record| record.body).collect();
        let body = json!({ "records": records });
        let answer = self.client.post(url.clone()).json(&body).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(Undelivered::Answer(answer.status()))
    }
}

/// Appends each record to its file: `insights-logs-<category>/resourceId=<ID>/y=/m=/d=/h=/m=00/PT1H.json`, one line each.
fn write(folder: &Path, scope: &ResourceId, records: &[Record]) -> Result<(), Undelivered> {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for record in records {
        let path = folder.join(file_of(scope, record));
        let lines = files.entry(path).or_default();
        lines.push_str(&record.body.to_string());
        lines.push('\n');
    }
    for (path, lines) in files {
        append(&path, &lines).map_err(|cause| Undelivered::Folder { path, cause })?;
    }
    Ok(())
}

fn file_of(scope: &ResourceId, record: &Record) -> PathBuf {
    // `2026-11-25T12:00:00.1230000Z`
    let part = |from: usize, to: usize| {
        record
            .time
            .get(from..to)
            .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let (year, month) = (part(0, 4).unwrap_or("0000"), part(5, 7).unwrap_or("00"));
    let (day, hour) = (part(8, 10).unwrap_or("00"), part(11, 13).unwrap_or("00"));
    let id = scope.as_str().to_ascii_uppercase();
    PathBuf::from(format!("insights-logs-{}", record.category.to_ascii_lowercase()))
        .join(format!("resourceId={id}"))
        .join(format!("y={year}/m={month}/d={day}/h={hour}/m=00/PT1H.json"))
}

/// Appends lines and makes them durable. A line that a crash cut off stays what it is, on a line of its own.
fn append(path: &Path, lines: &str) -> io::Result<()> {
    let is_new = !path.exists();
    if let Some(folder) = path.parent().filter(|_| is_new) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut open = OpenOptions::new();
    let mut file = open.create(true).read(true).append(true).mode(0o600).open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()?;
    match path.parent().filter(|_| is_new) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sinks_are_folders_or_endpoints_that_keep_logs_from_prying_eyes() {
        let id = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/Logs";
        let folder = LogSink::parse(&format!("{id}=/var/log/x")).unwrap();
        assert_eq!(
            folder,
            (id.to_ascii_lowercase(), LogSink::Folder("/var/log/x".into()))
        );
        for url in [
            "https://siem.example/in?x=1",
            "http://127.0.0.1:9000/",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            let sink = LogSink::parse(&format!("{id}={url}")).unwrap().1;
            assert_eq!(sink, LogSink::Http(url.parse().unwrap()), "{url}");
        }
        for wrong in [
            "http://siem.example/",
            "https://user:pw@siem.example/",
            "ftp://x/",
            "http://",
        ] {
            assert!(LogSink::parse(&format!("{id}={wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "no-id=/x", &format!("{id}=")] {
            assert!(LogSink::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_destination_has_a_folder_of_its_own_whatever_it_is_called() {
        let folder = |id: &str| {
            let sinks = LogSinks {
                folder: PathBuf::new(),
                named: BTreeMap::new(),
            };
            let (property, id) = ("workspaceId".to_owned(), id.to_owned());
            let LogSink::Folder(folder) = sinks.of(&Destination { property, id }) else {
                unreachable!()
            };
            folder
        };
        assert_eq!(
            folder("/a/B/"),
            Path::new("workspaces/b-662b7b62a798bb2d53e67cad9778e12e48297c79eae98d3aae7197be825d768f")
        );
        assert_ne!(folder("/x/a_b/c"), folder("/x/a/b_c"));
        assert_ne!(folder("/x/a/b"), folder("/x_a/b"));
        let long = |end: &str| format!("/{}/{}{end}", "g".repeat(250), "n".repeat(250));
        assert_ne!(folder(&long("1")), folder(&long("2")));
        assert!(folder(&long("1")).file_name().unwrap().len() < 150);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_does_not_spoil_the_next() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b.json");
        append(&path, "{}\n").unwrap();
        fs::write(&path, "{}\n{\"x\":").unwrap();
        append(&path, "{\"y\":1}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n{\"x\":\n{\"y\":1}\n");
    }
}

//! Keys, as their vaults tell; and as Resource Manager does where a vault refuses.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::accounts::KeyBrief;
use super::{Collector, Found, RecorderError, plan, text};
use crate::ask::Question;
use crate::fact::{Fact, Failure, Source};
use crate::{limits, question as word};

/// A vault's address as it is compared: `https://host`, with a port unless that is 443, in small letters.
pub(crate) fn vault_text(uri: &str) -> String {
    match Url::parse(uri.trim()) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => uri.trim().trim_end_matches('/').to_ascii_lowercase(),
    }
}

/// What a vault is known by: its host. Ports say nothing, on Azure because there is one, here because all lead to the same door.
pub(crate) fn vault_host(uri: &str) -> String {
    let url = Url::parse(uri.trim());
    let host = url
        .ok()
        .and_then(|url| url.host_str().map(str::to_ascii_lowercase));
    host.unwrap_or_else(|| uri.trim().to_ascii_lowercase())
}

/// Versions that accounts name, by vault and key.
type Wanted = BTreeMap<(String, String), BTreeSet<Option<String>>>;

impl Collector<'_> {
    /// The keys that accounts name, and the vaults that these are in.
    pub(super) async fn vaults(&self, found: &Found) -> Result<(), RecorderError> {
        self.asker.tally().begin("vaults and keys");
        let mut wanted = Wanted::new();
        for key in found.accounts.iter().filter_map(|account| account.key.as_ref()) {
            let KeyBrief { vault, name, version } = key;
            let versions = wanted.entry((vault_text(vault), name.clone())).or_default();
            versions.insert(version.as_ref().map(|version| version.to_ascii_lowercase()));
        }
        let hosts: BTreeSet<&String> = wanted.keys().map(|(vault, _)| vault).collect();
        let (mut settings, mut deleted) = (Vec::new(), Vec::new());
        for host in &hosts {
            if let Some(id) = found.vaults.get(&vault_host(host)) {
                settings.push(self.settings(id));
            }
            if let Ok(url) = Url::parse(host) {
                let about = (*host).clone();
                deleted.push(plan::vault(&url, "/deletedkeys", word::DELETED_KEYS, about, true));
            }
        }
        self.all(deleted).await?;
        let logs = self.rows(settings, |question, row| {
            let workspace = text(row, "/properties/workspaceId")?.to_ascii_lowercase();
            Some((question.about.clone()?, found.workspaces.get(&workspace)?))
        });
        let logs = logs.await?.into_iter();
        let logs = logs.filter_map(|(vault, workspace)| plan::key_use(self.asker.cloud(), workspace, &vault));
        self.all(logs.collect()).await?;
        let keys: Vec<_> = wanted.into_iter().collect();
        let work = keys.iter().map(|((vault, name), versions)| {
            let id = found.vaults.get(&vault_host(vault)).map(String::as_str);
            self.key(vault, name, versions, id)
        });
        let mut work =
            futures::StreamExt::buffer_unordered(futures::stream::iter(work), self.asker.calls_in_flight());
        while let Some(done) = futures::StreamExt::next(&mut work).await {
            done?;
        }
        Ok(())
    }

    async fn key(
        &self,
        vault: &str,
        name: &str,
        versions: &BTreeSet<Option<String>>,
        vault_id: Option<&str>,
    ) -> Result<(), RecorderError> {
        let about = format!("{vault}/keys/{name}");
        let Ok(url) = Url::parse(vault) else {
            return self.unnameable(&about, "the vault's address is no URL");
        };
        if !is_key_name(name) || !versions.iter().flatten().all(|version| is_version(version)) {
            return self.unnameable(&about, "no key or version can have such a name");
        }
        let mut questions: Vec<Question> = versions
            .iter()
            .map(|version| {
                let rest = version
                    .as_ref()
                    .map(|version| format!("/{version}"))
                    .unwrap_or_default();
                let path = format!("/keys/{name}{rest}");
                plan::vault(&url, &path, word::KEY, format!("{about}{rest}"), false)
            })
            .collect();
        let below = |rest, question, is_list| {
            plan::vault(
                &url,
                &format!("/keys/{name}/{rest}"),
                question,
                about.clone(),
                is_list,
            )
        };
        questions.push(below("rotationpolicy", word::ROTATION_POLICY, false));
        self.asker.tally().plans(questions.len() + 1);
        let mut refused = false;
        for question in &questions {
            refused |= is_refused(&self.answer(question).await?);
        }
        let versions = below("versions", word::KEY_VERSIONS, true);
        self.pages(versions, |fact| refused |= is_refused(fact)).await?;
        // A vault behind a firewall, or one that grants us nothing, is no reason not to know: Resource Manager shows keys too.
        match vault_id.filter(|_| refused) {
            Some(id) => self.key_in_management(id, name, &about).await,
            None => Ok(()),
        }
    }

    async fn key_in_management(&self, vault: &str, name: &str, about: &str) -> Result<(), RecorderError> {
        let ask = |rest: &str, question, is_list| Question {
            is_list,
            ..plan::manager(
                self.asker.cloud(),
                &format!("{vault}/keys/{name}{rest}"),
                plan::KEY_VAULT,
                question,
                Some(about),
            )
        };
        self.asker.tally().plans(2);
        self.answer(&ask("", word::KEY_IN_MANAGEMENT, false)).await?;
        let versions = ask("/versions", word::KEY_VERSIONS_IN_MANAGEMENT, true);
        self.pages(versions, |_| {}).await
    }

    /// A reference that cannot be followed is a fact too.
    fn unnameable(&self, about: &str, why: &str) -> Result<(), RecorderError> {
        self.asker.tally().plans(1);
        let question = Question {
            source: Source::KeyVault,
            question: word::KEY,
            about: Some(about.to_owned()),
            url: Url::parse("about:blank").unwrap_or_else(|_| self.asker.cloud().manager("/")),
            body: None,
            is_list: false,
        };
        let fact = self.asker.failed(&question, Failure::NotAsked, why.to_owned());
        self.recorder.keep(&format!("unnameable {about}"), &fact)
    }

    /// Who the principals are, and who is in the groups that hold roles.
    pub(super) async fn people(&self, found: &Found) -> Result<(), RecorderError> {
        self.asker.tally().begin("principals");
        let cloud = self.asker.cloud();
        let ids: Vec<String> = found.principals.iter().cloned().collect();
        let mut questions: Vec<Question> = ids
            .chunks(limits::DIRECTORY_IDS)
            .filter_map(|some| plan::principals(cloud, some))
            .collect();
        questions.extend(
            found
                .groups
                .iter()
                .filter_map(|group| plan::members(cloud, group)),
        );
        self.all(questions).await
    }
}

fn is_refused(fact: &Fact) -> bool {
    fact.body().is_none() && fact.status() != Some(404)
}

fn is_key_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_version(version: &str) -> bool {
    (1..=64).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

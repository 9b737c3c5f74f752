//! From the file to the design: strict, and with every fault of the file in one report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use url::Url;

use super::node::{self, Kind, Node};
use super::{
    ApprovedAccount, ApprovedIdentity, ApprovedKey, ApprovedVault, Criterion, Dependency, DependencyKey,
    Design, DesignError, DrillTarget, Exception, Fault, MonitoringQuery, NetworkPath, Retention, VaultPath,
    VersionPolicy,
};
use crate::finding::Severity;
use crate::package::answers::severity as severity_word;

impl Design {
    /// Reads a design. `is_control` says which controls there are.
    pub fn parse(text: &str, is_control: &dyn Fn(&str) -> bool) -> Result<Self, DesignError> {
        let mut reader = Reader {
            faults: Vec::new(),
            is_control,
        };
        let design = match node::read(text) {
            Ok(node) => reader.design(&node),
            Err(fault) => {
                reader.faults.push(fault);
                None
            }
        };
        reader.faults.sort_by_key(|fault| fault.line);
        match design {
            Some(design) if reader.faults.is_empty() => Ok(design),
            _ => Err(DesignError {
                faults: reader.faults,
            }),
        }
    }
}

struct Reader<'a> {
    faults: Vec<Fault>,
    is_control: &'a dyn Fn(&str) -> bool,
}

/// The members of a map.
struct Fields<'a> {
    line: usize,
    members: BTreeMap<&'a str, &'a Node>,
}

impl Reader<'_> {
    fn design(&mut self, node: &Node) -> Option<Design> {
        let names = [
            "version",
            "decision",
            "accounts",
            "vaults",
            "exceptions",
            "monitoring",
            "acceptance",
        ];
        let fields = self.fields(node, "a design", &names)?;
        match fields.members.get("version") {
            None => self.fault(fields.line, "`version: 1` is missing"),
            Some(version) if matches!(&version.kind, Kind::Scalar(text, _) if text == "1") => {}
            Some(version) => self.fault(version.line, "this program reads designs of version 1"),
        }
        let accounts = self.list(&fields, "accounts", Self::account);
        let mut design = Design {
            decision: self.optional(&fields, "decision"),
            ..Design::default()
        };
        let mut owners: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for (line, account) in accounts {
            self.one_owner(&mut owners, &account.key, line);
            let id = account.id.to_ascii_lowercase();
            if design.accounts.insert(id, account).is_some() {
                self.fault(line, "this account stands here twice");
            }
        }
        for (line, vault) in self.list(&fields, "vaults", Self::vault) {
            if design
                .vaults
                .insert(vault.id.to_ascii_lowercase(), vault)
                .is_some()
            {
                self.fault(line, "this vault stands here twice");
            }
        }
        let exceptions = self.list(&fields, "exceptions", Self::exception);
        let acceptance = self.list(&fields, "acceptance", Self::criterion);
        self.contradictions(&exceptions, &acceptance);
        let monitoring = self.list(&fields, "monitoring", Self::query);
        let mut names = BTreeSet::new();
        for (line, query) in &monitoring {
            if !names.insert(query.name.clone()) {
                self.fault(*line, &format!("`{}` stands here twice", query.name));
            }
        }
        design.exceptions = exceptions.into_iter().map(|(_, one)| one).collect();
        design.acceptance = acceptance.into_iter().map(|(_, one)| one).collect();
        design.monitoring = monitoring.into_iter().map(|(_, one)| one).collect();
        Some(design)
    }

    /// A key that two accounts name has one owner.
    fn one_owner(&mut self, owners: &mut BTreeMap<String, (String, usize)>, key: &ApprovedKey, line: usize) {
        let Some(owner) = &key.owner else { return };
        let known = owners
            .entry(key.uri.clone())
            .or_insert_with(|| (owner.clone(), line));
        if known.0 != *owner {
            let what = format!(
                "the key {} is {owner}'s here and {}'s in line {}: which one?",
                key.uri, known.0, known.1
            );
            self.fault(line, &what);
        }
    }

    /// What is excepted cannot be demanded at the same time.
    fn contradictions(&mut self, exceptions: &[(usize, Exception)], acceptance: &[(usize, Criterion)]) {
        let mut seen: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
        for (line, exception) in exceptions {
            let of = (exception.control.as_str(), exception.resource.as_deref());
            if let Some(first) = seen.insert(of, *line) {
                let what = format!(
                    "{} is excepted here again, first in line {first}",
                    exception.control
                );
                self.fault(*line, &what);
            }
            let demanded = acceptance.iter().find(|(_, criterion)| {
                matches!(criterion, Criterion::Passes(control) if *control == exception.control)
            });
            if let Some((demand, _)) = demanded {
                let what = format!(
                    "{} is excepted here, and line {demand} demands that it passes: which one?",
                    exception.control
                );
                self.fault(*line, &what);
            }
        }
    }

    fn account(&mut self, node: &Node) -> Option<ApprovedAccount> {
        let names = [
            "id",
            "owner",
            "key",
            "identity",
            "network",
            "vault-network",
            "dependencies",
            "retention",
            "drill",
        ];
        let fields = self.fields(node, "an account", &names)?;
        let id = self.arm_id(&fields, "id");
        let key = match fields.members.get("key") {
            Some(node) => self.key(node),
            None => {
                self.fault(fields.line, "an account names its `key`");
                None
            }
        };
        let identity = match self.must(&fields, "identity").as_deref() {
            Some("system") => Some(ApprovedIdentity::System),
            Some(_) => self
                .arm_id(&fields, "identity")
                .map(|id| ApprovedIdentity::User(id.to_ascii_lowercase())),
            None => None,
        };
        let network = self.word(
            &fields,
            "network",
            &[
                ("public", NetworkPath::Public),
                ("restricted", NetworkPath::Restricted),
                ("private", NetworkPath::Private),
            ],
        );
        let vault_network = self.word(
            &fields,
            "vault-network",
            &[
                ("public", VaultPath::Public),
                ("trusted-services", VaultPath::TrustedServices),
                ("private", VaultPath::Private),
            ],
        );
        let dependencies = self.list(&fields, "dependencies", Self::dependency).into_iter();
        let dependencies = dependencies
            .map(|(_, one)| (one.id.to_ascii_lowercase(), one))
            .collect();
        let retention = fields
            .members
            .get("retention")
            .and_then(|node| self.retention(node));
        let drill = fields.members.get("drill").and_then(|node| self.drill(node));
        Some(ApprovedAccount {
            id: id?,
            owner: self.optional(&fields, "owner"),
            key: key?,
            identity: identity?,
            network,
            vault_network,
            dependencies,
            retention: retention.unwrap_or_default(),
            drill,
        })
    }

    fn key(&mut self, node: &Node) -> Option<ApprovedKey> {
        let fields = self.fields(node, "a key", &["uri", "version", "owner"])?;
        let uri = self.must(&fields, "uri")?;
        let line = fields.line_of("uri");
        let parsed = key_uri(&uri);
        if parsed.is_none() {
            self.fault(
                line,
                "a key's `uri` is https://VAULT/keys/NAME, without a version",
            );
        }
        let version = match self.optional(&fields, "version").as_deref() {
            None | Some("latest") => VersionPolicy::Latest,
            Some("pinned") => VersionPolicy::Pinned,
            Some(version) if version.len() == 32 && version.bytes().all(|b| b.is_ascii_hexdigit()) => {
                VersionPolicy::Exactly(version.to_ascii_lowercase())
            }
            Some(_) => {
                let what = "a key's `version` is latest, pinned, or 32 hexadecimal digits";
                self.fault(fields.line_of("version"), what);
                VersionPolicy::Latest
            }
        };
        Some(ApprovedKey {
            uri: parsed?,
            version,
            owner: self.optional(&fields, "owner"),
        })
    }

    fn dependency(&mut self, node: &Node) -> Option<Dependency> {
        let fields = self.fields(node, "a dependency", &["id", "owner", "key"])?;
        let key = self.word(
            &fields,
            "key",
            &[
                ("same", DependencyKey::Same),
                ("other", DependencyKey::Other),
                ("provider", DependencyKey::Provider),
            ],
        );
        Some(Dependency {
            id: self.must(&fields, "id")?,
            owner: self.optional(&fields, "owner"),
            key,
        })
    }

    fn retention(&mut self, node: &Node) -> Option<Retention> {
        let fields = self.fields(node, "a retention", &["soft-delete-days", "audit-log-days"])?;
        Some(Retention {
            soft_delete_days: self.number(&fields, "soft-delete-days"),
            audit_log_days: self.number(&fields, "audit-log-days"),
        })
    }

    fn drill(&mut self, node: &Node) -> Option<DrillTarget> {
        let fields = self.fields(node, "a drill", &["revocation", "recovery", "every-days"])?;
        Some(DrillTarget {
            revocation: self.duration(&fields, "revocation"),
            recovery: self.duration(&fields, "recovery"),
            every_days: self.number(&fields, "every-days"),
        })
    }

    fn vault(&mut self, node: &Node) -> Option<ApprovedVault> {
        let fields = self.fields(node, "a vault", &["id", "owner"])?;
        Some(ApprovedVault {
            id: self.arm_id(&fields, "id")?,
            owner: self.optional(&fields, "owner"),
        })
    }

    fn exception(&mut self, node: &Node) -> Option<Exception> {
        let names = ["control", "resource", "approver", "until", "reason"];
        let fields = self.fields(node, "an exception", &names)?;
        let control = self.control(&fields, "control");
        let until = self.must(&fields, "until");
        if let Some(until) = &until
            && (until.len() != 10 || until.parse::<jiff::civil::Date>().is_err())
        {
            self.fault(fields.line_of("until"), "`until` is a day, YYYY-MM-DD");
        }
        let (approver, reason) = (self.must(&fields, "approver"), self.must(&fields, "reason"));
        Some(Exception {
            control: control?,
            resource: self
                .optional(&fields, "resource")
                .map(|id| id.to_ascii_lowercase()),
            approver: approver?,
            until: until?,
            reason: reason?,
        })
    }

    fn query(&mut self, node: &Node) -> Option<MonitoringQuery> {
        let fields = self.fields(node, "a monitoring query", &["name", "rule", "query"])?;
        let (name, query) = (self.must(&fields, "name"), self.must(&fields, "query"));
        let rule = match fields.members.contains_key("rule") {
            true => self.arm_id(&fields, "rule").map(|id| id.to_ascii_lowercase()),
            false => None,
        };
        Some(MonitoringQuery {
            name: name?,
            rule,
            query: query?,
        })
    }

    fn criterion(&mut self, node: &Node) -> Option<Criterion> {
        let names = ["no-failure-from", "nothing-unchecked-from", "passes"];
        let fields = self.fields(node, "a criterion", &names)?;
        if fields.members.len() != 1 {
            let what = "a criterion is one of no-failure-from, nothing-unchecked-from and passes";
            self.fault(fields.line, what);
            return None;
        }
        if fields.members.contains_key("passes") {
            return self.control(&fields, "passes").map(Criterion::Passes);
        }
        let severities = SEVERITIES.map(|severity| (severity_word(severity), severity));
        if let Some(severity) = self.word(&fields, "no-failure-from", &severities) {
            return Some(Criterion::NoFailureFrom(severity));
        }
        let unchecked = self.word(&fields, "nothing-unchecked-from", &severities);
        unchecked.map(Criterion::NothingUncheckedFrom)
    }

    fn control(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let control = self.must(fields, name)?;
        if !(self.is_control)(&control) {
            self.fault(fields.line_of(name), &format!("there is no control `{control}`"));
        }
        Some(control)
    }

    fn fields<'n>(&mut self, node: &'n Node, what: &str, names: &[&str]) -> Option<Fields<'n>> {
        let Kind::Map(members) = &node.kind else {
            let what = format!("{what} has named parts: {}", names.join(", "));
            self.fault(node.line, &what);
            return None;
        };
        for (name, line, _) in members {
            if !names.contains(&name.as_str()) {
                let what = format!("{what} has no `{name}`, but {}", names.join(", "));
                self.fault(*line, &what);
            }
        }
        let members = members.iter().map(|(name, _, node)| (name.as_str(), node));
        Some(Fields {
            line: node.line,
            members: members.collect(),
        })
    }

    fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        one: impl Fn(&mut Self, &Node) -> Option<T>,
    ) -> Vec<(usize, T)> {
        match fields.members.get(name).map(|node| (node.line, &node.kind)) {
            None => Vec::new(),
            Some((_, Kind::List(items))) => items
                .iter()
                .filter_map(|item| one(self, item).map(|read| (item.line, read)))
                .collect(),
            Some((_, Kind::Scalar(text, true))) if text.is_empty() || text == "~" || text == "null" => {
                Vec::new()
            }
            Some((line, _)) => {
                self.fault(line, &format!("`{name}` is a list"));
                Vec::new()
            }
        }
    }

    fn must(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let text = self.optional(fields, name);
        if text.is_none() && !fields.members.contains_key(name) {
            self.fault(fields.line, &format!("`{name}` is missing"));
        }
        text
    }

    fn optional(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let node = fields.members.get(name)?;
        match &node.kind {
            Kind::Scalar(text, _) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => {
                self.fault(node.line, &format!("`{name}` is a text"));
                None
            }
        }
    }

    fn arm_id(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let id = self.must(fields, name)?;
        let id = id.trim_end_matches('/');
        let is_resource =
            id.to_ascii_lowercase().starts_with("/subscriptions/") && id.contains("/providers/");
        if !is_resource {
            let what = format!("`{name}` is an ARM id: /subscriptions/.../providers/...");
            self.fault(fields.line_of(name), &what);
            return None;
        }
        Some(id.to_owned())
    }

    fn word<T: Copy>(&mut self, fields: &Fields<'_>, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = fields
            .members
            .contains_key(name)
            .then(|| self.optional(fields, name))??;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(
                fields.line_of(name),
                &format!("`{name}` is one of {}", words.join(", ")),
            );
        }
        found.map(|(_, value)| *value)
    }

    fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<u32> {
        let text = fields
            .members
            .contains_key(name)
            .then(|| self.optional(fields, name))??;
        let number = text.parse().ok();
        if number.is_none() {
            self.fault(fields.line_of(name), &format!("`{name}` is a number of days"));
        }
        number
    }

    fn duration(&mut self, fields: &Fields<'_>, name: &str) -> Option<Duration> {
        let text = fields
            .members
            .contains_key(name)
            .then(|| self.optional(fields, name))??;
        let duration = duration(&text);
        if duration.is_none() {
            self.fault(
                fields.line_of(name),
                &format!("`{name}` is a time such as 30s, 10m or 4h"),
            );
        }
        duration
    }

    fn fault(&mut self, line: usize, what: &str) {
        self.faults.push(Fault::new(line, what));
    }
}

impl Fields<'_> {
    fn line_of(&self, name: &str) -> usize {
        self.members.get(name).map_or(self.line, |node| node.line)
    }
}

const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// `https://vault/keys/name` in small letters, without a port if that is 443.
pub(crate) fn key_uri(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let name = url.path().trim_end_matches('/').strip_prefix("/keys/")?;
    let is_name =
        (1..=127).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_plain = url.scheme() == "https" && url.query().is_none() && url.username().is_empty();
    (is_name && is_plain).then(|| {
        format!(
            "{}/keys/{}",
            url.origin().ascii_serialization(),
            name.to_ascii_lowercase()
        )
    })
}

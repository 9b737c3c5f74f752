//! A design as the file that [`Design::parse`] reads.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    ApprovedAccount, ApprovedIdentity, Criterion, DependencyKey, Design, NetworkPath, VaultPath,
    VersionPolicy,
};
use crate::package::answers::severity as severity_word;
use crate::yaml;

const HEAD: &str = "\
# The approved design: what `strongroom check` and `strongroom design diff` hold against what is live.
# Whoever changes it approves the change.
";

impl Design {
    /// The file's text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut file = Map::new();
        file.insert("version".to_owned(), 1.into());
        put(&mut file, "decision", self.decision.clone());
        list(&mut file, "accounts", self.accounts.values().map(account));
        let vaults = self.vaults.values();
        list(
            &mut file,
            "vaults",
            vaults.map(|vault| object([("id", Some(vault.id.clone())), ("owner", vault.owner.clone())])),
        );
        let exceptions = self.exceptions.iter().map(|one| {
            object([
                ("control", Some(one.control.clone())),
                ("resource", one.resource.clone()),
                ("approver", Some(one.approver.clone())),
                ("until", Some(one.until.clone())),
                ("reason", Some(one.reason.clone())),
            ])
        });
        list(&mut file, "exceptions", exceptions);
        let monitoring = self.monitoring.iter().map(|one| {
            object([
                ("name", Some(one.name.clone())),
                ("rule", one.rule.clone()),
                ("query", Some(one.query.clone())),
            ])
        });
        list(&mut file, "monitoring", monitoring);
        list(&mut file, "acceptance", self.acceptance.iter().map(criterion));
        format!("{HEAD}{}", yaml::write(&Value::Object(file)))
    }
}

fn account(account: &ApprovedAccount) -> Value {
    let mut all = Map::new();
    put(&mut all, "id", Some(account.id.clone()));
    put(&mut all, "owner", account.owner.clone());
    let version = match &account.key.version {
        VersionPolicy::Latest => "latest".to_owned(),
        VersionPolicy::Pinned => "pinned".to_owned(),
        VersionPolicy::Exactly(version) => version.clone(),
    };
    let key = object([
        ("uri", Some(account.key.uri.clone())),
        ("version", Some(version)),
        ("owner", account.key.owner.clone()),
    ]);
    all.insert("key".to_owned(), key);
    put(&mut all, "identity", Some(account.identity.to_string()));
    put(
        &mut all,
        "network",
        account.network.map(|path| path.as_str().to_owned()),
    );
    let vault = account.vault_network.map(|path| path.as_str().to_owned());
    put(&mut all, "vault-network", vault);
    let dependencies = account.dependencies.values().map(|one| {
        object([
            ("id", Some(one.id.clone())),
            ("owner", one.owner.clone()),
            ("key", one.key.map(|key| key.as_str().to_owned())),
        ])
    });
    list(&mut all, "dependencies", dependencies);
    let mut retention = Map::new();
    number(
        &mut retention,
        "soft-delete-days",
        account.retention.soft_delete_days,
    );
    number(&mut retention, "audit-log-days", account.retention.audit_log_days);
    nest(&mut all, "retention", retention);
    if let Some(target) = &account.drill {
        let mut drill = Map::new();
        put(&mut drill, "revocation", target.revocation.map(duration));
        put(&mut drill, "recovery", target.recovery.map(duration));
        number(&mut drill, "every-days", target.every_days);
        nest(&mut all, "drill", drill);
    }
    Value::Object(all)
}

fn criterion(criterion: &Criterion) -> Value {
    match criterion {
        Criterion::NoFailureFrom(severity) => json!({"no-failure-from": severity_word(*severity)}),
        Criterion::NothingUncheckedFrom(severity) => {
            json!({"nothing-unchecked-from": severity_word(*severity)})
        }
        Criterion::Passes(control) => json!({"passes": control}),
    }
}

fn object<const N: usize>(members: [(&str, Option<String>); N]) -> Value {
    let mut all = Map::new();
    for (name, value) in members {
        put(&mut all, name, value);
    }
    Value::Object(all)
}

fn put(all: &mut Map<String, Value>, name: &str, value: Option<String>) {
    if let Some(value) = value {
        all.insert(name.to_owned(), value.into());
    }
}

fn number(all: &mut Map<String, Value>, name: &str, value: Option<u32>) {
    if let Some(value) = value {
        all.insert(name.to_owned(), value.into());
    }
}

fn list(all: &mut Map<String, Value>, name: &str, items: impl Iterator<Item = Value>) {
    let items: Vec<Value> = items.collect();
    if !items.is_empty() {
        all.insert(name.to_owned(), items.into());
    }
}

fn nest(all: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    if !members.is_empty() {
        all.insert(name.to_owned(), members.into());
    }
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

impl fmt::Display for ApprovedIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => out.write_str("system"),
            Self::User(id) => out.write_str(id),
        }
    }
}

impl NetworkPath {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Restricted => "restricted",
            Self::Private => "private",
        }
    }
}

impl VaultPath {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::TrustedServices => "trusted-services",
            Self::Private => "private",
        }
    }
}

impl DependencyKey {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other => "other",
            Self::Provider => "provider",
        }
    }
}

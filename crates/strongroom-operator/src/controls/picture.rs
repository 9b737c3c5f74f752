//! The judgement as a picture: what stands with what, and what happened when.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{READ, UNWRAP, WRAP};
use super::{ids, reach};
use crate::fact::FactId;
use crate::finding::{Edge, Graph, Moment, Node};
use crate::world::{Account, ArmId, Encryption, FactRef, Grant, KeyName, KeyPrincipal, Lookup, Vault, World};

/// Nodes and edges as they are found; each once.
#[derive(Default)]
struct Drawing {
    nodes: BTreeMap<String, Node>,
    edges: BTreeSet<(String, String, &'static str, &'static str)>,
}

impl Drawing {
    fn node(&mut self, id: &str, kind: &str, label: &str, owner: Option<String>) {
        self.nodes.entry(id.to_owned()).or_insert_with(|| Node {
            id: id.to_owned(),
            kind: kind.to_owned(),
            label: label.to_owned(),
            owner,
        });
    }

    fn edge(&mut self, from: &str, to: &str, relation: &'static str, known_by: &'static str) {
        self.edges
            .insert((from.to_owned(), to.to_owned(), relation, known_by));
    }

    fn done(self) -> Graph {
        let edge = |(from, to, relation, known_by): (String, String, &str, &str)| Edge {
            from,
            to,
            relation: relation.to_owned(),
            known_by: known_by.to_owned(),
        };
        Graph {
            nodes: self.nodes.into_values().collect(),
            edges: self.edges.into_iter().map(edge).collect(),
        }
    }
}

/// What stands with what.
pub(super) fn graph(world: &World) -> Graph {
    let mut drawing = Drawing::default();
    for account in world.accounts.values() {
        draw_account(world, account, &mut drawing);
    }
    for key in world.keys_in_use() {
        draw_key(world, key, &mut drawing);
    }
    declared(world, &mut drawing);
    drawing.done()
}

fn draw_account(world: &World, account: &Account, drawing: &mut Drawing) {
    let id = account.id.as_str();
    drawing.node(id, "account", &account.name, world.owner_of(&account.id));
    for deployment in world.deployments_of(&account.id).known().unwrap_or_default() {
        drawing.node(deployment.id.as_str(), "deployment", &deployment.name, None);
        drawing.edge(id, deployment.id.as_str(), "serves", "read");
    }
    for connection in world.connections_of(&account.id).known().unwrap_or_default() {
        if let Some(target) = &connection.resource {
            draw_dependent(world, target, drawing);
            drawing.edge(id, target.as_str(), "connected-to", "read");
        }
    }
    draw_sinks(world, &account.id, drawing);
    let Encryption::Customer(key) = &account.encryption else {
        return;
    };
    let Some(name) = &key.name else { return };
    drawing.edge(id, &name.to_string(), "encrypted-with", "read");
    if name.version.is_some() {
        drawing.node(
            &name.to_string(),
            "key-version",
            name.version.as_deref().unwrap_or_default(),
            None,
        );
        drawing.edge(
            &name.to_string(),
            &name.versionless().to_string(),
            "version-of",
            "read",
        );
    }
    if let KeyPrincipal::Is(principal) = account.key_principal() {
        drawing.node(principal, "identity", principal, None);
        drawing.edge(id, principal, "acts-as", "read");
        if let Lookup::Known(vault, _) = world.vault_of(name) {
            draw_grants(world, principal, name, vault, drawing);
        }
    }
}

fn draw_grants(world: &World, principal: &str, name: &KeyName, vault: &Vault, drawing: &mut Drawing) {
    for (permission, relation) in [(READ, "may-read"), (WRAP, "may-wrap"), (UNWRAP, "may-unwrap")] {
        if let Grant::Allowed { .. } = world.may_with_key(principal, permission, name, vault) {
            drawing.edge(principal, &name.versionless().to_string(), relation, "read");
        }
    }
}

fn draw_key(world: &World, key: &KeyName, drawing: &mut Drawing) {
    let known = world.key(key);
    let bare = key.to_string();
    drawing.node(
        &bare,
        "key",
        &key.key,
        known.and_then(|known| known.owner.clone()),
    );
    for number in known.into_iter().flat_map(|known| known.versions.keys()) {
        let version = format!("{bare}/{number}");
        drawing.node(&version, "key-version", number, None);
        drawing.edge(&version, &bare, "version-of", "read");
    }
    for resource in world.dependents_under(key) {
        draw_dependent(world, &resource.id, drawing);
        drawing.edge(resource.id.as_str(), &bare, "encrypted-with", "read");
    }
    match world.vault_of(key) {
        Lookup::Known(vault, _) => {
            drawing.node(vault.id.as_str(), "vault", &vault.name, world.owner_of(&vault.id));
            drawing.edge(&bare, vault.id.as_str(), "kept-in", "read");
            draw_sinks(world, &vault.id, drawing);
        }
        Lookup::Absent(_) | Lookup::NotRead(_) => {
            let host = format!("https://{}", key.vault);
            drawing.node(&host, "vault", key.vault.name(), None);
            drawing.edge(&bare, &host, "kept-in", "read");
        }
    }
}

fn draw_dependent(world: &World, id: &ArmId, drawing: &mut Drawing) {
    let name = world
        .dependents
        .get(id)
        .map_or_else(|| id.name(), |resource| resource.name.as_str());
    drawing.node(id.as_str(), "dependent", name, world.owner_of(id));
    let keys = world
        .dependents
        .get(id)
        .into_iter()
        .flat_map(|resource| &resource.keys);
    for key in keys {
        let bare = key.versionless().to_string();
        drawing.node(&bare, "key", &key.key, None);
        drawing.edge(id.as_str(), &bare, "encrypted-with", "read");
    }
}

fn draw_sinks(world: &World, id: &ArmId, drawing: &mut Drawing) {
    for sink in reach::sinks(world, id) {
        drawing.node(sink.as_str(), "sink", sink.name(), world.owner_of(&sink));
        drawing.edge(id.as_str(), sink.as_str(), "logs-to", "read");
    }
}

/// What only the design says.
fn declared(world: &World, drawing: &mut Drawing) {
    for (account, approved) in world.design.iter().flat_map(|design| &design.accounts) {
        for (id, dependency) in &approved.dependencies {
            let label = id.rsplit('/').next().unwrap_or(id);
            drawing.node(id, "dependent", label, dependency.owner.clone());
            let read = drawing
                .edges
                .contains(&(account.clone(), id.clone(), "connected-to", "read"));
            if !read {
                drawing.edge(account, id, "connected-to", "declared");
            }
        }
    }
}

/// Versions and uses of the keys that accounts use, in time.
pub(super) fn timeline(world: &World) -> Vec<Moment> {
    let mut moments = Vec::new();
    for key in world.keys_in_use() {
        versions(world, key, &mut moments);
        if let Some((Some(purged), fact)) = world.key(key).and_then(|known| known.deleted) {
            moments.extend(moment(purged, key, "destroyed", ids(world, &[fact])));
        }
        if let Lookup::Known(vault, _) = world.vault_of(key) {
            uses(world, key, vault, &mut moments);
        }
    }
    for account in world.accounts.values() {
        for change in world
            .changes_of(&account.id)
            .known()
            .map(|(changes, _)| changes)
            .unwrap_or_default()
        {
            let what = if change.customer {
                "customer-key-chosen"
            } else {
                "service-key-chosen"
            };
            moments.extend(moment(change.time, &account.id, what, ids(world, &[change.fact])));
        }
    }
    moments.sort_by(|one, other| {
        (one.at_ms, &one.subject, &one.what).cmp(&(other.at_ms, &other.subject, &other.what))
    });
    moments
}

fn moment(time: jiff::Timestamp, subject: &impl ToString, what: &str, facts: Vec<FactId>) -> Option<Moment> {
    Some(Moment {
        at_ms: u64::try_from(time.as_millisecond()).ok()?,
        subject: subject.to_string(),
        what: what.to_owned(),
        facts,
    })
}

fn versions(world: &World, key: &KeyName, moments: &mut Vec<Moment>) {
    for (number, version) in world.key(key).into_iter().flat_map(|known| &known.versions) {
        let subject = format!("{key}/{number}");
        // When a version was turned off is told by the log alone; that it was changed last then is what can be said.
        let off = version.updated.filter(|_| version.enabled == Some(false));
        let times = [
            (version.created, "version-created"),
            (off, "version-disabled"),
            (version.expires, "expires"),
        ];
        for (time, what) in times {
            moments.extend(time.and_then(|time| moment(time, &subject, what, ids(world, &version.facts))));
        }
    }
}

fn uses(world: &World, key: &KeyName, vault: &Vault, moments: &mut Vec<Moment>) {
    let Lookup::Known(log, _) = world.audit_of(&vault.id) else {
        return;
    };
    for ((version, _), used) in log
        .uses
        .iter()
        .filter(|((version, _), _)| version.versionless() == *key)
    {
        let mut add = |told: Option<(jiff::Timestamp, FactRef)>, what: &str| {
            moments.extend(told.and_then(|(time, fact)| moment(time, version, what, ids(world, &[fact]))));
        };
        add(used.unwrapped, "used");
        add(used.refused, "refused");
    }
}

//! Who may do what: roles, deny assignments and access policies, evaluated here once more from what was read of them.
//!
//! An answer is *allowed* or *not* only where everything that could say otherwise was read. A condition that is not understood, a
//! group whose members are not known, a role whose definition was not shown: each makes it *unsure*, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::json::{field, list, text, texts, truth};
use super::lookup::{FactRef, NotRead};
use super::names::{ArmId, guid};

/// A role assigned to a principal at a scope.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its id.
    pub id: ArmId,
    /// Where it holds, and below.
    pub scope: ArmId,
    /// Whom it is for.
    pub principal: String,
    /// Whether that is a group; none where not shown.
    pub group: Option<bool>,
    /// The role's GUID.
    pub role: String,
    /// Whether a condition narrows it.
    pub conditional: bool,
    /// The subscription whose list showed it: whose management groups it stands on, if on one.
    pub seen_from: Option<String>,
    /// Where that was read.
    pub fact: FactRef,
}

impl Assignment {
    pub(super) fn read(body: &Value, seen_from: Option<&str>, fact: FactRef) -> Option<Self> {
        let properties = field(body, "properties")?;
        let kind = text(properties, "principalType");
        Some(Self {
            id: ArmId::read(text(body, "id")?)?,
            scope: ArmId::read(text(properties, "scope")?)?,
            principal: text(properties, "principalId").and_then(guid)?,
            group: kind.map(|kind| kind.to_ascii_lowercase().contains("group")),
            role: guid(
                text(properties, "roleDefinitionId")?
                    .trim_end_matches('/')
                    .rsplit('/')
                    .next()?,
            )?,
            conditional: text(properties, "condition").is_some(),
            seen_from: seen_from.map(str::to_owned),
            fact,
        })
    }

    /// Whether it holds at a resource. None: it stands on a management group of which it is not known what is below.
    fn holds_at(&self, target: &ArmId) -> Option<bool> {
        if self.scope.is_management_group() {
            return (self.seen_from.as_deref() == target.subscription()).then_some(true);
        }
        Some(self.scope.covers(target))
    }
}

/// What a role lets its holders do.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    permissions: Vec<Permission>,
    /// Where that was read.
    pub fact: FactRef,
}

/// Patterns of actions; what the second of a pair names is taken out of the first.
#[derive(Debug, Clone, Default)]
struct Permission {
    actions: [Vec<String>; 2],
    data: [Vec<String>; 2],
}

impl Permission {
    fn read(body: &Value) -> Self {
        Self {
            actions: ["actions", "notActions"].map(|name| texts(body, name)),
            data: ["dataActions", "notDataActions"].map(|name| texts(body, name)),
        }
    }

    fn names(&self, action: Action<'_>) -> bool {
        let ([granted, excluded], action) = match action {
            Action::Manage(action) => (&self.actions, action),
            Action::Data(action) => (&self.data, action),
        };
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        any(granted) && !any(excluded)
    }
}

impl Role {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<(String, Self)> {
        let properties = field(body, "properties")?;
        let id = text(body, "name").or_else(|| text(body, "id")?.rsplit('/').next());
        let role = Self {
            name: text(properties, "roleName").unwrap_or_default().to_owned(),
            permissions: list(properties, "permissions")
                .iter()
                .map(Permission::read)
                .collect(),
            fact,
        };
        Some((guid(id?)?, role))
    }

    /// Whether its holders may do this.
    pub fn grants(&self, action: Action<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.names(action))
    }
}

/// What nobody whom it names may do, whatever roles they have.
#[derive(Debug, Clone)]
pub(super) struct Deny {
    scope: ArmId,
    only_there: bool,
    principals: BTreeSet<String>,
    excepted: BTreeSet<String>,
    permissions: Vec<Permission>,
    fact: FactRef,
}

/// "Everybody", as deny assignments write it.
const EVERYBODY: &str = "00000000-0000-0000-0000-000000000000";

impl Deny {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let properties = field(body, "properties")?;
        let ids = |name: &str| {
            let entries = list(properties, name).iter();
            entries.filter_map(|entry| guid(text(entry, "id")?)).collect()
        };
        Some(Self {
            scope: ArmId::read(text(properties, "scope")?)?,
            only_there: truth(properties, "doNotApplyToChildScopes").unwrap_or(false),
            principals: ids("principals"),
            excepted: ids("excludePrincipals"),
            permissions: list(properties, "permissions")
                .iter()
                .map(Permission::read)
                .collect(),
            fact,
        })
    }

    fn denies(&self, who: &BTreeSet<String>, action: Action<'_>, target: &ArmId) -> bool {
        let here = if self.only_there {
            self.scope == *target
        } else {
            self.scope.covers(target)
        };
        let named = self.principals.contains(EVERYBODY) || !self.principals.is_disjoint(who);
        here && named
            && self.excepted.is_disjoint(who)
            && self.permissions.iter().any(|permission| permission.names(action))
    }
}

/// An action, of one of the two kinds that Azure keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// On resources.
    Manage(&'a str),
    /// On what is in them.
    Data(&'a str),
}

impl<'a> Action<'a> {
    /// Its name.
    pub const fn name(self) -> &'a str {
        match self {
            Self::Manage(name) | Self::Data(name) => name,
        }
    }
}

/// Whether a principal may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Yes, by this.
    Allowed {
        /// The role, or the policy.
        by: String,
        /// Where that was read.
        facts: Vec<FactRef>,
    },
    /// A deny assignment says no.
    Denied {
        /// Where that was read.
        facts: Vec<FactRef>,
    },
    /// Nothing grants it, and everything that could was read.
    NotGranted {
        /// Where that was read.
        facts: Vec<FactRef>,
    },
    /// It cannot be told.
    Unsure(NotRead),
}

/// Everything that was read of roles.
#[derive(Debug, Default)]
pub struct Roles {
    pub(super) assignments: BTreeMap<ArmId, Assignment>,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) denies: Vec<Deny>,
    /// Who is in a group, at any depth.
    pub(super) members: BTreeMap<String, (BTreeSet<String>, FactRef)>,
    /// By principal and its groups, so that a question does not walk all assignments.
    by_principal: BTreeMap<String, Vec<ArmId>>,
    /// By scope, and those of management groups.
    by_scope: BTreeMap<ArmId, Vec<ArmId>>,
    above_all: Vec<ArmId>,
    /// Assignments to what is, or may be, a group of which it is not known who is in it; with the reason.
    open: Vec<(ArmId, NotRead)>,
}

impl Roles {
    /// When all is read. `members_read` says of a group why it is not known who is in it.
    pub(super) fn index(&mut self, members_read: impl Fn(&str) -> Option<NotRead>) {
        for (id, assignment) in &self.assignments {
            let of = self.by_principal.entry(assignment.principal.clone()).or_default();
            of.push(id.clone());
            if assignment.scope.is_management_group() {
                self.above_all.push(id.clone());
            } else {
                self.by_scope
                    .entry(assignment.scope.clone())
                    .or_default()
                    .push(id.clone());
            }
            if assignment.group != Some(false)
                && let Some(not) = members_read(&assignment.principal)
            {
                self.open.push((id.clone(), not));
            }
        }
    }

    /// The role with that id.
    pub fn role(&self, id: &str) -> Option<&Role> {
        self.roles.get(id)
    }

    /// The assignments that hold at a resource, as far as that is known. It goes by scopes, from the top down: an estate may have many.
    pub fn holding_at<'a>(&'a self, target: &'a ArmId) -> impl Iterator<Item = &'a Assignment> {
        let above = target.and_above().filter_map(|scope| self.by_scope.get(scope));
        let ids = above.flatten().chain(&self.above_all);
        let found = ids.filter_map(|id| self.assignments.get(id));
        found.filter(|assignment| assignment.holds_at(target) == Some(true))
    }

    /// A principal, or, of a group whose members are known, everybody in it.
    pub fn everybody(&self, principal: &str) -> BTreeSet<String> {
        match self.members.get(principal) {
            Some((members, _)) => members.clone(),
            None => BTreeSet::from([principal.to_owned()]),
        }
    }

    fn of<'a>(&'a self, who: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Assignment> {
        let ids = who.iter().filter_map(|who| self.by_principal.get(who)).flatten();
        ids.filter_map(|id| self.assignments.get(id))
    }

    /// Whether a principal may do something to a resource, given who listed the assignments, roles and deny assignments there.
    pub(super) fn may(&self, principal: &str, action: Action<'_>, target: &ArmId, read: &Listings) -> Grant {
        let who = self.with_groups(principal);
        if let Some(deny) = self.denies.iter().find(|deny| deny.denies(&who, action, target)) {
            return Grant::Denied {
                facts: vec![deny.fact],
            };
        }
        let mut unsure = None;
        for assignment in self.of(&who) {
            match self.one(assignment, action, target) {
                Ok(None) => {}
                Ok(Some((by, facts))) => {
                    return match &read.denies {
                        Ok(fact) => Grant::Allowed {
                            by,
                            facts: facts.into_iter().chain([*fact]).collect(),
                        },
                        Err(not) => Grant::Unsure(not.clone()),
                    };
                }
                Err(not) => unsure = Some(not),
            }
        }
        if let Some(not) = unsure {
            return Grant::Unsure(not);
        }
        let listed = match &read.assignments {
            Ok(fact) => *fact,
            Err(not) => return Grant::Unsure(not.clone()),
        };
        match self.through_group(principal, action, target) {
            Some(not) => Grant::Unsure(not),
            None => Grant::NotGranted { facts: vec![listed] },
        }
    }

    /// A principal and the groups that it is known to be in.
    pub fn with_groups(&self, principal: &str) -> BTreeSet<String> {
        let of = self
            .members
            .iter()
            .filter(|(_, (members, _))| members.contains(principal));
        of.map(|(group, _)| group.clone())
            .chain([principal.to_owned()])
            .collect()
    }

    /// Whether one assignment allows it; an error where that cannot be told.
    fn one(
        &self,
        assignment: &Assignment,
        action: Action<'_>,
        target: &ArmId,
    ) -> Result<Option<(String, Vec<FactRef>)>, NotRead> {
        if assignment.holds_at(target) == Some(false) {
            return Ok(None);
        }
        let Some(role) = self.roles.get(&assignment.role) else {
            let call = format!(
                "GET /providers/Microsoft.Authorization/roleDefinitions/{}",
                assignment.role
            );
            return Err(NotRead::unasked(call, "what an assigned role allows"));
        };
        if !role.grants(action) {
            return Ok(None);
        }
        if assignment.holds_at(target).is_none() {
            let call = format!("GET {}", assignment.scope);
            return Err(NotRead::unasked(
                call,
                "which subscriptions are below a management group",
            ));
        }
        if assignment.conditional {
            let call = format!("GET {}", assignment.id);
            return Err(NotRead {
                fact: Some(assignment.fact),
                ..NotRead::unasked(
                    call,
                    "what the condition of a role assignment leaves: conditions are not evaluated",
                )
            });
        }
        Ok(Some((
            format!("role {}", role.name),
            vec![assignment.fact, role.fact],
        )))
    }

    /// Whether a group, of which it is not known whether the principal is in it, would make the difference.
    fn through_group(&self, principal: &str, action: Action<'_>, target: &ArmId) -> Option<NotRead> {
        let granting = self.open.iter().find(|(id, _)| {
            let assignment = self
                .assignments
                .get(id)
                .filter(|assignment| assignment.principal != principal);
            assignment.is_some_and(|assignment| !matches!(self.one(assignment, action, target), Ok(None)))
        });
        granting.map(|(_, not)| not.clone())
    }
}

/// Whether everything that bears on a resource was listed, and by which fact.
pub(super) struct Listings {
    pub(super) assignments: Result<FactRef, NotRead>,
    pub(super) denies: Result<FactRef, NotRead>,
}

/// Whether a pattern of a role names an action: `*` stands for anything, slashes included; case does not count.
pub fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.trim().as_bytes(), action.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The last star, and what it has swallowed up to.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = action.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if wanted.eq_ignore_ascii_case(byte) => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((from, swallowed)) => {
                    star = Some((from, swallowed + 1));
                    at = from + 1;
                    read = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

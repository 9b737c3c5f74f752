//! Who comes into the directory and leaves it, and who may let that happen.

use std::collections::BTreeSet;
use std::sync::Arc;

use strongroom_azure::ResourceId;
use strongroom_azure::token::Claims;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::proofs::{NewCertificate, put_certificate};
use super::{Credentials, NewSecret, Principal, PrincipalDetail, PrincipalKind};
use crate::actor::Actor;
use crate::control::Control;
use crate::error::ControlError;
use crate::limits::{DISPLAY_NAME, MEMBERS, PRINCIPALS, USER_PRINCIPAL_NAME};
use crate::names;
use crate::scopes;
use crate::state::{Change, State};

const READ_IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
const WRITE_IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/write";
const DELETE_IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/delete";

/// What is asked for when a user-assigned identity is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdentity {
    /// The name.
    pub name: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub location: String,
}

/// What of a principal is to be different.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrincipalChange {
    /// Its name.
    pub(crate) display_name: Option<String>,
    /// The ids of the certificates that stay of those that there are; without it, all do.
    pub(crate) kept: Option<Vec<Uuid>>,
    /// Certificates that come.
    pub(crate) certificates: Vec<NewCertificate>,
}

/// Which principals a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrincipalFilter {
    /// Those of this kind.
    pub kind: Option<PrincipalKind>,
    /// Those of this display name, or of this name to sign in with.
    pub name: Option<String>,
    /// The one for which tokens are asked under this name: a client id or the id of an identity's resource.
    pub service_principal_name: Option<String>,
}

impl Control {
    /// The administrator application. If `known` is its secret, that stays; otherwise it gets a new one, which is returned, and
    /// the old ones no longer count.
    pub fn ensure_administrator(
        &self,
        known: Option<&str>,
    ) -> Result<(Arc<Principal>, Option<Zeroizing<String>>), ControlError> {
        let mut change = self.change();
        let found = administrator(change.state());
        if let Some(found) = &found
            && change.state().tenant.administrator == Some(found.object_id)
            && known.is_some_and(|secret| found.has_secret(secret, self.now()))
        {
            return Ok((Arc::clone(found), None));
        }
        let mut principal = found.map_or_else(
            || Principal::new("administrator", self.now(), new_application()),
            Arc::unwrap_or_clone,
        );
        let mut renewed = None;
        if !known.is_some_and(|secret| principal.has_secret(secret, self.now())) {
            let mut credentials = Credentials::default();
            let (_, secret) = credentials.add_secret(NewSecret::default(), self.now())?;
            if let Some(old) = principal.credentials_mut() {
                old.secrets = credentials.secrets;
            }
            renewed = Some(secret);
        }
        let mut tenant = change.state().tenant.clone();
        tenant.administrator = Some(principal.object_id);
        change.put_tenant(tenant)?;
        let principal = change.put_principal(principal)?;
        change.commit()?;
        Ok((principal, renewed))
    }

    /// A principal by its application id.
    pub(crate) fn principal_by_client(&self, client_id: Uuid) -> Option<Arc<Principal>> {
        self.state().directory.by_client(client_id).cloned()
    }

    /// The object id of the principal whom a verified token names, if there is one here that belongs to the token's tenant.
    pub fn caller(&self, claims: &Claims) -> Option<Uuid> {
        let state = self.state();
        state.directory.caller(&claims.oid, &claims.tid, state.tenant.id)
    }

    /// A principal by its object id.
    pub fn principal(&self, object_id: Uuid) -> Option<Arc<Principal>> {
        self.state().directory.get(object_id).cloned()
    }
}

impl Actor {
    /// Makes an application with its service principal; it can prove itself once it has a credential.
    pub fn create_application(&self, display_name: &str) -> Result<Arc<Principal>, ControlError> {
        self.create(display_name, new_application(), &[])
    }

    /// The same with certificates: all of it or nothing.
    pub(crate) fn create_application_with(
        &self,
        display_name: &str,
        certificates: &[NewCertificate],
    ) -> Result<Arc<Principal>, ControlError> {
        self.create(display_name, new_application(), certificates)
    }

    /// Makes a user. Nobody can sign in with it yet; it can have roles and be in groups.
    pub fn create_user(&self, display_name: &str, sign_in: &str) -> Result<Arc<Principal>, ControlError> {
        let (user, domain) = sign_in.split_once('@').unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_'!#^~+".contains(&byte);
        let named = [user, domain]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(allowed));
        if !named || !USER_PRINCIPAL_NAME.contains(&sign_in.len()) {
            return Err(ControlError::BadName {
                what: "user",
                name: sign_in.to_owned(),
            });
        }
        let user_principal_name = sign_in.to_owned();
        self.create(display_name, PrincipalDetail::User { user_principal_name }, &[])
    }

    /// Makes a group without members.
    pub fn create_group(&self, display_name: &str) -> Result<Arc<Principal>, ControlError> {
        let members = BTreeSet::new();
        self.create(display_name, PrincipalDetail::Group { members }, &[])
    }

    /// Makes a user-assigned identity: a resource, so roles on its resource group decide. One that is there already is given.
    pub fn create_identity(&self, new: &NewIdentity) -> Result<Arc<Principal>, ControlError> {
        names::identity(&new.name)?;
        names::label("resource group", &new.resource_group)?;
        names::label("location", &new.location)?;
        let mut change = self.control.change();
        let subscription = change.state().tenant.subscription;
        let id = scopes::parse(&format!(
            "/subscriptions/{subscription}/resourceGroups/{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{}",
            new.resource_group, new.name
        ))?;
        self.authorize_in(change.state(), WRITE_IDENTITY, &id)?;
        if let Some(known) = identity_at(change.state(), &id) {
            return Ok(known);
        }
        let detail = PrincipalDetail::UserAssigned {
            client_id: Uuid::new_v4(),
            resource: id.to_string(),
            location: new.location.clone(),
            credentials: Credentials::default(),
        };
        room(change.state())?;
        let made = change.put_principal(Principal::new(&new.name, self.control.now(), detail))?;
        change.commit()?;
        if let (Some(index), Some(shape)) = (self.control.index(), self.control.identity_shape(&made)) {
            index.show(shape);
        }
        Ok(made)
    }

    /// Removes a principal, from its groups too. What is assigned to it stays visible and grants nothing; for an identity, the
    /// roles assigned on it as a resource go with it.
    pub fn delete_principal(&self, object_id: Uuid) -> Result<Arc<Principal>, ControlError> {
        let mut change = self.control.change();
        let known = find(change.state(), object_id);
        match known.as_ref().map(|known| &known.detail) {
            Ok(PrincipalDetail::UserAssigned { resource, .. }) => {
                let scope = scopes::parse(resource)?;
                self.authorize_in(change.state(), DELETE_IDENTITY, &scope)?;
                change.remove_assignments_below(&scope);
            }
            Ok(PrincipalDetail::SystemAssigned { resource, .. }) => {
                self.authorize_directory(change.state())?;
                return invalid(format!("the identity is that of {resource}, and goes with it"));
            }
            _ => self.authorize_directory(change.state())?,
        }
        let known = known?;
        if change.state().tenant.administrator == Some(object_id) {
            return invalid("the administrator of the first start cannot be deleted".to_owned());
        }
        change.remove_principal(object_id)?;
        change.commit()?;
        let gone = known.resource().and_then(|id| id.parse().ok());
        if let (Some(index), Some(id)) = (self.control.index(), gone) {
            index.hide(&id);
        }
        Ok(known)
    }

    /// Changes a principal, all of it or nothing.
    pub(crate) fn change_principal(
        &self,
        object_id: Uuid,
        wanted: &PrincipalChange,
    ) -> Result<(), ControlError> {
        self.update(object_id, |principal, now| {
            if let Some(name) = &wanted.display_name {
                rename(principal, name)?;
            }
            if let (Some(kept), Some(credentials)) = (&wanted.kept, principal.credentials_mut()) {
                credentials.certificates.retain(|known| kept.contains(&known.id));
            }
            for certificate in &wanted.certificates {
                put_certificate(principal, certificate, now)?;
            }
            Ok(())
        })
    }

    /// Gives an application a further secret, and gives it out: the only time that it can be seen.
    pub fn add_secret(
        &self,
        object_id: Uuid,
        new: NewSecret,
    ) -> Result<(Uuid, Zeroizing<String>), ControlError> {
        self.update(object_id, |principal, now| match &mut principal.detail {
            PrincipalDetail::Application {
                credentials,
                home: None,
                ..
            } => credentials.add_secret(new, now),
            _ => invalid("only an application has secrets".to_owned()),
        })
    }

    /// Takes a secret away; it no longer counts when this returns. Whether it was there.
    pub fn remove_secret(&self, object_id: Uuid, secret: Uuid) -> Result<bool, ControlError> {
        self.update(object_id, |principal, _| {
            let secrets = principal
                .credentials_mut()
                .map(|credentials| &mut credentials.secrets);
            let before = secrets.as_ref().map_or(0, |secrets| secrets.len());
            let Some(secrets) = secrets else { return Ok(false) };
            secrets.retain(|known| known.id != secret);
            Ok(secrets.len() < before)
        })
    }

    /// Puts a principal into a group. Being there already is no fault; a circle of groups is.
    pub fn add_member(&self, group: Uuid, member: Uuid) -> Result<(), ControlError> {
        let mut change = self.control.change();
        self.authorize_directory(change.state())?;
        let mut changed = Arc::unwrap_or_clone(find(change.state(), group)?);
        find(change.state(), member)?;
        if change.state().directory.closes_a_circle(group, member) {
            return invalid("a group cannot be in itself, through other groups neither".to_owned());
        }
        let PrincipalDetail::Group { members } = &mut changed.detail else {
            return invalid(format!("{group} is no group"));
        };
        if members.len() >= MEMBERS {
            return Err(ControlError::TooMany { what: "members" });
        }
        if members.insert(member) {
            change.put_principal(changed)?;
            change.commit()?;
        }
        Ok(())
    }

    /// Takes a principal out of a group. What it had through the group it no longer has when this returns. Whether it was in it.
    pub fn remove_member(&self, group: Uuid, member: Uuid) -> Result<bool, ControlError> {
        self.update(group, |group, _| {
            if group.kind() == PrincipalKind::Group {
                return Ok(group.remove_member(member));
            }
            invalid(format!("{} is no group", group.object_id))
        })
    }

    /// The members that a group itself has, by name.
    pub fn members(&self, group: Uuid) -> Result<Vec<Arc<Principal>>, ControlError> {
        let state = self.control.state();
        self.authorize_directory_read(&state)?;
        let group = find(&state, group)?;
        let known = group
            .members()
            .filter_map(|member| state.directory.get(member).cloned());
        Ok(by_name(known.collect()))
    }

    /// Principals, by name. Whoever may not look around in the directory may still see user-assigned identities, where roles
    /// on them let it.
    pub fn principals(&self, filter: &PrincipalFilter) -> Result<Vec<Arc<Principal>>, ControlError> {
        let state = self.control.state();
        let may_all = self.authorize_directory_read(&state);
        let shown = |known: &Principal| filter.shows(known) && (may_all.is_ok() || self.sees(&state, known));
        let found: Vec<_> = state
            .directory
            .all()
            .filter(|known| shown(known))
            .cloned()
            .collect();
        match may_all {
            Err(denied) if found.is_empty() => Err(denied),
            _ => Ok(by_name(found)),
        }
    }

    /// The one principal that goes by this: an object id, a client id, a name to sign in with or a display name.
    pub fn find_principal(&self, text: &str) -> Result<Arc<Principal>, ControlError> {
        let missing = || ControlError::NotFound {
            what: "principal",
            name: text.to_owned(),
        };
        let state = self.control.state();
        self.authorize_directory_read(&state)?;
        if let Ok(id) = text.parse::<Uuid>() {
            let by_id = state.directory.get(id).or_else(|| state.directory.by_client(id));
            return by_id.cloned().ok_or_else(missing);
        }
        let named = PrincipalFilter {
            name: Some(text.to_owned()),
            ..PrincipalFilter::default()
        };
        let mut found: Vec<_> = state.directory.all().filter(|known| named.shows(known)).collect();
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(Arc::clone(only)),
            (Some(_), others) => Err(ControlError::Ambiguous {
                name: text.to_owned(),
                count: others + 1,
            }),
            (None, _) => Err(missing()),
        }
    }

    fn create(
        &self,
        display_name: &str,
        detail: PrincipalDetail,
        certificates: &[NewCertificate],
    ) -> Result<Arc<Principal>, ControlError> {
        let mut change = self.control.change();
        self.authorize_directory(change.state())?;
        check_display_name(display_name)?;
        let now = self.control.now();
        let mut made = Principal::new(display_name, now, detail);
        for certificate in certificates {
            put_certificate(&mut made, certificate, now)?;
        }
        if let Some(sign_in) = made.user_principal_name() {
            let known = change.state().directory.all();
            let mut names = known.filter_map(|known| known.user_principal_name());
            if names.any(|known| known.eq_ignore_ascii_case(sign_in)) {
                return Err(ControlError::AlreadyExists {
                    what: "user",
                    name: sign_in.to_owned(),
                });
            }
        }
        room(change.state())?;
        let made = change.put_principal(made)?;
        change.commit()?;
        Ok(made)
    }

    /// Changes a principal on behalf of the caller.
    pub(super) fn update<T>(
        &self,
        object_id: Uuid,
        update: impl FnOnce(&mut Principal, u64) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut change: Change<'_> = self.control.change();
        self.authorize_directory(change.state())?;
        let old = find(change.state(), object_id)?;
        let mut principal = Principal::clone(&old);
        let result = update(&mut principal, self.control.now())?;
        if principal != *old {
            change.put_principal(principal)?;
            change.commit()?;
        }
        Ok(result)
    }

    /// Whether it is a user-assigned identity that the caller's roles let it see.
    fn sees(&self, state: &State, known: &Principal) -> bool {
        let PrincipalDetail::UserAssigned { resource, .. } = &known.detail else {
            return false;
        };
        scopes::parse(resource).is_ok_and(|scope| self.authorize_in(state, READ_IDENTITY, &scope).is_ok())
    }
}

impl PrincipalFilter {
    fn shows(&self, known: &Principal) -> bool {
        let kind = self.kind.is_none_or(|kind| kind == known.kind());
        let named = self.name.as_ref().is_none_or(|name| {
            let sign_in = known.user_principal_name();
            known.display_name.eq_ignore_ascii_case(name)
                || sign_in.is_some_and(|sign_in| sign_in.eq_ignore_ascii_case(name))
        });
        let asked = self.service_principal_name.as_ref().is_none_or(|asked| {
            let mut names = known.service_principal_names().into_iter();
            names.any(|name| name.eq_ignore_ascii_case(asked))
        });
        kind && named && asked
    }
}

/// An identity is called as its resource is.
fn rename(principal: &mut Principal, display_name: &str) -> Result<(), ControlError> {
    if principal.display_name == display_name {
        return Ok(());
    }
    check_display_name(display_name)?;
    if principal.kind() == PrincipalKind::ManagedIdentity {
        return invalid("an identity is called as its resource is".to_owned());
    }
    principal.display_name = display_name.to_owned();
    Ok(())
}

fn check_display_name(name: &str) -> Result<(), ControlError> {
    let one_line = !name.chars().any(char::is_control) && name.trim() == name;
    if one_line && DISPLAY_NAME.contains(&name.chars().count()) {
        return Ok(());
    }
    Err(ControlError::BadName {
        what: "principal",
        name: name.to_owned(),
    })
}

fn new_application() -> PrincipalDetail {
    PrincipalDetail::Application {
        client_id: Uuid::new_v4(),
        credentials: Credentials::default(),
        home: None,
    }
}

/// The administrator on record. Before that was kept, there was one application only.
fn administrator(state: &State) -> Option<Arc<Principal>> {
    let recorded = state.tenant.administrator.and_then(|id| state.directory.get(id));
    let only = || {
        let mut all = state.directory.all();
        all.find(|known| known.kind() == PrincipalKind::Application)
    };
    recorded.or_else(only).cloned()
}

pub(super) fn identity_at(state: &State, id: &ResourceId) -> Option<Arc<Principal>> {
    let is = |known: &&Arc<Principal>| {
        let resource = known
            .resource()
            .and_then(|resource| resource.parse::<ResourceId>().ok());
        resource.is_some_and(|resource| resource == *id)
    };
    state.directory.all().find(is).cloned()
}

pub(crate) fn room(state: &State) -> Result<(), ControlError> {
    if state.directory.len() < PRINCIPALS {
        return Ok(());
    }
    Err(ControlError::TooMany { what: "principals" })
}

fn find(state: &State, object_id: Uuid) -> Result<Arc<Principal>, ControlError> {
    let missing = || ControlError::NotFound {
        what: "principal",
        name: object_id.to_string(),
    };
    state.directory.get(object_id).cloned().ok_or_else(missing)
}

fn by_name(mut principals: Vec<Arc<Principal>>) -> Vec<Arc<Principal>> {
    principals.sort_by(|one, other| {
        (&one.display_name, one.object_id).cmp(&(&other.display_name, other.object_id))
    });
    principals
}

pub(super) fn invalid<T>(reason: String) -> Result<T, ControlError> {
    Err(ControlError::InvalidPrincipal { reason })
}

//! What the control plane knows at one moment, and how it comes to know something else.

use std::sync::{Arc, MutexGuard};

use strongroom_azure::ResourceId;
use strongroom_vault::VaultEngine;
use uuid::Uuid;

use crate::accounts::{Account, Accounts};
use crate::control::Shared;
use crate::directory::{Directory, Principal, Tenant};
use crate::documents::{Batch, Documents};
use crate::error::ControlError;
use crate::roles::{Assignment, RoleDefinition, Roles};

/// Everything that decisions need, as it is at one moment. It never changes: a change makes the next one, so whoever decides
/// waits for nobody. Cheap to clone.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) tenant: Tenant,
    pub(crate) directory: Arc<Directory>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) accounts: Arc<Accounts>,
    /// The vaults. They are as they are now, and not as of this moment; whoever deletes one holds the turn.
    pub(crate) vaults: VaultEngine,
}

impl State {
    pub(crate) fn load(
        documents: &Documents,
        tenant: Tenant,
        vaults: VaultEngine,
    ) -> Result<Self, ControlError> {
        let custom = documents.all::<RoleDefinition>(ROLE)?;
        let assignments = documents.all::<Assignment>(ASSIGNMENT)?;
        Ok(Self {
            tenant,
            directory: Arc::new(documents.all::<Principal>(PRINCIPAL)?.into_iter().collect()),
            roles: Arc::new(Roles::new(custom, assignments)),
            accounts: Arc::new(documents.all::<Account>(ACCOUNT)?.into_iter().collect()),
            vaults,
        })
    }
}

const TENANT: &str = "tenant";
const PRINCIPAL: &str = "principal";
const ROLE: &str = "role";
const ASSIGNMENT: &str = "assignment";
const ACCOUNT: &str = "account";

/// A change in the making. It holds the turn: the next one begins when this one is over, and sees what it did. Nobody else
/// sees any of it before [`Self::commit`], which makes all of it durable together and then visible together.
pub(crate) struct Change<'a> {
    shared: &'a Shared,
    _turn: MutexGuard<'a, ()>,
    next: State,
    batch: Batch,
    accounts: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn begin(shared: &'a Shared) -> Self {
        let turn = shared.turn();
        Self {
            shared,
            _turn: turn,
            next: shared.state().as_ref().clone(),
            batch: Batch::default(),
            accounts: false,
        }
    }

    /// The state as it will be.
    pub(crate) fn state(&self) -> &State {
        &self.next
    }

    pub(crate) fn put_tenant(&mut self, tenant: Tenant) -> Result<(), ControlError> {
        self.batch.put(TENANT, TENANT, &tenant)?;
        self.next.tenant = tenant;
        Ok(())
    }

    pub(crate) fn put_principal(&mut self, principal: Principal) -> Result<Arc<Principal>, ControlError> {
        self.batch
            .put(PRINCIPAL, &principal.object_id.to_string(), &principal)?;
        let principal = Arc::new(principal);
        Arc::make_mut(&mut self.next.directory).put(Arc::clone(&principal));
        Ok(principal)
    }

    /// Removes a principal, from its groups too. Its assignments stay and grant nothing.
    pub(crate) fn remove_principal(&mut self, object_id: Uuid) -> Result<(), ControlError> {
        let groups: Vec<Uuid> = self.next.directory.direct_groups(object_id).collect();
        for group in groups {
            if let Some(mut group) = self
                .next
                .directory
                .get(group)
                .map(|group| Principal::clone(group))
            {
                group.remove_member(object_id);
                self.put_principal(group)?;
            }
        }
        self.batch.delete(PRINCIPAL, &object_id.to_string());
        Arc::make_mut(&mut self.next.directory).remove(object_id);
        Ok(())
    }

    pub(crate) fn put_role(&mut self, role: RoleDefinition) -> Result<Arc<RoleDefinition>, ControlError> {
        self.batch.put(ROLE, &role.id.to_string(), &role)?;
        let role = Arc::new(role);
        Arc::make_mut(&mut self.next.roles).put_definition(Arc::clone(&role));
        Ok(role)
    }

    pub(crate) fn remove_role(&mut self, id: Uuid) {
        self.batch.delete(ROLE, &id.to_string());
        Arc::make_mut(&mut self.next.roles).remove_definition(id);
    }

    pub(crate) fn put_assignment(&mut self, assignment: Assignment) -> Result<Arc<Assignment>, ControlError> {
        self.batch
            .put(ASSIGNMENT, &assignment.id.to_string(), &assignment)?;
        let assignment = Arc::new(assignment);
        Arc::make_mut(&mut self.next.roles).put_assignment(Arc::clone(&assignment));
        Ok(assignment)
    }

    pub(crate) fn remove_assignment(&mut self, id: Uuid) {
        self.batch.delete(ASSIGNMENT, &id.to_string());
        Arc::make_mut(&mut self.next.roles).remove_assignment(id);
    }

    /// Removes every assignment at `scope` and below: what goes with a resource that is deleted. How many they were.
    pub(crate) fn remove_assignments_below(&mut self, scope: &ResourceId) -> usize {
        let below = self.next.roles.assignments();
        let below: Vec<Uuid> = below
            .filter(|assignment| assignment.is_below(scope))
            .map(|assignment| assignment.id)
            .collect();
        for id in &below {
            self.remove_assignment(*id);
        }
        below.len()
    }

    pub(crate) fn put_account(&mut self, account: Account) -> Result<Arc<Account>, ControlError> {
        self.batch
            .put(ACCOUNT, &account.name.to_ascii_lowercase(), &account)?;
        let account = Arc::new(account);
        Arc::make_mut(&mut self.next.accounts).put(Arc::clone(&account));
        self.accounts = true;
        Ok(account)
    }

    pub(crate) fn remove_account(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.batch.delete(ACCOUNT, &name);
        Arc::make_mut(&mut self.next.accounts).remove(&name);
        self.accounts = true;
    }

    /// Keeps everything, then shows it.
    pub(crate) fn commit(self) -> Result<(), ControlError> {
        self.shared.documents.commit(&self.batch)?;
        let accounts = self.accounts.then(|| self.next.accounts.list());
        self.shared.publish(self.next, accounts);
        Ok(())
    }
}

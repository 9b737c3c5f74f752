//! The control plane as somebody who asks for something sees it: everything is checked against what they may do.

use std::sync::Arc;

use strongroom_azure::ResourceId;
use uuid::Uuid;

use crate::control::Control;
use crate::directory::Principal;
use crate::error::ControlError;
use crate::roles::ActionKind;
use crate::state::State;

/// The control plane on behalf of a caller whose token has been verified. Every door to it goes through here: what an actor is
/// allowed does not depend on the door.
#[derive(Clone)]
pub struct Actor {
    pub(crate) control: Control,
    pub(crate) caller: Uuid,
}

impl Control {
    /// The control plane on behalf of this principal.
    pub fn actor(&self, caller: Uuid) -> Actor {
        Actor {
            control: self.clone(),
            caller,
        }
    }
}

impl Actor {
    /// The caller's object id.
    pub fn caller(&self) -> Uuid {
        self.caller
    }

    /// Fails unless the caller may do this here, without a condition.
    pub fn authorize(&self, action: &str, scope: &ResourceId) -> Result<(), ControlError> {
        self.authorize_in(&self.control.state(), action, scope)
    }

    /// Whether the caller may do this here, be it under a condition.
    pub(crate) fn may_in_part(&self, action: &str, scope: &ResourceId) -> bool {
        let state = self.control.state();
        let roles = state.roles.effective(&state.directory, self.caller, scope);
        roles.allows_in_part(action)
    }

    /// As [`Self::authorize`], by what was known at one moment.
    pub(crate) fn authorize_in(
        &self,
        state: &State,
        action: &str,
        scope: &ResourceId,
    ) -> Result<(), ControlError> {
        let roles = state.roles.effective(&state.directory, self.caller, scope);
        if roles.allows(ActionKind::Control, action) {
            return Ok(());
        }
        Err(self.denied(state, action, scope))
    }

    /// Fails unless the caller may grant or take away this very role here.
    pub(crate) fn authorize_role(
        &self,
        state: &State,
        action: &str,
        scope: &ResourceId,
        role: Uuid,
    ) -> Result<(), ControlError> {
        let roles = state.roles.effective(&state.directory, self.caller, scope);
        if roles.allows_for(action, role) {
            return Ok(());
        }
        Err(self.denied(state, action, scope))
    }

    /// Fails unless the caller may change the directory. That is no role on a resource: the administrator of the first start
    /// may, and nobody else.
    pub(crate) fn authorize_directory(&self, state: &State) -> Result<(), ControlError> {
        if state.tenant.administrator == Some(self.caller) && state.directory.get(self.caller).is_some() {
            return Ok(());
        }
        Err(ControlError::DirectoryDenied)
    }

    /// Fails unless the caller may look around in the directory: its users and its administrator may.
    pub(crate) fn authorize_directory_read(&self, state: &State) -> Result<(), ControlError> {
        let caller = state.directory.get(self.caller);
        if caller.is_some_and(|caller| caller.user_principal_name().is_some()) {
            return Ok(());
        }
        self.authorize_directory(state)
    }

    fn denied(&self, state: &State, action: &str, scope: &ResourceId) -> ControlError {
        let known: Option<&Arc<Principal>> = state.directory.get(self.caller);
        let client = known.map(
            |caller| match (caller.user_principal_name(), caller.client_id()) {
                (Some(name), _) => name.to_owned(),
                (None, Some(client)) => client.to_string(),
                (None, None) => caller.display_name.clone(),
            },
        );
        ControlError::NotAuthorized {
            client: client.unwrap_or_else(|| self.caller.to_string()),
            caller: self.caller,
            action: action.to_owned(),
            scope: scope.to_string(),
        }
    }
}

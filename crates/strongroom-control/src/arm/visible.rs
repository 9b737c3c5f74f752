//! Which rows of a list the caller may read. What is granted above is granted below, so most answers are found above.

use std::collections::HashMap;

use strongroom_azure::ResourceId;

use super::Shared;
use super::inventory::key;
use super::place::Place;

/// Remembers what was asked, for one list.
pub(crate) struct Visible<'a> {
    arm: &'a Shared,
    caller: &'a str,
    known: HashMap<(String, String), bool>,
}

impl<'a> Visible<'a> {
    pub(crate) fn to(arm: &'a Shared, caller: &'a str) -> Self {
        Self {
            arm,
            caller,
            known: HashMap::new(),
        }
    }

    /// Whether the caller may read a resource of this type there.
    pub(crate) fn may_read(&mut self, id: &ResourceId, kind: &str) -> bool {
        self.may(id, &format!("{kind}/read"))
    }

    /// Whether the caller may do this there.
    pub(crate) fn may(&mut self, id: &ResourceId, action: &str) -> bool {
        let subscription = self.arm.subscription();
        if self.asked(&subscription, action) {
            return true;
        }
        let group = Place::of(id).and_then(|place| place.group);
        let group = group.and_then(|group| subscription.child(&format!("resourceGroups/{group}")).ok());
        group.is_some_and(|group| self.asked(&group, action)) || self.arm.may(self.caller, id, action)
    }

    fn asked(&mut self, scope: &ResourceId, action: &str) -> bool {
        let question = (key(scope), action.to_ascii_lowercase());
        if let Some(known) = self.known.get(&question) {
            return *known;
        }
        let granted = self.arm.may(self.caller, scope, action);
        self.known.insert(question, granted);
        granted
    }
}

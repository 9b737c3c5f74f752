//! Which rows of a list the caller may read. What is granted above is granted below, so most answers are found above.

use std::collections::HashMap;

use strongroom_azure::ResourceId;

use super::Shared;
use super::place::Place;

/// Remembers what was asked, for one list.
pub(crate) struct Visible<'a> {
    arm: &'a Shared,
    caller: &'a str,
    subscription: ResourceId,
    /// By action: in the whole subscription.
    everywhere: HashMap<String, bool>,
    /// By action and group, in small letters.
    in_group: HashMap<(String, String), bool>,
}

impl<'a> Visible<'a> {
    pub(crate) fn to(arm: &'a Shared, caller: &'a str) -> Self {
        Self {
            arm,
            caller,
            subscription: arm.subscription(),
            everywhere: HashMap::new(),
            in_group: HashMap::new(),
        }
    }

    /// Whether the caller may read a resource of this type there.
    pub(crate) fn may_read(&mut self, id: &ResourceId, kind: &str) -> bool {
        self.may(id, &format!("{kind}/read"))
    }

    /// The same for a row whose id was not parsed yet.
    pub(crate) fn may_read_at(&mut self, id: &str, group: &str, kind: &str) -> bool {
        let action = format!("{kind}/read");
        self.everywhere(&action)
            || self.in_group(group, &action)
            || id.parse().is_ok_and(|id| self.arm.may(self.caller, &id, &action))
    }

    /// Whether the caller may do this there.
    pub(crate) fn may(&mut self, id: &ResourceId, action: &str) -> bool {
        // A scope above the subscription is not covered by what is granted in it.
        if self.subscription.contains(id) {
            let group = Place::of(id).and_then(|place| place.group).unwrap_or_default();
            if self.everywhere(action) || self.in_group(&group, action) {
                return true;
            }
        }
        self.arm.may(self.caller, id, action)
    }

    fn everywhere(&mut self, action: &str) -> bool {
        if let Some(known) = self.everywhere.get(action) {
            return *known;
        }
        let granted = self.arm.may(self.caller, &self.subscription, action);
        self.everywhere.insert(action.to_owned(), granted);
        granted
    }

    fn in_group(&mut self, group: &str, action: &str) -> bool {
        let question = (action.to_owned(), group.to_ascii_lowercase());
        if let Some(known) = self.in_group.get(&question) {
            return *known;
        }
        let id = self.subscription.child(&format!("resourceGroups/{group}"));
        let granted = !group.is_empty() && id.is_ok_and(|id| self.arm.may(self.caller, &id, action));
        self.in_group.insert(question, granted);
        granted
    }
}

//! What a path of Resource Manager stands for: where it is, of which type, called what.

use strongroom_azure::ResourceId;

/// A path, taken apart. Names and types keep the spelling of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The whole path.
    pub(crate) id: ResourceId,
    /// The subscription's GUID.
    pub(crate) subscription: Option<String>,
    /// The resource group.
    pub(crate) group: Option<String>,
    /// The last provider in the path and what is named of it; `None` for subscriptions and groups.
    pub(crate) typed: Option<Typed>,
}

/// What follows a path's last `/providers/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Typed {
    /// What stands before it: a subscription, a group, or a resource that is extended.
    pub(crate) scope: ResourceId,
    /// Whether the scope is itself a resource.
    pub(crate) extends: bool,
    /// Such as `Microsoft.Storage`.
    pub(crate) namespace: String,
    /// Such as `["storageAccounts", "blobServices"]`.
    pub(crate) types: Vec<String>,
    /// One for each type, or one less: then the path is of a collection (or an action).
    pub(crate) names: Vec<String>,
}

impl Typed {
    /// Such as `Microsoft.Storage/storageAccounts/blobServices`.
    pub(crate) fn full_type(&self) -> String {
        format!("{}/{}", self.namespace, self.types.join("/"))
    }

    /// Whether the path ends with a type instead of a name.
    pub(crate) fn is_collection(&self) -> bool {
        self.types.len() > self.names.len()
    }
}

impl Place {
    /// Takes a path apart. `None` where no such path can be.
    pub(crate) fn of(id: &ResourceId) -> Option<Self> {
        let segments: Vec<&str> = id
            .as_str()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let mut place = Self {
            id: id.clone(),
            subscription: None,
            group: None,
            typed: None,
        };
        let mut rest = segments.as_slice();
        if let [word, subscription, after @ ..] = rest
            && word.eq_ignore_ascii_case("subscriptions")
        {
            place.subscription = Some((*subscription).to_owned());
            rest = after;
            if let [word, group, after @ ..] = rest
                && word.eq_ignore_ascii_case("resourceGroups")
            {
                place.group = Some((*group).to_owned());
                rest = after;
            }
        }
        while !rest.is_empty() {
            let extends = place.typed.is_some();
            let taken = segments.len() - rest.len();
            let scope = prefix(&segments, taken)?;
            let (typed, after) = typed(rest, scope, extends)?;
            (place.typed, rest) = (Some(typed), after);
        }
        Some(place)
    }

    /// What a collection is a part of.
    pub(crate) fn parent_of_collection(&self) -> Option<ResourceId> {
        let typed = self.typed.as_ref()?;
        if typed.names.is_empty() {
            return Some(typed.scope.clone());
        }
        self.id.as_str().rsplit_once('/')?.0.parse().ok()
    }

    /// The resource, group or subscription that this path's thing is a part of.
    pub(crate) fn parent(&self) -> Option<ResourceId> {
        let typed = self.typed.as_ref()?;
        if typed.names.len() < 2 {
            return Some(typed.scope.clone());
        }
        let mut id = self.id.as_str();
        for _ in 0..2 {
            id = id.rsplit_once('/')?.0;
        }
        id.parse().ok()
    }
}

fn prefix(segments: &[&str], count: usize) -> Option<ResourceId> {
    format!("/{}", segments.get(..count)?.join("/")).parse().ok()
}

/// Reads `providers/<namespace>/<type>/<name>/...` up to the next `providers`.
fn typed<'a, 'b>(rest: &'a [&'b str], scope: ResourceId, extends: bool) -> Option<(Typed, &'a [&'b str])> {
    let [word, namespace, after @ ..] = rest else {
        return None;
    };
    let mut rest = after;
    if !word.eq_ignore_ascii_case("providers") {
        return None;
    }
    let mut typed = Typed {
        scope,
        extends,
        namespace: (*namespace).to_owned(),
        types: Vec::new(),
        names: Vec::new(),
    };
    while let [kind, after @ ..] = rest {
        if !typed.types.is_empty() && kind.eq_ignore_ascii_case("providers") {
            return Some((typed, rest));
        }
        typed.types.push((*kind).to_owned());
        rest = after;
        if let [name, after @ ..] = rest {
            typed.names.push((*name).to_owned());
            rest = after;
        }
    }
    (!typed.types.is_empty()).then_some((typed, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::of(&text.parse().unwrap()).unwrap()
    }

    #[test]
    fn resources_collections_children_and_extensions_are_told_apart() {
        let account =
            place("/Subscriptions/s/resourcegroups/rg/providers/Microsoft.Storage/storageAccounts/a");
        assert_eq!(account.group.as_deref(), Some("rg"));
        assert_eq!(
            account.parent().unwrap().as_str(),
            "/Subscriptions/s/resourcegroups/rg"
        );
        let typed = account.typed.unwrap();
        assert_eq!(typed.full_type(), "Microsoft.Storage/storageAccounts");
        assert!(!typed.is_collection() && !typed.extends);

        let child = place("/subscriptions/s/resourceGroups/rg/providers/N.S/as/a/bs/b");
        assert_eq!(
            child.parent().unwrap().as_str(),
            "/subscriptions/s/resourceGroups/rg/providers/N.S/as/a"
        );
        assert!(
            place("/subscriptions/s/resourceGroups/rg/providers/N.S/as/a/bs")
                .typed
                .unwrap()
                .is_collection()
        );

        let setting = place(
            "/subscriptions/s/resourceGroups/rg/providers/N.S/as/a/providers/Microsoft.Insights/diagnosticSettings/d",
        );
        assert!(setting.typed.as_ref().unwrap().extends);
        assert_eq!(
            setting.parent().unwrap().as_str(),
            "/subscriptions/s/resourceGroups/rg/providers/N.S/as/a"
        );
        // A resource may be called so.
        assert_eq!(
            place("/subscriptions/s/providers/N.S/as/providers")
                .typed
                .unwrap()
                .names,
            ["providers"]
        );
    }

    #[test]
    fn paths_that_no_resource_has_are_none() {
        for text in [
            "/subscriptions/s/elsewhere",
            "/subscriptions/s/providers",
            "/subscriptions/s/providers/N.S",
            "/nothing",
        ] {
            assert_eq!(Place::of(&text.parse().unwrap()), None, "{text}");
        }
        assert!(place("/subscriptions/s").typed.is_none());
    }
}

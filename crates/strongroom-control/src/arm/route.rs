//! The table of routes: for each, method, path, permission, longest body, handler. A provider is one file with such a table.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;
use strongroom_azure::ResourceId;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome};

/// What a handler's work resolves to.
pub(crate) type Work = Pin<Box<dyn Future<Output = Outcome<Answer>> + Send>>;

/// Answers one request.
pub(crate) type Handler = Arc<dyn Fn(Arc<Call>) -> Work + Send + Sync>;

/// One row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) pattern: Pattern,
    pub(crate) permission: Permission,
    /// Longest body in bytes; 0 for none, which is then not read.
    pub(crate) body: usize,
    pub(crate) handler: Handler,
    /// What Key Vault's log calls it, if it is in there.
    pub(crate) audit: Option<&'static str>,
}

/// What the caller must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Nothing, not even a token.
    Open,
    /// A token; the handler shows only what the caller may read.
    Signed,
    /// This action at the path.
    Action(&'static str),
    /// This action at the path, be it under a condition: the handler asks whether it holds for what is asked for.
    InPart(&'static str),
    /// `<type of the path>/<verb>`.
    OfType(&'static str),
}

/// Segments of a path, in any case: literal, `{name}` for one, `{scope}` in front for any number.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    scoped: bool,
    segments: Vec<&'static str>,
}

/// What a pattern's names stand for in a path.
pub(crate) type Names = BTreeMap<&'static str, String>;

impl Route {
    /// A row of the table.
    pub(crate) fn new(
        method: Method,
        pattern: &'static str,
        permission: Permission,
        body: usize,
        handler: Handler,
    ) -> Self {
        Self {
            method,
            pattern: Pattern::new(pattern),
            permission,
            body,
            handler,
            audit: None,
        }
    }

    /// The same, recorded in the vaults' log under this name, reads and refusals too.
    #[must_use]
    pub(crate) fn audited(mut self, operation: &'static str) -> Self {
        self.audit = Some(operation);
        self
    }
}

/// A handler that blocks: on the database, say.
pub(crate) fn blocking(
    work: impl Fn(&Arc<Call>) -> Outcome<Answer> + Copy + Send + Sync + 'static,
) -> Handler {
    Arc::new(move |call| {
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&call)).await;
            done.unwrap_or(Err(Fault::Interrupted))
        })
    })
}

impl Pattern {
    fn new(text: &'static str) -> Self {
        let mut segments: Vec<_> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        let scoped = segments.first() == Some(&"{scope}");
        if scoped {
            segments.remove(0);
        }
        Self { scoped, segments }
    }

    /// What the names stand for, if the path is of this pattern.
    pub(crate) fn matches(&self, path: &ResourceId) -> Option<Names> {
        let given: Vec<&str> = path
            .as_str()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let before = given.len().checked_sub(self.segments.len())?;
        if before > 0 && !self.scoped {
            return None;
        }
        let mut names = Names::new();
        let (scope, own) = given.split_at_checked(before)?;
        if self.scoped {
            names.insert("scope", format!("/{}", scope.join("/")));
        }
        for (segment, given) in self.segments.iter().zip(own) {
            match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    names.insert(name, (*given).to_owned());
                }
                None if segment.eq_ignore_ascii_case(given) => {}
                None => return None,
            }
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_bind_names_and_scopes_in_any_case() {
        let lock = Pattern::new("{scope}/providers/Microsoft.Authorization/locks/{lock}");
        let names = lock
            .matches(
                &"/Subscriptions/s/PROVIDERS/microsoft.authorization/LOCKS/l"
                    .parse()
                    .unwrap(),
            )
            .unwrap();
        assert_eq!(
            (names["scope"].as_str(), names["lock"].as_str()),
            ("/Subscriptions/s", "l")
        );
        let group = Pattern::new("/subscriptions/{subscription}/resourceGroups/{group}");
        assert!(
            group
                .matches(&"/subscriptions/s/resourcegroups/g".parse().unwrap())
                .is_some()
        );
        assert!(
            group
                .matches(&"/subscriptions/s/resourcegroups".parse().unwrap())
                .is_none()
        );
        assert!(
            group
                .matches(&"/x/subscriptions/s/resourcegroups/g".parse().unwrap())
                .is_none()
        );
    }
}

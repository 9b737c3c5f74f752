//! Resource ids of Azure Resource Manager: paths whose letters' case does not matter.

use std::fmt;
use std::str::FromStr;

use crate::limits::RESOURCE_ID;

/// A resource id, or a scope: `/`, `/subscriptions/<id>`, `/subscriptions/<id>/resourceGroups/<name>/providers/...`.
///
/// Equality ignores case, as Resource Manager does; the spelling is kept.
#[derive(Debug, Clone)]
pub struct ResourceId(String);

/// Why a text is no resource id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResourceIdError {
    /// It does not begin with a slash.
    #[error("a resource id begins with a slash")]
    NotAbsolute,
    /// It has an empty segment, a `.` or `..`, or a character that no name may have.
    #[error("a resource id has a segment that no name may be")]
    Segment,
    /// It is longer than any resource id.
    #[error("a resource id has at most 2048 characters")]
    TooLong,
}

impl ResourceId {
    /// The scope that contains every other.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The id as it was spelled, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this scope or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        let (outer, inner) = (self.0.to_ascii_lowercase(), other.0.to_ascii_lowercase());
        let rest = if outer == "/" {
            Some("/")
        } else {
            inner.strip_prefix(&outer)
        };
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The segment that follows the one called `name`, ignoring case.
    pub fn segment_after(&self, name: &str) -> Option<&str> {
        let mut segments = self.0.split('/').skip(1);
        segments.find(|segment| segment.eq_ignore_ascii_case(name))?;
        segments.next()
    }

    /// The id of a thing below this one.
    pub fn child(&self, path: &str) -> Result<Self, ResourceIdError> {
        format!(
            "{}/{}",
            self.0.trim_end_matches('/'),
            path.trim_start_matches('/')
        )
        .parse()
    }
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;

    fn from_str(text: &str) -> Result<Self, ResourceIdError> {
        if text.len() > RESOURCE_ID {
            return Err(ResourceIdError::TooLong);
        }
        let path = text.strip_prefix('/').ok_or(ResourceIdError::NotAbsolute)?;
        if path.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.split('/').all(is_segment) {
            return Err(ResourceIdError::Segment);
        }
        Ok(Self(format!("/{path}")))
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ResourceId {}

fn is_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()~ ".contains(&byte);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ResourceId {
        text.parse().unwrap()
    }

    #[test]
    fn case_does_not_matter_and_a_slash_at_the_end_neither() {
        assert_eq!(
            id("/subscriptions/S/resourceGroups/rg"),
            id("/Subscriptions/s/resourcegroups/RG/")
        );
        assert_eq!(id("/subscriptions/S").segment_after("SUBSCRIPTIONS"), Some("S"));
    }

    #[test]
    fn a_scope_contains_what_lies_below_it_and_not_its_neighbours() {
        let group = id("/subscriptions/s/resourceGroups/rg");
        assert!(id("/").contains(&group));
        assert!(group.contains(&group));
        assert!(group.contains(&id(
            "/subscriptions/S/resourceGroups/RG/providers/Microsoft.KeyVault/vaults/v"
        )));
        assert!(!group.contains(&id("/subscriptions/s/resourceGroups/rg2")));
        assert!(!group.contains(&id("/subscriptions/s")));
    }

    #[test]
    fn tricks_with_the_path_are_refused() {
        for text in [
            "",
            "subscriptions/s",
            "//",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a/b?c",
            "/a/b%2f",
            "/a/\u{e9}",
        ] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
        assert_eq!(id("/a").child("/b/c"), Ok(id("/a/b/c")));
    }
}

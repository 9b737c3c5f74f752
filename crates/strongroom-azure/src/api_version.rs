//! The `api-version` that every Azure request carries.

use std::fmt;
use std::str::FromStr;

use crate::limits::API_VERSION;

/// A well-formed api-version: `7.6`, `7.6-preview.2`, `2025-07-01` or `2025-07-01-preview`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApiVersion(String);

/// Why a text is no api-version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiVersionError {
    /// There is none. Add `?api-version=` to the request.
    #[error("the api-version query parameter is required")]
    Missing,
    /// It is there and is neither a number nor a date.
    #[error("the api-version is neither a number such as 7.6 nor a date such as 2025-07-01")]
    Malformed,
}

impl ApiVersion {
    /// Finds and checks the api-version in a query string.
    pub fn in_query(query: Option<&str>) -> Result<Self, ApiVersionError> {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("api-version"));
        found.next().ok_or(ApiVersionError::Missing)?.1.parse()
    }

    /// The number before the dot; none if it is a date.
    pub fn major(&self) -> Option<u32> {
        let (major, _) = self.0.split_once('.').filter(|(major, _)| is_number(major))?;
        major.parse().ok()
    }

    /// The text as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, ApiVersionError> {
        if text.is_empty() {
            return Err(ApiVersionError::Missing);
        }
        let (base, suffix) = match text.find("-preview") {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let suffix = suffix.strip_prefix("-preview").unwrap_or(suffix);
        let suffix_fits = suffix.is_empty() || suffix.strip_prefix('.').is_some_and(is_number);
        if text.len() <= API_VERSION && suffix_fits && (is_date(base) || is_decimal(base)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ApiVersionError::Malformed)
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let within =
        |part: &str, most: u32| part.len() == 2 && part.parse().is_ok_and(|n: u32| (1..=most).contains(&n));
    year.len() == 4 && is_number(year) && within(month, 12) && within(day, 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_clients_send_are_accepted() {
        for text in [
            "7.0",
            "7.6",
            "7.6-preview.2",
            "2025-07-01",
            "2026-05-15-preview",
            "2015-04-01",
        ] {
            assert_eq!(text.parse::<ApiVersion>().unwrap().as_str(), text);
        }
        let query = Some("%24filter=x&api-version=7.4&maxresults=5");
        assert_eq!(ApiVersion::in_query(query).unwrap().as_str(), "7.4");
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wrong() {
        assert_eq!(ApiVersion::in_query(None), Err(ApiVersionError::Missing));
        assert_eq!(
            ApiVersion::in_query(Some("api-version=")),
            Err(ApiVersionError::Missing)
        );
        for text in [
            "7",
            "v7.0",
            "2025-13-01",
            "2025-7-1",
            "2025-07-01-beta",
            "7.6-preview.",
            "7.6-preview.x",
            "99999.1",
        ] {
            assert_eq!(
                text.parse::<ApiVersion>(),
                Err(ApiVersionError::Malformed),
                "{text}"
            );
        }
    }
}

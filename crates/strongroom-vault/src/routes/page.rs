//! Lists in pages: what a request asks for, and where the next page is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::engine::fault::VaultFault;
use crate::engine::settings::PageStart;
use crate::limits::{MAX_KEY_NAME, MAX_PAGE};

/// The query of a request, as far as it concerns the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) api_version: Option<String>,
    pub(crate) skip_token: Option<String>,
    pub(crate) max_results: Option<String>,
}

impl Query {
    /// Reads a query; unknown parameters are ignored, the first of a name counts.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let place = match name.to_ascii_lowercase().as_str() {
                "api-version" => &mut read.api_version,
                "$skiptoken" => &mut read.skip_token,
                "maxresults" => &mut read.max_results,
                _ => continue,
            };
            place.get_or_insert_with(|| value.into_owned());
        }
        read
    }

    /// Where the page begins and how long it may be.
    pub(crate) fn page(&self) -> Result<PageStart, VaultFault> {
        let limit = match &self.max_results {
            None => MAX_PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_PAGE).contains(limit))
                .ok_or(VaultFault::BadParameter("maxresults is a number from 1 to 25"))?,
        };
        let after = self.skip_token.as_deref().map(read_token).transpose()?;
        Ok(PageStart { after, limit })
    }

    /// The query of the page after the one that ended with `last`.
    pub(crate) fn next(&self, last: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", self.api_version.as_deref().unwrap_or_default());
        query.append_pair("$skiptoken", &URL_SAFE_NO_PAD.encode(last));
        if let Some(max_results) = &self.max_results {
            query.append_pair("maxresults", max_results);
        }
        query.finish()
    }
}

fn read_token(token: &str) -> Result<String, VaultFault> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|name| {
            (1..=MAX_KEY_NAME).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .ok_or(VaultFault::BadParameter(
            "$skiptoken is not one that this vault gave",
        ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn page_sizes_are_bounded() {
        for (query, limit) in [("", 25), ("maxresults=1", 1), ("MaxResults=25", 25)] {
            assert_eq!(Query::parse(Some(query)).page().unwrap().limit, limit);
        }
        for query in [
            "maxresults=0",
            "maxresults=26",
            "maxresults=-1",
            "maxresults=x",
            "$skiptoken=%20",
            "$skiptoken=",
        ] {
            assert!(Query::parse(Some(query)).page().is_err(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_next_page_begins_where_the_last_one_ended(last in "[0-9A-Za-z-]{1,127}", size in 1_u32..=25) {
            let first = Query::parse(Some(&format!("api-version=7.6&maxresults={size}")));
            let second = Query::parse(Some(&first.next(&last)));
            prop_assert_eq!(second.page().unwrap(), PageStart { after: Some(last), limit: size });
            prop_assert_eq!(second.api_version.as_deref(), Some("7.6"));
        }

        #[test]
        fn any_query_is_read_without_harm(query in "\\PC{0,60}") {
            let _ = Query::parse(Some(&query)).page();
        }
    }
}

//! What tokens are for.

/// The resources of Azure that this dialect knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownResource {
    /// Resource Manager.
    Management,
    /// The data plane of Key Vault.
    Vault,
    /// Microsoft Graph.
    Graph,
    /// The data plane of the AI services.
    CognitiveServices,
}

/// Their audiences, each good with and without a slash at its end.
const KNOWN: [(&str, KnownResource); 7] = [
    ("https://management.core.windows.net", KnownResource::Management),
    ("https://management.azure.com", KnownResource::Management),
    ("https://vault.azure.net", KnownResource::Vault),
    ("https://graph.microsoft.com", KnownResource::Graph),
    ("https://graph.windows.net", KnownResource::Graph),
    (
        "https://cognitiveservices.azure.com",
        KnownResource::CognitiveServices,
    ),
    ("https://ai.azure.com", KnownResource::CognitiveServices),
];

impl KnownResource {
    /// The resource that an audience names.
    pub fn by_audience(audience: &str) -> Option<Self> {
        let found = KNOWN.iter().find(|(known, _)| same_audience(known, audience));
        found.map(|(_, resource)| *resource)
    }

    /// Every audience that names the resource.
    pub fn audiences(self) -> impl Iterator<Item = &'static str> {
        KNOWN
            .iter()
            .filter(move |(_, resource)| *resource == self)
            .map(|(audience, _)| *audience)
    }
}

/// The audience that a scope asks for: exactly one `/.default` is taken off its end.
pub fn scope_to_audience(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// Whether two audiences are the same: one slash at the end does not count.
pub fn same_audience(one: &str, other: &str) -> bool {
    let trimmed = |text: &str| text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    trimmed(one) == trimmed(other)
}

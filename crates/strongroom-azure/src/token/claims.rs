use serde::{Deserialize, Serialize};

/// What a token says, in Entra's names. Reads the shapes of both versions (`appid` of the first, `azp` of the second) and
/// what they have in common; groups and roles in a token count for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// What it is for.
    pub aud: String,
    /// When it ends, in seconds since the Unix epoch.
    pub exp: u64,
    /// From when it counts.
    pub nbf: u64,
    /// When it was issued.
    pub iat: u64,
    /// The object id of the caller in the directory: what role assignments name.
    pub oid: String,
    /// The subject; for applications the same as `oid`.
    pub sub: String,
    /// The tenant.
    pub tid: String,
    /// The application (client) id.
    #[serde(default, alias = "azp", skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// `app` for applications, `user` for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idtyp: Option<String>,
    /// The name that a user signs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upn: Option<String>,
    /// The Azure resource that a managed identity belongs to.
    #[serde(default, rename = "xms_mirid", skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uti: Option<String>,
}

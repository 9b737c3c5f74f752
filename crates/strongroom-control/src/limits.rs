//! Every number that bounds this crate.

use std::time::Duration;

/// How long a token counts.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Largest body of a token request, in bytes.
pub(crate) const TOKEN_REQUEST: usize = 64 * 1024;

/// Bytes of a secret that this crate draws.
pub(crate) const SECRET: usize = 32;

/// Role assignments that one directory may have, as many as one Azure subscription has.
pub(crate) const ASSIGNMENTS: usize = 4000;

/// Longest name of an account, a deployment or a vault.
pub(crate) const NAME: usize = 64;

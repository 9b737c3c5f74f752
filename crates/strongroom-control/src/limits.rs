//! Every number that bounds this crate.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a token counts.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Largest body of a token request, in bytes.
pub(crate) const TOKEN_REQUEST: usize = 64 * 1024;

/// Bytes of a secret that this crate draws.
pub(crate) const SECRET: usize = 32;

/// Secrets that one application may have at a time.
pub(crate) const SECRETS: usize = 32;

/// Characters of a secret that stay readable, as many as Entra shows.
pub(crate) const HINT: usize = 3;

/// Principals in the directory, as many as a new Entra tenant may have.
pub(crate) const PRINCIPALS: usize = 50_000;

/// Members of one group.
pub(crate) const MEMBERS: usize = 10_000;

/// Length of a display name, in characters.
pub(crate) const DISPLAY_NAME: RangeInclusive<usize> = 1..=256;

/// Length of a name to sign in with.
pub(crate) const USER_PRINCIPAL_NAME: RangeInclusive<usize> = 3..=113;

/// User-assigned identities that one account may have.
pub(crate) const ACCOUNT_IDENTITIES: usize = 64;

/// Role assignments that one directory may have, as many as one Azure subscription has.
pub(crate) const ASSIGNMENTS: usize = 4000;

/// Custom roles that one directory may have, as many as an Entra tenant has.
pub(crate) const CUSTOM_ROLES: usize = 5000;

/// Length of a custom role's name, in characters.
pub(crate) const ROLE_NAME: RangeInclusive<usize> = 1..=512;

/// Length of a description, in characters.
pub(crate) const DESCRIPTION: usize = 2048;

/// Actions and data actions that one role names, those that it takes away included.
pub(crate) const ROLE_ACTIONS: usize = 2048;

/// Assignable scopes of a custom role.
pub(crate) const ASSIGNABLE_SCOPES: RangeInclusive<usize> = 1..=200;

/// Length of a name that is also a host's label.
pub(crate) const HOST_LABEL: RangeInclusive<usize> = 2..=63;

/// Length of a resource group's or a region's name.
pub(crate) const LABEL: RangeInclusive<usize> = 1..=90;

/// Length of a deployment's name.
pub(crate) const DEPLOYMENT_NAME: RangeInclusive<usize> = 1..=128;

/// Length of a user-assigned identity's name.
pub(crate) const IDENTITY_NAME: RangeInclusive<usize> = 3..=128;

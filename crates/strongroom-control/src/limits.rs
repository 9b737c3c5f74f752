//! Every number that bounds this crate.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a token counts.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Largest body of a token request, in bytes.
pub(crate) const TOKEN_REQUEST: usize = 64 * 1024;

/// Bytes of a secret that this crate draws.
pub(crate) const SECRET: usize = 32;

/// Role assignments that one directory may have, as many as one Azure subscription has.
pub(crate) const ASSIGNMENTS: usize = 4000;

/// Length of a name that is also a host's label.
pub(crate) const HOST_LABEL: RangeInclusive<usize> = 2..=63;

/// Length of a resource group's or a region's name.
pub(crate) const LABEL: RangeInclusive<usize> = 1..=90;

/// Length of a deployment's name.
pub(crate) const DEPLOYMENT_NAME: RangeInclusive<usize> = 1..=128;

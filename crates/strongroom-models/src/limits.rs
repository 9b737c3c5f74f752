//! Every number that bounds something here.

use std::time::Duration;

/// An upstream connection, TLS included.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// From a request to the head of the upstream's answer; a long prompt takes its time.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(120);
/// Between two pieces of an upstream's answer.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// For the whole of an upstream's answer.
pub(crate) const TOTAL: Duration = Duration::from_secs(600);

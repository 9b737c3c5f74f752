//! The Azure dialect, both directions: what its services say and its clients expect.
//!
//! Error bodies, api-versions, resource ids, challenges and tokens, as the official clients send and read them. The crate knows
//! nothing of Strongroom and could serve any other program that speaks to or as Azure.

mod api_version;
mod challenge;
mod discovery;
mod error;
mod limits;
mod resource_id;
pub mod token;

// The public interface is:
pub use api_version::{ApiVersion, ApiVersionError};
pub use challenge::{Challenge, ChallengeError};
pub use discovery::{OAuthError, OpenIdConfiguration, ProtocolVersion, Trace};
pub use error::{ErrorBody, ErrorDetail, ErrorStatus, InnerError, Problem};
pub use resource_id::{ResourceId, ResourceIdError};

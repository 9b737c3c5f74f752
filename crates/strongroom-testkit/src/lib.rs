//! For tests and benches: a whole system on port 0, in this process or in one of its own; a vault that fails
//! on cue; a hand-turned clock; a disk that forgets; the unsealed twin for comparisons; a model server that
//! answers at once; and canaries with a search for them.

mod canary;
mod child;
mod clock;
mod error;
mod instance;
mod power_loss;
mod storage;
mod system;
mod twin;
mod upstream;
mod vault;

// The public interface is:
pub use canary::{Canaries, Sighting, search_bytes};
pub use child::{Child, ChildOptions, strongroom_command, strongroom_program};
pub use clock::HandClock;
pub use error::TestkitError;
pub use instance::{Instance, form, part_form};
pub use power_loss::PowerLoss;
pub use storage::Storage;
pub use system::{System, SystemOptions};
pub use twin::{PlainBlob, PlainRecord, PlainStore, PlainTwin};
pub use upstream::{INSTANT_MODEL, InstantUpstream};
pub use vault::{Calls, Cue, FailingVault};

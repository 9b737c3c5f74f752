//! The operator's commands: who asks, what is found, what was approved. They read; none of them changes anything.

mod check;
mod connect;
mod design;
mod evidence;
mod gather;
mod progress;
mod whoami;

pub(super) use self::check::{CheckArgs, check};
pub(super) use self::connect::CloudArgs;
pub(super) use self::design::{DesignArgs, design};
pub(super) use self::evidence::{EvidenceArgs, evidence};
pub(super) use self::whoami::{WhoAmIArgs, whoami};

pub(super) const WHOAMI: &str = "  \
  strongroom whoami
  strongroom whoami --cloud us-government --credential managed-identity -o json
  strongroom whoami --query \"reads[?may=='no'].[what, why]\" -o tsv";

pub(super) const CHECK: &str = "  \
  strongroom check --account main --design strongroom.yaml
  strongroom check --facts ./facts-2026-11-25 --fail-on high
  strongroom check --data ./strongroom-data -o json --query 'findings[?answer==`fail`].[control, resource]'";

pub(super) const DESIGN: &str = "  \
  strongroom design init --to strongroom.yaml
  strongroom design validate strongroom.yaml
  strongroom design diff --design strongroom.yaml -o json";

pub(super) const EVIDENCE: &str = "  \
  strongroom evidence --to evidence-2026-11-25 --design strongroom.yaml
  strongroom evidence --facts ./facts-2026-11-25 --to evidence.zip --redact all --map names.json
  strongroom evidence key
  strongroom evidence verify evidence.zip --key operator.pub --checkpoint october/checkpoint.txt";

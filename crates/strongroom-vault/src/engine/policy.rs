//! Rotation policies: what they may say, and what falls due by them.

use serde::{Deserialize, Serialize};

use crate::engine::fault::VaultFault;
use crate::engine::period::Period;
use crate::engine::settings::KeyVersion;

const SECONDS_PER_DAY: u64 = 86_400;
/// Neither rotation nor notice comes sooner after a version's creation, or closer before its expiry (documented).
const LEAST_TRIGGER: u64 = 7 * SECONDS_PER_DAY;
/// Versions live at least this long where a policy lets them expire (documented).
const LEAST_EXPIRY: u64 = 28 * SECONDS_PER_DAY;
/// The notice that is given where a policy asks for none, or there is no policy (documented).
const DEFAULT_NOTICE_DAYS: u64 = 30;

/// When something is to be done with a key's latest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// So long after it was made.
    AfterCreate(Period),
    /// So long before it expires.
    BeforeExpiry(Period),
}

/// What a key's rotation policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationPolicy {
    /// When a new version is made.
    pub rotate: Option<Trigger>,
    /// How long before its expiry notice of it is given.
    pub notify: Period,
    /// How long new versions live.
    pub expiry: Option<Period>,
    /// When the policy was first set, and when last, in Unix seconds; `None` for the policy of keys that have none.
    pub set: Option<(u64, u64)>,
}

impl RotationPolicy {
    /// The policy of keys for which none was set: notice 30 days before expiry, no rotation.
    pub fn unset() -> Self {
        Self {
            rotate: None,
            notify: Self::usual_notice(),
            expiry: None,
            set: None,
        }
    }

    /// How long before expiry notice is given where nothing else was asked for.
    pub fn usual_notice() -> Period {
        Period::of_days(DEFAULT_NOTICE_DAYS)
    }

    /// Refuses what could not be carried out, or not safely.
    pub(crate) fn check(&self) -> Result<(), VaultFault> {
        let expiry = self.expiry.as_ref().map(Period::about);
        if expiry.is_some_and(|expiry| expiry < LEAST_EXPIRY) {
            return Err(VaultFault::BadParameter("expiryTime is at least 28 days"));
        }
        if self.notify.about() < LEAST_TRIGGER {
            return Err(VaultFault::BadParameter(
                "timeBeforeExpiry of Notify is at least 7 days",
            ));
        }
        let rotate = match &self.rotate {
            None => return Ok(()),
            Some(Trigger::AfterCreate(period) | Trigger::BeforeExpiry(period)) => period.about(),
        };
        if rotate < LEAST_TRIGGER {
            return Err(VaultFault::BadParameter(
                "a key is rotated at the earliest 7 days after its creation and at the latest 7 days before its expiry",
            ));
        }
        match (&self.rotate, expiry) {
            (Some(Trigger::BeforeExpiry(_)), None) => Err(VaultFault::BadParameter(
                "timeBeforeExpiry of Rotate needs an expiryTime",
            )),
            // What remains on the other side of the moment of rotation.
            (_, Some(expiry)) if expiry.saturating_sub(rotate) < LEAST_TRIGGER => {
                Err(VaultFault::BadParameter(
                    "expiryTime leaves no 7 days between a key's creation, its rotation and its expiry",
                ))
            }
            _ => Ok(()),
        }
    }

    /// When a version that is made at `created` expires.
    pub(crate) fn expiry_of(&self, created: u64) -> Option<u64> {
        self.expiry.as_ref().map(|period| period.after(created))
    }

    /// When the latest version is to be succeeded. A disabled one is not: whoever turned a key off does not find it turned on
    /// again by the clock.
    pub(crate) fn rotation_due(&self, latest: &KeyVersion) -> Option<u64> {
        if !latest.enabled {
            return None;
        }
        match self.rotate.as_ref()? {
            Trigger::AfterCreate(period) => Some(period.after(latest.created)),
            Trigger::BeforeExpiry(period) => latest.expires.map(|expires| period.before(expires)),
        }
    }
}

/// A policy as the database and backups keep it.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredPolicy {
    rotate_after_create: Option<String>,
    rotate_before_expiry: Option<String>,
    notify: String,
    expiry: Option<String>,
    created: u64,
    updated: u64,
}

impl StoredPolicy {
    /// How `policy` is kept; `None` if none was set.
    pub(crate) fn of(policy: &RotationPolicy) -> Option<Self> {
        let (created, updated) = policy.set?;
        let text = |period: &Period| period.as_str().to_owned();
        let (after, before) = match &policy.rotate {
            Some(Trigger::AfterCreate(period)) => (Some(text(period)), None),
            Some(Trigger::BeforeExpiry(period)) => (None, Some(text(period))),
            None => (None, None),
        };
        Some(Self {
            rotate_after_create: after,
            rotate_before_expiry: before,
            notify: text(&policy.notify),
            expiry: policy.expiry.as_ref().map(text),
            created,
            updated,
        })
    }

    /// The policy that is kept so; `None` if it cannot be read.
    pub(crate) fn policy(&self) -> Option<RotationPolicy> {
        let read = |text: &Option<String>| {
            text.as_deref()
                .map(|text| Period::parse(text).ok_or(()))
                .transpose()
                .ok()
        };
        let after = read(&self.rotate_after_create)?.map(Trigger::AfterCreate);
        let before = read(&self.rotate_before_expiry)?.map(Trigger::BeforeExpiry);
        Some(RotationPolicy {
            rotate: after.or(before),
            notify: Period::parse(&self.notify)?,
            expiry: read(&self.expiry)?,
            set: Some((self.created, self.updated)),
        })
    }
}

/// For which expiry notices of a version were given already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) near: Option<u64>,
    pub(crate) expired: Option<u64>,
}

/// What is to be done with a key, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Rotate,
    TellNear,
    TellExpired,
}

/// What falls due for a key with this latest version, in no order.
pub(crate) fn due(
    policy: &RotationPolicy,
    latest: &KeyVersion,
    told: Told,
) -> impl Iterator<Item = (u64, Due)> {
    let near = latest
        .expires
        .filter(|_| told.near != latest.expires && told.expired != latest.expires);
    let expired = latest.expires.filter(|_| told.expired != latest.expires);
    [
        policy.rotation_due(latest).map(|at| (at, Due::Rotate)),
        near.map(|expires| (policy.notify.before(expires), Due::TellNear)),
        expired.map(|expires| (expires, Due::TellExpired)),
    ]
    .into_iter()
    .flatten()
}

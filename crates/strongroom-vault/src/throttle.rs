//! How much may be asked of a vault: the limits that Azure publishes, over a window that slides.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::kinds::KeySpec;
use crate::limits::THROTTLE_WINDOW;

/// Which limits a vault has. Azure has published two tables; each is named by its number of operations on RSA-2048 keys in
/// ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Throttling {
    /// None.
    #[default]
    #[serde(rename = "off")]
    Off,
    /// The older table (`key-vault-limits.md`).
    #[serde(rename = "2000")]
    Limit2000,
    /// The newer table.
    #[serde(rename = "4000")]
    Limit4000,
}

impl Throttling {
    /// Every setting, for tables and command lines.
    pub const ALL: [Self; 3] = [Self::Off, Self::Limit2000, Self::Limit4000];

    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Limit2000 => "2000",
            Self::Limit4000 => "4000",
        }
    }

    /// The setting of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|throttling| throttling.name().eq_ignore_ascii_case(name))
    }

    /// Operations of one kind in one window; none if there is no limit.
    const fn limit(self, load: Load) -> Option<usize> {
        Some(match (self, load) {
            (Self::Off, _) => return None,
            (Self::Limit2000, Load::Rsa2048 | Load::Other) => 2000,
            (Self::Limit2000, Load::Rsa3072) => 500,
            (Self::Limit2000, Load::Rsa4096) => 250,
            (Self::Limit2000, Load::Create) => 10,
            (Self::Limit4000, Load::Rsa2048 | Load::Other) => 4000,
            (Self::Limit4000, Load::Rsa3072) => 1000,
            (Self::Limit4000, Load::Rsa4096) => 500,
            (Self::Limit4000, Load::Create) => 10,
        })
    }
}

/// The kinds of operations that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    /// Whatever concerns a key of this size.
    Rsa2048,
    Rsa3072,
    Rsa4096,
    /// Whatever makes a key or a version.
    Create,
    /// Lists, and keys of other kinds.
    Other,
}

impl Load {
    /// What an operation on such a key counts as.
    pub(crate) fn on(spec: KeySpec) -> Self {
        if spec == KeySpec::Rsa2048 {
            Self::Rsa2048
        } else if spec == KeySpec::Rsa3072 {
            Self::Rsa3072
        } else if spec == KeySpec::Rsa4096 {
            Self::Rsa4096
        } else {
            Self::Other
        }
    }
}

/// Too much was asked. Come back after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) retry_after: u64,
}

/// When something was asked, oldest first.
type Times = VecDeque<Duration>;

/// When each vault was asked, within the window. Clones share it.
#[derive(Clone)]
pub struct Throttle {
    default: Throttling,
    asked: Arc<Mutex<HashMap<(String, Load), Times>>>,
}

impl Throttle {
    /// For vaults that have no setting of their own.
    pub fn new(default: Throttling) -> Self {
        Self {
            default,
            asked: Arc::default(),
        }
    }

    /// The limits of a vault with this setting of its own.
    pub(crate) fn of(&self, own: Option<Throttling>) -> Throttling {
        own.unwrap_or(self.default)
    }

    /// Counts an operation at `now`, the boot-time clock, if the limits leave room for it. What is refused does not count.
    pub(crate) fn admit(
        &self,
        vault: &str,
        throttling: Throttling,
        load: Load,
        now: Duration,
    ) -> Result<(), Throttled> {
        let Some(limit) = throttling.limit(load) else {
            return Ok(());
        };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry((vault.to_ascii_lowercase(), load)).or_default();
        while times
            .front()
            .is_some_and(|time| now.saturating_sub(*time) >= THROTTLE_WINDOW)
        {
            times.pop_front();
        }
        // With a limit that was lowered meanwhile, more than one must leave before there is room.
        let must_leave = times.len().checked_sub(limit).and_then(|past| times.get(past));
        if let Some(time) = must_leave {
            let wait = (*time + THROTTLE_WINDOW).saturating_sub(now);
            let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return Err(Throttled { retry_after });
        }
        times.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_has_the_published_number_in_ten_seconds() {
        for (throttling, load, limit) in [
            (Throttling::Limit2000, Load::Rsa2048, 2000),
            (Throttling::Limit2000, Load::Rsa3072, 500),
            (Throttling::Limit2000, Load::Rsa4096, 250),
            (Throttling::Limit2000, Load::Create, 10),
            (Throttling::Limit2000, Load::Other, 2000),
            (Throttling::Limit4000, Load::Rsa2048, 4000),
            (Throttling::Limit4000, Load::Rsa3072, 1000),
            (Throttling::Limit4000, Load::Rsa4096, 500),
            (Throttling::Limit4000, Load::Create, 10),
            (Throttling::Limit4000, Load::Other, 4000),
        ] {
            let throttle = Throttle::new(Throttling::Off);
            let mut now = SECOND;
            let mut ask = |after: Duration| {
                now += after;
                throttle.admit("kv1", throttling, load, now)
            };
            for _ in 0..limit {
                assert_eq!(ask(Duration::ZERO), Ok(()), "{throttling:?} {load:?}");
            }
            assert_eq!(
                ask(Duration::from_millis(500)),
                Err(Throttled { retry_after: 10 })
            );
            assert_eq!(
                ask(Duration::from_millis(9499)),
                Err(Throttled { retry_after: 1 })
            );
            assert_eq!(ask(Duration::from_millis(1)), Ok(()));
        }
    }

    #[test]
    fn the_window_slides_and_refusals_do_not_count() {
        let throttle = Throttle::new(Throttling::Off);
        let ask = |at: u64| {
            throttle.admit(
                "kv1",
                Throttling::Limit2000,
                Load::Create,
                SECOND * u32::try_from(at).unwrap(),
            )
        };
        for second in 0..10 {
            assert_eq!(ask(second), Ok(()));
        }
        for _ in 0..50 {
            assert_eq!(ask(9), Err(Throttled { retry_after: 1 }));
        }
        for second in 10..20 {
            assert_eq!(ask(second), Ok(()), "{second}");
            assert!(ask(second).is_err(), "{second}");
        }
    }

    #[test]
    fn vaults_and_kinds_are_counted_apart_and_off_is_off() {
        let throttle = Throttle::new(Throttling::Limit2000);
        let ask = |vault: &str, own, load| throttle.admit(vault, throttle.of(own), load, SECOND).is_ok();
        for _ in 0..10 {
            assert!(ask("kv1", None, Load::Create));
        }
        assert!(!ask("KV1", None, Load::Create));
        assert!(ask("kv1", None, Load::Other));
        assert!(ask("kv2", None, Load::Create));
        assert!(ask("kv1", Some(Throttling::Off), Load::Create));
        for _ in 0..250 {
            assert!(ask("kv1", None, Load::Rsa4096));
        }
        assert!(!ask("kv1", None, Load::Rsa4096));
        assert!(ask("kv1", Some(Throttling::Limit4000), Load::Rsa4096));
    }

    #[test]
    fn settings_are_known_by_their_names() {
        for throttling in Throttling::ALL {
            assert_eq!(Throttling::from_name(throttling.name()), Some(throttling));
            assert_eq!(serde_json::to_value(throttling).unwrap(), throttling.name());
        }
        assert_eq!(Throttling::from_name("3000"), None);
    }
}

//! Rotation policies and notices, as the clock turns.

use super::*;
use crate::engine::maintenance::{Notice, NoticeKind};
use crate::engine::period::Period;
use crate::engine::policy::{RotationPolicy, StoredPolicy, Trigger};

fn period(text: &str) -> Period {
    Period::parse(text).unwrap()
}

fn every(days: u64) -> RotationPolicy {
    RotationPolicy {
        rotate: Some(Trigger::AfterCreate(Period::of_days(days))),
        expiry: Some(period("P90D")),
        ..RotationPolicy::unset()
    }
}

impl Bench {
    async fn set_policy(&self, name: &str, policy: RotationPolicy) {
        self.engine
            .set_rotation_policy(VAULT, name, policy)
            .await
            .unwrap();
    }

    async fn versions(&self, name: &str) -> Vec<KeyVersion> {
        self.engine.list_versions(VAULT, name, all()).await.unwrap().rows
    }

    /// A round of maintenance whose notices are put on record.
    async fn maintain(&self) -> Vec<(NoticeKind, String)> {
        let done = self.engine.maintain().await.unwrap();
        assert!(!done.failed);
        for notice in &done.notices {
            self.engine.told(notice).await.unwrap();
        }
        let told = |notice: Notice| (notice.kind, notice.key.version);
        done.notices.into_iter().map(told).collect()
    }

    fn reopened(self) -> Self {
        let Self {
            folder,
            clock,
            engine,
        } = self;
        drop(engine);
        let engine = open(folder.path(), &clock).unwrap();
        Self {
            folder,
            clock,
            engine,
        }
    }
}

#[tokio::test]
async fn a_policy_makes_one_version_when_it_is_due_and_never_two() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    bench.set_policy("cmk", every(30)).await;
    bench.clock.advance(DAY * 30 - Duration::from_secs(1));
    assert_eq!(bench.maintain().await, []);
    bench.clock.advance(Duration::from_secs(1));
    // Two rounds at once, a third after them, and one after a restart.
    let (one, other) = tokio::join!(bench.engine.maintain(), bench.engine.maintain());
    assert!(!one.unwrap().failed && !other.unwrap().failed);
    let [_, second] = &*bench.versions("cmk").await else {
        panic!("not two versions")
    };
    assert_eq!(
        bench.maintain().await,
        [(NoticeKind::Rotated, second.version.clone())]
    );
    assert_eq!(bench.maintain().await, []);
    let now = bench.clock.seconds();
    assert_eq!(
        (second.created, second.expires),
        (now, Some(now + 90 * DAY.as_secs()))
    );
    let bench = bench.reopened();
    assert_eq!(bench.maintain().await, []);
    // After a long sleep there is one more, not one for each missed time.
    bench.clock.advance(DAY * 65);
    let bench = bench.reopened();
    let kinds: Vec<_> = bench.maintain().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [NoticeKind::NearExpiry, NoticeKind::Rotated]);
    assert_eq!(bench.versions("cmk").await.len(), 3);
}

#[tokio::test]
async fn the_record_of_a_rotation_is_asked_for_until_it_is_kept() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    bench.set_policy("cmk", every(30)).await;
    bench.clock.advance(DAY * 30);
    assert_eq!(bench.engine.maintain().await.unwrap().notices.len(), 1);
    let bench = bench.reopened();
    assert_eq!(bench.maintain().await.len(), 1);
    assert_eq!(bench.maintain().await, []);
    assert_eq!(bench.versions("cmk").await.len(), 2);
}

#[tokio::test]
async fn a_rotation_by_hand_moves_the_next_one_and_takes_the_policys_expiry() {
    let bench = bench(true).await;
    let first = bench.create("cmk").await;
    assert_eq!(first.expires, None);
    bench.set_policy("cmk", every(30)).await;
    bench.clock.advance(DAY * 20);
    let second = bench.engine.rotate_key(VAULT, "cmk").await.unwrap();
    assert_eq!(second.expires, Some(second.created + 90 * DAY.as_secs()));
    bench.clock.advance(DAY * 20);
    assert_eq!(bench.maintain().await, []);
    let next = bench.engine.maintain().await.unwrap().next;
    assert_eq!(next, Some(second.created + 30 * DAY.as_secs()));
    bench.clock.advance(DAY * 10);
    assert_eq!(bench.maintain().await.len(), 1);
}

#[tokio::test]
async fn a_key_is_rotated_before_its_expiry_where_the_policy_says_so() {
    let bench = bench(true).await;
    let now = bench.clock.seconds();
    let expires = KeyChange {
        expires: Some(now + 50 * DAY.as_secs()),
        ..KeyChange::default()
    };
    bench.create("cmk").await;
    bench.change("cmk", expires).await;
    let policy = RotationPolicy {
        rotate: Some(Trigger::BeforeExpiry(period("P10D"))),
        notify: period("P7D"),
        expiry: Some(period("P60D")),
        set: None,
    };
    bench.set_policy("cmk", policy).await;
    bench.clock.advance(DAY * 39);
    assert_eq!(bench.maintain().await, []);
    bench.clock.advance(DAY);
    assert_eq!(bench.maintain().await.len(), 1);
    let latest = bench.engine.key(VAULT, "cmk", None).await.unwrap();
    assert_eq!(latest.expires, Some(latest.created + 60 * DAY.as_secs()));
}

#[tokio::test]
async fn a_key_that_was_turned_off_or_deleted_is_not_rotated_until_it_is_back() {
    let bench = bench(true).await;
    bench.create("off").await;
    bench.create("gone").await;
    bench.set_policy("off", every(30)).await;
    bench.set_policy("gone", every(30)).await;
    let enabled = |enabled| KeyChange {
        enabled: Some(enabled),
        ..KeyChange::default()
    };
    bench.change("off", enabled(false)).await;
    bench.engine.delete_key(VAULT, "gone").await.unwrap();
    bench.clock.advance(DAY * 31);
    assert_eq!(bench.maintain().await, []);
    bench.change("off", enabled(true)).await;
    bench.engine.recover_key(VAULT, "gone").await.unwrap();
    assert_eq!(bench.maintain().await.len(), 2);
    assert_eq!(bench.versions("off").await.len(), 2);
    assert_eq!(bench.versions("gone").await.len(), 2);
}

#[tokio::test]
async fn notice_of_an_expiry_is_given_once_before_it_and_once_after() {
    let bench = bench(true).await;
    let made = bench.create("cmk").await;
    let expire_in = |days: u64| KeyChange {
        expires: Some(bench.clock.seconds() + days * DAY.as_secs()),
        ..KeyChange::default()
    };
    bench.change("cmk", expire_in(40)).await;
    let near = [(NoticeKind::NearExpiry, made.version.clone())];
    let expired = [(NoticeKind::Expired, made.version.clone())];
    assert_eq!(bench.maintain().await, []);
    bench.clock.advance(DAY * 10);
    assert_eq!(bench.maintain().await, near);
    assert_eq!(bench.maintain().await, []);
    // Another expiry is another notice.
    bench.change("cmk", expire_in(31)).await;
    assert_eq!(bench.maintain().await, []);
    bench.clock.advance(DAY);
    assert_eq!(bench.maintain().await, near);
    bench.clock.advance(DAY * 30);
    let bench = bench.reopened();
    assert_eq!(bench.maintain().await, expired);
    assert_eq!(bench.maintain().await, []);
    let bench = bench.reopened();
    assert_eq!(bench.maintain().await, []);
    assert_eq!(bench.engine.maintain().await.unwrap().next, None);
}

#[tokio::test]
async fn an_expiry_that_nobody_looked_at_in_time_is_told_as_past_only() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let past = KeyChange {
        expires: Some(bench.clock.seconds() - 1),
        ..KeyChange::default()
    };
    bench.change("cmk", past).await;
    let kinds: Vec<_> = bench.maintain().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [NoticeKind::Expired]);
    assert_eq!(bench.maintain().await, []);
}

#[tokio::test]
async fn a_policy_is_kept_and_dated_and_the_usual_one_stands_where_none_was_set() {
    let bench = bench(true).await;
    bench.create("cmk").await;
    let (_, policy) = bench.engine.rotation_policy(VAULT, "CMK").await.unwrap();
    assert_eq!(policy, RotationPolicy::unset());
    let created = bench.clock.seconds();
    bench.set_policy("cmk", every(40)).await;
    bench.clock.advance(DAY);
    bench.set_policy("cmk", every(30)).await;
    let bench = bench.reopened();
    let (_, policy) = bench.engine.rotation_policy(VAULT, "cmk").await.unwrap();
    let set = Some((created, created + DAY.as_secs()));
    assert_eq!(policy, RotationPolicy { set, ..every(30) });
    let nobodys = bench.engine.rotation_policy(VAULT, "other").await;
    assert!(matches!(nobodys, Err(VaultFault::KeyNotFound(_))));
}

#[test]
fn policies_that_leave_no_time_are_refused() {
    let after = |text| Some(Trigger::AfterCreate(period(text)));
    let before = |text| Some(Trigger::BeforeExpiry(period(text)));
    for (rotate, notify, expiry, accepted) in [
        (after("P7D"), "P30D", None, true),
        (after("P6DT23H"), "P30D", None, false),
        (after("P21D"), "P7D", Some("P28D"), true),
        (after("P22D"), "P7D", Some("P28D"), false),
        (before("P7D"), "P7D", Some("P28D"), true),
        (before("P6D"), "P7D", Some("P28D"), false),
        (before("P21D"), "P30D", Some("P28D"), true),
        (before("P22D"), "P30D", Some("P28D"), false),
        (before("P7D"), "P30D", None, false),
        (None, "P6D", None, false),
        (None, "P30D", Some("P27D"), false),
        (None, "P30D", Some("P28D"), true),
    ] {
        let policy = RotationPolicy {
            rotate,
            notify: period(notify),
            expiry: expiry.map(period),
            set: None,
        };
        assert_eq!(policy.check().is_ok(), accepted, "{policy:?}");
    }
}

proptest! {
    #[test]
    fn a_policy_that_is_accepted_never_rotates_sooner_than_after_a_week_and_is_kept_as_it_is(
        before in any::<bool>(), rotate in 0_u64..800, notify in 0_u64..60, expiry in proptest::option::of(0_u64..800),
    ) {
        let rotate = Period::parse(&format!("P{rotate}DT1S")).unwrap();
        let policy = RotationPolicy {
            rotate: Some(if before { Trigger::BeforeExpiry(rotate) } else { Trigger::AfterCreate(rotate) }),
            notify: Period::parse(&format!("P{notify}DT1S")).unwrap(),
            expiry: expiry.map(|days| Period::parse(&format!("P{days}DT1S")).unwrap()),
            set: Some((5, 9)),
        };
        let stored = serde_json::to_string(&StoredPolicy::of(&policy)).unwrap();
        let read: StoredPolicy = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(read.policy(), Some(policy.clone()));
        if policy.check().is_ok() {
            let created = 1_700_000_000;
            let expires = policy.expiry_of(created);
            let version = KeyVersion {
                name: String::new(),
                version: String::new(),
                spec: KeySpec::P256,
                public: crate::PublicHalf::Ec { x: Vec::new(), y: Vec::new() },
                enabled: true,
                not_before: None,
                expires,
                created,
                updated: created,
                operations: Vec::new(),
                tags: Tags::new(),
            };
            let due = policy.rotation_due(&version).unwrap();
            prop_assert!(due >= created + 7 * DAY.as_secs());
            prop_assert!(expires.is_none_or(|expires| due + 7 * DAY.as_secs() <= expires));
        }
    }
}

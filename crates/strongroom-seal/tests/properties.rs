//! What must hold for any input, through the public interface alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

use std::io::Cursor;
use std::time::Duration;

use proptest::prelude::*;
use strongroom_seal::{
    AccountId, Age, BranchKey, BranchVersion, Context, KeyId, KeyName, Moment, ObjectKey, OpenError, Secret,
    WrappedKey, blob_layout, limits, open_range, open_stream, seal_stream,
};

/// The fields of a context, owned.
#[derive(Debug, Clone, PartialEq)]
struct Fields {
    account: u128,
    kind: String,
    id: String,
    part: u32,
}

impl Fields {
    fn context(&self) -> Context<'_> {
        let account = AccountId::from_uuid(uuid::Uuid::from_u128(self.account));
        Context::new(account, &self.kind, &self.id, self.part).unwrap()
    }
}

/// Few values for each field, so that near misses are common.
fn fields() -> impl Strategy<Value = Fields> {
    ((0..3u128), "[a-c.]{1,3}", "[!-~]{1,4}", 0..3u32).prop_map(|(account, kind, id, part)| Fields {
        account,
        kind,
        id,
        part,
    })
}

fn branch(seed: u8, account: AccountId, version: u32) -> BranchKey {
    let seed = Secret::build(|place| place.fill(seed));
    BranchKey::derive(&seed, account, BranchVersion::new(version)).unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

proptest! {
    #[test]
    fn a_record_opens_in_its_own_context_and_in_no_other(
        content in proptest::collection::vec(any::<u8>(), 0..2000), own in fields(), other in fields(),
    ) {
        let key = ObjectKey::generate().unwrap();
        let sealed = key.seal_record(&own.context(), &content).unwrap();
        prop_assert_eq!(&*key.open_record(&own.context(), &sealed).unwrap(), &content);
        if own != other {
            prop_assert!(key.open_record(&other.context(), &sealed).is_err());
        }
        prop_assert!(ObjectKey::generate().unwrap().open_record(&own.context(), &sealed).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_record_is_noticed(
        content in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let own = Fields { account: 1, kind: "a".into(), id: "b".into(), part: 0 };
        let key = ObjectKey::generate().unwrap();
        let mut sealed = key.seal_record(&own.context(), &content).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(key.open_record(&own.context(), &sealed).is_err());
    }

    #[test]
    fn a_wrapped_key_unwraps_in_its_own_context_and_in_no_other(own in fields(), other in fields(), version in 1..4u32) {
        let (context, key) = (own.context(), ObjectKey::generate().unwrap());
        let record = key.seal_record(&context, b"content").unwrap();
        let wrapped = branch(1, context.account(), version).wrap(&context, &key).unwrap();
        let wrapped = WrappedKey::parse(wrapped.as_bytes()).unwrap();

        let unwrapped = branch(1, context.account(), version).unwrap(&context, &wrapped).unwrap();
        prop_assert_eq!(&*unwrapped.open_record(&context, &record).unwrap(), b"content");
        prop_assert!(branch(2, context.account(), version).unwrap(&context, &wrapped).is_err());
        prop_assert!(branch(1, context.account(), version + 1).unwrap(&context, &wrapped).is_err());
        if own != other {
            let other = other.context();
            prop_assert!(branch(1, other.account(), version).unwrap(&other, &wrapped).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_wrapped_key_is_noticed(at in 0..WrappedKey::LEN, bit in 0..8u8) {
        let own = Fields { account: 1, kind: "a".into(), id: "b".into(), part: 0 };
        let branch = branch(1, own.context().account(), 1);
        let wrapped = branch.wrap(&own.context(), &ObjectKey::generate().unwrap()).unwrap();
        let mut stored = wrapped.as_bytes().to_vec();
        stored[at] ^= 1 << bit;
        let unwrapped = WrappedKey::parse(&stored).and_then(|wrapped| branch.unwrap(&own.context(), &wrapped));
        prop_assert!(unwrapped.is_err());
    }

    #[test]
    fn anything_parses_or_is_refused(stored in proptest::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
        let own = Fields { account: 1, kind: "a".into(), id: "b".into(), part: 0 };
        let key = ObjectKey::generate().unwrap();
        prop_assert!(key.open_record(&own.context(), &stored).is_err());
        let opened = open_stream(&key, &own.context(), stored.len() as u64, stored.as_slice(), Vec::new());
        prop_assert!(opened.is_err());
        if let Ok(wrapped) = WrappedKey::parse(&stored) {
            prop_assert_eq!(wrapped.as_bytes(), stored);
        }
        let _ = Context::new(AccountId::from_uuid(uuid::Uuid::nil()), &text, &text, 0);
        let _ = (KeyName::parse(&text), KeyId::parse(&text), text.parse::<AccountId>());
    }

    #[test]
    fn no_two_contexts_have_one_encoding(one in fields(), two in fields()) {
        let key = ObjectKey::generate().unwrap();
        let encoded = |fields: &Fields| key.export(&fields.context()).associated_data().to_vec();
        prop_assert_eq!(encoded(&one) == encoded(&two), one == two);
    }

    #[test]
    fn lengths_and_ranges_of_blobs_fit_together(plain in 0..=limits::MAX_BLOB_LEN, at in any::<prop::sample::Index>()) {
        let stored = blob_layout::stored_len(plain).unwrap();
        prop_assert_eq!(blob_layout::plain_len(stored), Ok(plain));
        let segments = blob_layout::segments(plain);
        prop_assert_eq!(blob_layout::stored_range(segments - 1, stored).end, stored);
        if plain > 0 {
            let offset = at.index(usize::try_from(plain).unwrap()) as u64;
            let segment = blob_layout::segment_of(offset);
            prop_assert!(segment < segments);
            prop_assert!(blob_layout::plain_range(segment).contains(&offset));
            let length = blob_layout::stored_range(segment, stored).end - blob_layout::stored_range(segment, stored).start;
            let room = blob_layout::plain_range(segment).end.min(plain) - blob_layout::plain_range(segment).start;
            prop_assert_eq!(length, room + 16);
        }
    }

    #[test]
    fn any_stored_length_is_one_that_a_writer_makes_or_is_refused(stored in 0..10_000_000u64) {
        match blob_layout::plain_len(stored) {
            Ok(plain) => prop_assert_eq!(blob_layout::stored_len(plain), Ok(stored)),
            Err(error) => prop_assert_eq!(error, OpenError::Truncated),
        }
    }

    #[test]
    fn an_identifier_reads_as_it_is_written(
        host in "[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,3}", port in any::<Option<u16>>(),
        name in "[0-9A-Za-z-]{1,127}", version in "[0-9a-zA-Z]{1,64}",
    ) {
        let port = port.filter(|port| *port != 0 && *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("https://{host}{port}/keys/{name}/{version}");
        let id = KeyId::parse(&text).unwrap();
        prop_assert_eq!(id.to_string(), text);
        prop_assert_eq!(id.key_name().admit(&id), Ok(()));
        prop_assert_eq!(KeyName::parse(&id.without_version().to_string()), Ok(id.without_version()));
    }

    #[test]
    fn an_age_is_never_less_than_either_clock_says(a in any::<[u32; 2]>(), b in any::<[u32; 2]>()) {
        let moment = |[boot, wall]: [u32; 2]| Moment {
            boot: Duration::from_millis(boot.into()), wall: Duration::from_millis(wall.into()),
        };
        match moment(b).age_since(moment(a)) {
            Age::Elapsed(age) => {
                prop_assert_eq!(moment(a).boot + age >= moment(b).boot, true);
                prop_assert_eq!(moment(a).wall + age >= moment(b).wall, true);
            }
            Age::WallClockWentBack => prop_assert!(b[0] < a[0] || b[1] < a[1]),
        }
    }

    #[test]
    fn check_values_tell_seed_account_and_version_apart(one in (0..2u8, 0..2u128, 1..3u32), two in (0..2u8, 0..2u128, 1..3u32)) {
        let check = |(seed, account, version): (u8, u128, u32)| {
            branch(seed, AccountId::from_uuid(uuid::Uuid::from_u128(account)), version).check_value()
        };
        prop_assert_eq!(check(one) == check(two), one == two);
        prop_assert_eq!(check(one).to_string().parse(), Ok(check(one)));
    }

    #[test]
    fn an_endorsement_vouches_for_one_version_and_value(next in 2..5u32, shown in 2..5u32, value in 0..2u8, other in 0..2u8) {
        let account = AccountId::from_uuid(uuid::Uuid::nil());
        let check = |value: u8| branch(value, account, 9).check_value();
        let predecessor = branch(7, account, 1);
        let endorsement = predecessor.endorse(BranchVersion::new(next), check(value));
        let verified = predecessor.verify_endorsement(BranchVersion::new(shown), check(other), &endorsement);
        prop_assert_eq!(verified.is_ok(), (next, value) == (shown, other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_blob_opens_whole_and_in_any_range_however_it_was_written(
        length in prop_oneof![0..200_000usize, 1_048_500..1_048_540usize, 2_097_060..2_097_100usize],
        start in any::<prop::sample::Index>(), end in any::<prop::sample::Index>(),
    ) {
        let own = Fields { account: 1, kind: "a".into(), id: "b".into(), part: 1 };
        let (key, plain, mut stored, mut opened) = (ObjectKey::generate().unwrap(), bytes(length), vec![], vec![]);
        seal_stream(key.blob_sealer(&own.context()).unwrap(), plain.as_slice(), &mut stored).unwrap();
        let stored_length = stored.len() as u64;
        open_stream(&key, &own.context(), stored_length, stored.as_slice(), &mut opened).unwrap();
        prop_assert!(opened == plain);

        let (start, end) = (start.index(length + 1), end.index(length + 1));
        let (start, end) = (start.min(end), start.max(end));
        let mut part = Vec::new();
        let wanted = start as u64..end as u64;
        open_range(&key, &own.context(), stored_length, wanted, Cursor::new(&stored), &mut part).unwrap();
        prop_assert!(part == plain[start..end]);
    }
}

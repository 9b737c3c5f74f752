//! Tests of the whole crate that need to choose nonces, which nothing outside of it may.

mod vectors;

use crate::page::LockedPage;
use crate::{
    AccountId, BranchKey, BranchVersion, Context, ObjectKey, OpenError, RECORD_OVERHEAD, SealError, Secret,
};

#[test]
fn a_locked_secret_lies_alone_on_its_page() {
    let build = || LockedPage::<64>::try_build(|_| Ok::<_, ()>(())).unwrap();
    let addresses = [build(), build(), build()].map(|page| page.expose_secret().as_ptr().addr());
    for address in addresses {
        assert_eq!(address % crate::limits::PAGE_LEN, 0);
    }
}

#[test]
fn branch_keys_are_made_even_where_no_more_memory_may_be_locked() {
    let seed = Secret::random().unwrap();
    let account = AccountId::from_uuid(uuid::Uuid::nil());
    // 12 MiB of pages: more than most systems let a process lock.
    let keys: Vec<BranchKey> = (1..=3000)
        .map(|number| BranchKey::derive(&seed, account, BranchVersion::new(number)).unwrap())
        .collect();
    assert!(
        keys.windows(2)
            .all(|pair| pair[0].check_value() != pair[1].check_value())
    );
}

#[test]
fn a_branch_key_wraps_for_its_own_account_only() {
    let account = |number| AccountId::from_uuid(uuid::Uuid::from_u128(number));
    let branch = BranchKey::derive(&Secret::random().unwrap(), account(1), BranchVersion::FIRST).unwrap();
    let foreign = Context::new(account(2), "file", "file-1", 0).unwrap();
    let wrapped = branch.wrap(&foreign, &ObjectKey::generate().unwrap());
    assert_eq!(wrapped.map(drop), Err(SealError::WrongAccount));
}

#[test]
fn a_record_above_its_limit_is_neither_sealed_nor_opened() {
    let context = Context::new(AccountId::from_uuid(uuid::Uuid::nil()), "file", "file-1", 0).unwrap();
    let key = ObjectKey::generate().unwrap();
    let plain = vec![0; crate::limits::MAX_RECORD_LEN + 1];
    assert_eq!(key.seal_record(&context, &plain), Err(SealError::TooLarge));
    let mut stored = b"SRrc\x01".to_vec();
    stored.resize(RECORD_OVERHEAD + plain.len(), 0);
    assert_eq!(
        key.open_record(&context, &stored).map(drop),
        Err(OpenError::TooLarge)
    );
}

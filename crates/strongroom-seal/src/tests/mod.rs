//! Tests of the whole crate that need to choose nonces, which nothing outside of it may.

mod vectors;

use crate::page::LockedPage;
use crate::{AccountId, BranchKey, BranchVersion, Secret};

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

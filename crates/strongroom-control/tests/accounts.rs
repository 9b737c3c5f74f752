//! The two keys of an account, and whether they count.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod rig;

use rig::{Rig, code};
use strongroom_azure::ResourceId;
use strongroom_control::KeySlot;

#[test]
fn a_regenerated_key_counts_at_once_and_the_old_one_never_again() {
    let rig = Rig::new();
    rig.account("acct");
    let [one, two] = rig.owner.list_account_keys("acct").unwrap();
    let [new_one, same_two] = rig.owner.regenerate_account_key("ACCT", KeySlot::One).unwrap();
    assert_ne!(new_one, one);
    assert_eq!(same_two, two);
    let slot = |rig: &Rig, key: &str| rig.control.authenticate_key("acct", key).map(|(_, slot)| slot);
    assert_eq!(
        (slot(&rig, &one), slot(&rig, &new_one), slot(&rig, &two)),
        (None, Some(0), Some(1))
    );
    let rig = rig.reopen();
    assert_eq!(
        (slot(&rig, &one), slot(&rig, &new_one), slot(&rig, &two)),
        (None, Some(0), Some(1))
    );
    let mut seen = vec![one, new_one];
    for _ in 0..4 {
        let [next, _] = rig.owner.regenerate_account_key("acct", KeySlot::One).unwrap();
        assert!(!seen.contains(&next));
        seen.push(next);
    }
}

#[test]
fn keys_that_are_turned_off_open_nothing_and_are_not_shown() {
    let rig = Rig::new();
    rig.account("acct");
    let [one, _] = rig.owner.list_account_keys("acct").unwrap();
    assert!(rig.owner.set_local_auth("acct", true).unwrap().disable_local_auth);
    assert!(rig.control.authenticate_key("acct", &one).is_none());
    assert!(
        rig.control
            .accounts()
            .borrow()
            .iter()
            .all(|account| account.disable_local_auth)
    );
    let refused = rig.owner.list_account_keys("acct").unwrap_err().problem();
    assert_eq!(refused.status().code().as_u16(), 400);
    assert_eq!(
        refused.body().error.message,
        "Failed to list key. disableLocalAuth is set to be true"
    );
    assert_eq!(
        code(rig.owner.regenerate_account_key("acct", KeySlot::Two)),
        "BadRequest"
    );
    let rig = rig.reopen();
    assert!(rig.control.authenticate_key("acct", &one).is_none());
    rig.owner.set_local_auth("acct", false).unwrap();
    assert!(rig.control.authenticate_key("acct", &one).is_some());
}

#[test]
fn each_role_does_with_an_account_what_azure_lets_it_do() {
    let rig = Rig::new();
    let account = rig.account("acct");
    let scope: ResourceId = account.resource_id().parse().unwrap();
    for (held, lists, regenerates, writes) in [
        ("Owner", true, true, true),
        ("Contributor", true, true, true),
        ("Cognitive Services Contributor", true, true, true),
        ("Cognitive Services User", true, false, false),
        ("Cognitive Services OpenAI Contributor", false, false, false),
        ("Cognitive Services OpenAI User", false, false, false),
        ("Reader", false, false, false),
        ("User Access Administrator", false, false, false),
        ("Key Vault Administrator", false, false, false),
        ("Strongroom Export Operator", false, false, false),
    ] {
        let caller = rig.caller();
        rig.assign(caller.caller(), held, &scope);
        let said = |may| if may { "done" } else { "AuthorizationFailed" };
        assert_eq!(code(caller.list_account_keys("acct")), said(lists), "{held}");
        let again = caller.regenerate_account_key("acct", KeySlot::Two);
        assert_eq!(code(again), said(regenerates), "{held}");
        assert_eq!(code(caller.set_local_auth("acct", false)), said(writes), "{held}");
    }
    assert_eq!(code(rig.owner.list_account_keys("none")), "ResourceNotFound");
}

#[test]
fn who_may_do_nothing_with_an_account_does_not_hear_whether_there_is_one() {
    let rig = Rig::new();
    rig.account("acct");
    let caller = rig.caller();
    let told = |name: &str| {
        let denied = [
            caller.list_account_keys(name).unwrap_err(),
            caller.regenerate_account_key(name, KeySlot::One).unwrap_err(),
            caller.set_local_auth(name, true).unwrap_err(),
            caller.remove_account_identity(name, "x").unwrap_err(),
            caller.delete_account(name).unwrap_err(),
        ];
        denied.map(|denied| (denied.problem().body().error.code.clone(), denied.to_string()))
    };
    let (there, gone) = (told("acct"), told("none"));
    for ((code, there), (_, gone)) in there.iter().zip(&gone) {
        assert_eq!(code, "AuthorizationFailed");
        assert_eq!(there.replace("acct", "none"), *gone);
    }
    assert!(
        there[0]
            .1
            .contains("Microsoft.CognitiveServices/accounts/listKeys/action"),
        "{there:?}"
    );
}

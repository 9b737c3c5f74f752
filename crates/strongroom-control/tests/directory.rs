//! Who is in the directory, and what it takes to change that.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod rig;

use rig::{NOW, Rig, assign, code};
use serde_json::json;
use strongroom_azure::ResourceId;
use strongroom_azure::token::Signer;
use strongroom_control::{
    Account, Encryption, ExternalKeys, NewFederation, NewIdentity, NewSecret, PrincipalFilter, PrincipalKind,
    PrincipalType,
};
use strongroom_vault::{Access, Caller, KeyAction};
use uuid::Uuid;

#[test]
fn what_a_group_has_its_members_have_through_other_groups_too() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let groups: Vec<Uuid> = ["inner", "middle", "outer"]
        .map(|name| rig.owner.create_group(name).unwrap().object_id)
        .into();
    let [inner, middle, outer] = groups[..] else {
        unreachable!()
    };
    rig.owner.add_member(inner, app).unwrap();
    rig.owner.add_member(middle, inner).unwrap();
    rig.owner.add_member(outer, middle).unwrap();
    rig.owner.add_member(outer, inner).unwrap();
    rig.assign(outer, "Key Vault Crypto User", &rig.vault);
    assert!(rig.decides(app, Some("k"), KeyAction::Unwrap));
    let rig = rig.reopen();
    assert!(rig.decides(app, Some("k"), KeyAction::Unwrap));
    assert!(rig.owner.remove_member(middle, inner).unwrap());
    assert!(
        rig.decides(app, Some("k"), KeyAction::Unwrap),
        "there is another way"
    );
    assert!(rig.owner.remove_member(outer, inner).unwrap());
    assert!(
        !rig.decides(app, Some("k"), KeyAction::Unwrap),
        "there is none any more"
    );
    assert!(!rig.owner.remove_member(outer, inner).unwrap());
}

#[test]
fn a_circle_of_groups_is_refused() {
    let rig = Rig::new();
    let [one, two, three] =
        ["one", "two", "three"].map(|name| rig.owner.create_group(name).unwrap().object_id);
    rig.owner.add_member(one, two).unwrap();
    rig.owner.add_member(two, three).unwrap();
    for (group, member) in [(one, one), (two, one), (three, one), (three, two)] {
        assert_eq!(code(rig.owner.add_member(group, member)), "Request_BadRequest");
    }
    rig.owner.add_member(one, three).unwrap();
    rig.owner.add_member(one, three).unwrap();
    let members = rig.owner.members(one).unwrap();
    assert_eq!(
        members.iter().map(|known| known.object_id).collect::<Vec<_>>(),
        [three, two]
    );
    assert_eq!(
        code(rig.owner.add_member(one, Uuid::new_v4())),
        "ResourceNotFound"
    );
    assert_eq!(
        code(rig.owner.add_member(rig.owner.caller(), two)),
        "Request_BadRequest"
    );
}

#[test]
fn who_leaves_the_directory_leaves_its_groups() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let group = rig.owner.create_group("group").unwrap().object_id;
    rig.owner.add_member(group, app).unwrap();
    rig.owner.delete_principal(app).unwrap();
    let rig = rig.reopen();
    assert!(rig.owner.members(group).unwrap().is_empty());
    assert_eq!(rig.control.principal(group).unwrap().members().count(), 0);
}

#[test]
fn only_the_administrator_changes_the_directory() {
    let rig = Rig::new();
    let caller = rig.caller();
    rig.assign(caller.caller(), "Owner", &rig.subscription);
    let (app, group) = (
        rig.app("app").object_id,
        rig.owner.create_group("group").unwrap().object_id,
    );
    let denied = "Authorization_RequestDenied";
    assert_eq!(code(caller.create_application("x")), denied);
    assert_eq!(code(caller.create_user("x", "x@y.example")), denied);
    assert_eq!(code(caller.create_group("x")), denied);
    assert_eq!(code(caller.delete_principal(app)), denied);
    assert_eq!(code(caller.delete_principal(Uuid::new_v4())), denied);
    assert_eq!(code(caller.add_secret(app, NewSecret::default())), denied);
    assert_eq!(code(caller.remove_secret(app, Uuid::new_v4())), denied);
    assert_eq!(code(caller.add_member(group, app)), denied);
    assert_eq!(code(caller.remove_member(group, app)), denied);
    assert_eq!(code(caller.members(group)), denied);
    assert_eq!(code(caller.principals(&PrincipalFilter::default())), denied);
    assert_eq!(code(caller.find_principal("app")), denied);
    let user = rig
        .owner
        .create_user("Ada", "ada@contoso.example")
        .unwrap()
        .object_id;
    let user = rig.control.actor(user);
    assert_eq!(
        user.find_principal("app").unwrap().object_id,
        app,
        "users may look around"
    );
    assert_eq!(code(user.create_group("x")), denied);
}

#[test]
fn an_application_has_several_secrets_each_with_its_own_end() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let mut made = Vec::new();
    for expires in [None, Some(NOW + 60), Some(NOW)] {
        let new = NewSecret {
            display_name: Some("deploy".to_owned()),
            expires,
        };
        made.push(rig.owner.add_secret(app, new).unwrap());
    }
    let known = rig.control.principal(app).unwrap();
    let secrets = &known.credentials().unwrap().secrets;
    assert_eq!(secrets.len(), 3);
    for ((id, secret), kept) in made.iter().zip(secrets) {
        assert_eq!((*id, kept.hint.as_str()), (kept.id, &secret[..3]));
    }
    let shape = rig.control.principal_shape(&known).to_string();
    assert!(made.iter().all(|(_, secret)| !shape.contains(secret.as_str())));
    assert!(rig.owner.remove_secret(app, made[0].0).unwrap());
    assert!(!rig.owner.remove_secret(app, made[0].0).unwrap());
    let rig = rig.reopen();
    let left = rig.control.principal(app).unwrap();
    assert_eq!(left.credentials().unwrap().secrets.len(), 2);
    let group = rig.owner.create_group("group").unwrap().object_id;
    assert_eq!(
        code(rig.owner.add_secret(group, NewSecret::default())),
        "Request_BadRequest"
    );
    for _ in 2..32 {
        rig.owner.add_secret(app, NewSecret::default()).unwrap();
    }
    assert_eq!(
        code(rig.owner.add_secret(app, NewSecret::default())),
        "Directory_QuotaExceeded"
    );
}

#[test]
fn principals_are_found_by_what_people_and_clients_call_them() {
    let rig = Rig::new();
    let app = rig.app("Deploy Bot");
    let user = rig.owner.create_user("Ada", "Ada@contoso.example").unwrap();
    for text in [
        "deploy bot",
        &app.object_id.to_string(),
        &app.client_id().unwrap().to_string(),
    ] {
        assert_eq!(
            rig.owner.find_principal(text).unwrap().object_id,
            app.object_id,
            "{text}"
        );
    }
    assert_eq!(
        rig.owner.find_principal("ada@CONTOSO.example").unwrap().object_id,
        user.object_id
    );
    assert_eq!(user.principal_type(), PrincipalType::User);
    rig.app("Deploy Bot");
    assert_eq!(code(rig.owner.find_principal("Deploy Bot")), "Request_BadRequest");
    assert_eq!(code(rig.owner.find_principal("nobody")), "ResourceNotFound");
    let asked = PrincipalFilter {
        service_principal_name: app.client_id().map(|id| id.to_string()),
        ..PrincipalFilter::default()
    };
    assert_eq!(rig.owner.principals(&asked).unwrap(), [app]);
    let kind = PrincipalFilter {
        kind: Some(PrincipalKind::Application),
        ..PrincipalFilter::default()
    };
    assert_eq!(rig.owner.principals(&kind).unwrap().len(), 3);
}

#[test]
fn names_that_make_no_sense_are_refused() {
    let rig = Rig::new();
    for name in ["", " x", "x ", "a\nb", &"x".repeat(257)] {
        assert_eq!(
            code(rig.owner.create_group(name)),
            "InvalidResourceName",
            "{name:?}"
        );
    }
    for name in [
        "",
        "ada",
        "ada@",
        "@x",
        "a b@x",
        "a@b@c",
        "\u{e9}@x",
        &format!("{}@x", "a".repeat(120)),
    ] {
        assert_eq!(
            code(rig.owner.create_user("Ada", name)),
            "InvalidResourceName",
            "{name:?}"
        );
    }
    rig.owner.create_user("Ada", "ada@x.example").unwrap();
    assert_eq!(code(rig.owner.create_user("Ada", "ADA@x.example")), "Conflict");
    for name in ["", "ab", "-abc", "a/b", &"x".repeat(129)] {
        assert_eq!(
            code(rig.owner.create_identity(&identity(name))),
            "InvalidResourceName",
            "{name:?}"
        );
    }
}

fn identity(name: &str) -> NewIdentity {
    NewIdentity {
        name: name.to_owned(),
        resource_group: "rg".to_owned(),
        location: "local".to_owned(),
    }
}

#[test]
fn a_user_assigned_identity_is_a_resource_and_roles_decide_over_it() {
    let rig = Rig::new();
    let made = rig.owner.create_identity(&identity("service-id")).unwrap();
    assert_eq!(rig.owner.create_identity(&identity("SERVICE-ID")).unwrap(), made);
    let scope: ResourceId = made.resource().unwrap().parse().unwrap();
    let caller = rig.caller();
    assert_eq!(
        code(caller.create_identity(&identity("other-id"))),
        "AuthorizationFailed"
    );
    assert_eq!(
        code(caller.delete_principal(made.object_id)),
        "AuthorizationFailed"
    );
    rig.assign(caller.caller(), "Reader", &scope);
    assert_eq!(
        caller.principals(&PrincipalFilter::default()).unwrap(),
        std::slice::from_ref(&made)
    );

    let account = rig.account("acct");
    let at: ResourceId = account.resource_id().parse().unwrap();
    let client = made.client_id().unwrap().to_string();
    let operator = rig.caller();
    assert_eq!(
        code(operator.add_account_identity("acct", &client)),
        "AuthorizationFailed"
    );
    rig.assign(operator.caller(), "Cognitive Services Contributor", &at);
    assert_eq!(
        code(operator.add_account_identity("acct", &client)),
        "AuthorizationFailed"
    );
    rig.assign(operator.caller(), "Contributor", &scope);
    let with = operator.add_account_identity("acct", &client).unwrap();
    let shape = rig.control.account_shape(&with);
    assert_eq!(shape["identity"]["type"], "SystemAssigned, UserAssigned");
    let listed = &shape["identity"]["userAssignedIdentities"][scope.as_str()];
    assert_eq!(listed["principalId"], made.object_id.to_string());

    rig.owner.delete_principal(made.object_id).unwrap();
    let rig = rig.reopen();
    let left = rig.control.account("acct").unwrap();
    assert_eq!(left.user_assigned.len(), 1, "as on Azure, the reference stays");
    let without = rig.owner.remove_account_identity("acct", scope.as_str()).unwrap();
    assert!(without.user_assigned.is_empty());
    assert_eq!(
        code(assign(&rig.owner, rig.owner.caller(), "Reader", &scope)),
        "ResourceNotFound"
    );
}

#[test]
fn an_identity_that_is_made_anew_under_the_name_of_another_is_not_the_accounts() {
    let rig = Rig::new();
    let first = rig.owner.create_identity(&identity("service-id")).unwrap();
    rig.account("acct");
    let resource = first.resource().unwrap().to_owned();
    rig.owner.add_account_identity("acct", &resource).unwrap();
    let asks = |client: Uuid| {
        let account = rig.control.account("acct").unwrap();
        let key = Encryption {
            identity: Some(client),
            ..account.encryption.clone()
        };
        rig.control.asks_for_key(&account, &key).map(|who| who.object_id)
    };
    assert_eq!(asks(first.client_id().unwrap()), Some(first.object_id));

    rig.owner.delete_principal(first.object_id).unwrap();
    let second = rig.owner.create_identity(&identity("service-id")).unwrap();
    let client = second.client_id().unwrap();
    assert_eq!(asks(client), None, "nobody has given it to the account");
    let listed = |account: &Account| {
        let shape = rig.control.account_shape(account);
        shape["identity"]["userAssignedIdentities"][&resource].clone()
    };
    assert_eq!(listed(&rig.control.account("acct").unwrap()), json!({}));
    let with = rig.owner.add_account_identity("acct", &resource).unwrap();
    assert_eq!(listed(&with)["principalId"], json!(second.object_id));
    assert_eq!(asks(client), Some(second.object_id));
    let rig = rig.reopen();
    assert_eq!(
        rig.control.account("acct").unwrap().user_assigned,
        with.user_assigned
    );
}

#[test]
fn an_identity_that_others_can_sign_in_as_is_no_trusted_service() {
    let rig = Rig::new();
    let made = rig.owner.create_identity(&identity("service-id")).unwrap();
    let caller = Caller {
        object_id: made.object_id.to_string(),
        app_id: None,
        upn: None,
        tenant: rig.control.tenant(),
        issuer: String::new(),
    };
    let is_trusted = || rig.control.is_trusted_service(&caller);
    assert!(!is_trusted(), "it is no account's");
    rig.account("acct");
    rig.owner
        .add_account_identity("acct", made.resource().unwrap())
        .unwrap();
    assert!(is_trusted());
    let federation = NewFederation {
        display_name: None,
        issuer: "https://cluster.example/".to_owned(),
        subject: "app".to_owned(),
        audience: None,
        keys: ExternalKeys::Fixed(Signer::generate().unwrap().jwks()),
    };
    let federation = rig.owner.add_federation(made.object_id, federation).unwrap();
    assert!(!is_trusted(), "whom the cluster vouches for has its tokens too");
    rig.owner
        .remove_credential(made.object_id, federation.id)
        .unwrap();
    assert!(is_trusted());
}

#[test]
fn a_system_assigned_identity_lives_and_dies_with_its_account() {
    let rig = Rig::new();
    let account = rig.account("acct");
    let scope: ResourceId = account.resource_id().parse().unwrap();
    let identity = account.identity.unwrap();
    rig.assign(identity, "Key Vault Crypto User", &rig.vault);
    rig.assign(
        rig.app("user").object_id,
        "Cognitive Services OpenAI User",
        &scope,
    );
    assert_eq!(code(rig.owner.delete_principal(identity)), "Request_BadRequest");
    assert_eq!(code(rig.caller().delete_account("acct")), "AuthorizationFailed");
    rig.owner.delete_account("acct").unwrap();
    assert!(!rig.decides(identity, Some("k"), KeyAction::Unwrap));
    assert!(rig.control.accounts().borrow().is_empty());
    let rig = rig.reopen();
    assert!(rig.control.principal(identity).is_none() && rig.control.account("acct").is_none());
    let left = rig.owner.assignments(&rig.group, Default::default()).unwrap();
    assert!(left.iter().all(|known| known.scope != account.resource_id()));
    assert!(
        left.iter().any(|known| known.principal == identity),
        "what it had elsewhere is shown"
    );
}

#[test]
fn the_administrator_cannot_be_deleted_and_is_not_mistaken_for_another_application() {
    let rig = Rig::new();
    let administrator = rig.owner.caller();
    assert_eq!(
        code(rig.owner.delete_principal(administrator)),
        "Request_BadRequest"
    );
    for number in 0..8 {
        rig.app(&format!("app {number}"));
    }
    let rig = rig.reopen();
    let (found, renewed) = rig.control.ensure_administrator(None).unwrap();
    assert_eq!(found.object_id, administrator);
    assert!(renewed.is_some());
}

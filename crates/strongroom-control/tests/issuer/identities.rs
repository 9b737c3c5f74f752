//! Managed identities: App Service's flavour and the machines'.

use axum::body::Body;
use http::Request;
use std::sync::Arc;
use strongroom_control::{BuiltInRole, Encryption, IdentityHost, NewAccount, NewIdentity, Principal};
use uuid::Uuid;

use crate::rig::{Answer, Rig, START, VAULT, send};

struct Hosted {
    rig: Rig,
    system: Uuid,
    users: [Arc<Principal>; 2],
}

impl Hosted {
    fn new() -> Self {
        let rig = Rig::new();
        let account = rig.control.ensure_account(&NewAccount {
            name: "acct".to_owned(),
            resource_group: "rg".to_owned(),
            location: "local".to_owned(),
            encryption: Encryption::customer("https://kv1.vault.localhost", "customer", None),
        });
        let group = format!("/subscriptions/{}/resourceGroups/rg", rig.control.subscription());
        let owner = BuiltInRole::by_name("Owner").unwrap();
        rig.control
            .ensure_assignment(rig.administrator.object_id, owner, &group.parse().unwrap())
            .unwrap();
        let users = ["one", "two"].map(|name| {
            let new = NewIdentity {
                name: format!("identity-{name}"),
                resource_group: "rg".to_owned(),
                location: "local".to_owned(),
            };
            rig.actor().create_identity(&new).unwrap()
        });
        Self {
            system: account.unwrap().identity.unwrap(),
            users,
            rig,
        }
    }

    fn admit(&self, system: bool, users: usize) -> String {
        let host = IdentityHost {
            system_assigned: system.then_some(self.system),
            user_assigned: self.users.iter().take(users).map(|user| user.object_id).collect(),
        };
        self.rig.issuer.admit_host(host).unwrap().to_string()
    }

    async fn app_service(&self, secret: &str, more: &str) -> Answer {
        let uri = format!("/msi/token?api-version=2019-08-01&resource={VAULT}{more}");
        let request = Request::get(uri)
            .header("x-identity-header", secret)
            .body(Body::empty())
            .unwrap();
        send(self.rig.issuer.identity_routes(), request).await
    }

    async fn machine(&self, secret: &str, headers: &[(&str, &str)]) -> Answer {
        let uri =
            format!("/imds/{secret}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}");
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(
            self.rig.issuer.identity_routes(),
            request.body(Body::empty()).unwrap(),
        )
        .await
    }

    /// Whose token it is.
    async fn holder(&self, answer: &Answer) -> Option<Uuid> {
        let claims = self.rig.verify(answer.token()).await.ok()?;
        claims.oid.parse().ok()
    }
}

#[tokio::test]
async fn a_host_gets_the_identity_that_it_names() {
    let hosted = Hosted::new();
    let secret = hosted.admit(true, 2);
    let plain = hosted.app_service(&secret, "").await;
    assert_eq!(hosted.holder(&plain).await, Some(hosted.system));
    assert_eq!(plain.body["expires_on"], (START + 3600).to_string());
    for user in &hosted.users {
        let resource = user.resource().unwrap();
        for selector in [
            format!("&client_id={}", user.client_id().unwrap()),
            format!("&principal_id={}", user.object_id),
            format!("&object_id={}", user.object_id),
            format!("&mi_res_id={resource}"),
            format!("&msi_res_id={}", resource.to_uppercase()),
        ] {
            let answer = hosted.app_service(&secret, &selector).await;
            assert_eq!(hosted.holder(&answer).await, Some(user.object_id), "{selector}");
            assert_eq!(answer.body["client_id"], user.client_id().unwrap().to_string());
        }
    }
}

#[tokio::test]
async fn a_host_gets_no_identity_that_is_not_its_own() {
    let hosted = Hosted::new();
    let secret = hosted.admit(true, 1);
    let other = hosted.users[1].client_id().unwrap();
    let administrator = hosted.rig.administrator.client_id().unwrap();
    for selector in [
        format!("&client_id={other}"),
        format!("&client_id={administrator}"),
        "&client_id=x".to_owned(),
        format!(
            "&client_id={}&principal_id={}",
            hosted.users[0].client_id().unwrap(),
            hosted.users[0].object_id
        ),
    ] {
        assert_eq!(
            hosted.app_service(&secret, &selector).await.status,
            400,
            "{selector}"
        );
    }
    assert_eq!(hosted.app_service("wrong", "").await.status, 401);
    assert_eq!(hosted.app_service("", "").await.status, 401);
    let admitted = hosted.rig.issuer.admit_host(IdentityHost {
        system_assigned: Some(hosted.rig.administrator.object_id),
        user_assigned: Vec::new(),
    });
    assert!(admitted.is_err());
}

#[tokio::test]
async fn without_a_choice_the_only_identity_is_meant_and_among_several_none() {
    let hosted = Hosted::new();
    let one = hosted.admit(false, 1);
    let answer = hosted.app_service(&one, "").await;
    assert_eq!(hosted.holder(&answer).await, Some(hosted.users[0].object_id));
    let two = hosted.admit(false, 2);
    assert_eq!(hosted.app_service(&two, "").await.status, 400);
}

#[tokio::test]
async fn a_machine_shows_its_secret_in_the_path_and_was_not_tricked() {
    let hosted = Hosted::new();
    let secret = hosted.admit(true, 0);
    let good = hosted.machine(&secret, &[("metadata", "true")]).await;
    assert_eq!(hosted.holder(&good).await, Some(hosted.system));
    assert_eq!(good.body["expires_in"], "3600");
    for headers in [
        &[][..],
        &[("metadata", "false")],
        &[("metadata", "true"), ("x-forwarded-for", "10.0.0.1")],
    ] {
        assert_eq!(hosted.machine(&secret, headers).await.status, 400, "{headers:?}");
    }
    assert_eq!(hosted.machine("wrong", &[("metadata", "true")]).await.status, 401);
    let bare = Request::get(format!(
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}"
    ));
    let bare = bare.header("metadata", "true").body(Body::empty()).unwrap();
    assert_eq!(send(hosted.rig.issuer.identity_routes(), bare).await.status, 404);
}

#[tokio::test]
async fn a_token_for_something_unknown_is_refused_here_too() {
    let hosted = Hosted::new();
    let secret = hosted.admit(true, 0);
    let uri = format!(
        "/imds/{secret}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://evil.example"
    );
    let request = Request::get(uri)
        .header("metadata", "true")
        .body(Body::empty())
        .unwrap();
    let answer = send(hosted.rig.issuer.identity_routes(), request).await;
    assert_eq!((answer.status.as_u16(), answer.number()), (400, 500_011));
    for uri in [
        "/msi/token?resource=x",
        "/msi/token?api-version=1",
        "/msi/token?api-version=1&resource=https://evil.example",
    ] {
        let request = Request::get(uri)
            .header("x-identity-header", &secret)
            .body(Body::empty())
            .unwrap();
        let answer = send(hosted.rig.issuer.identity_routes(), request).await;
        // In the shape of App Service, whose `message` is what clients show.
        assert_eq!(
            (answer.status.as_u16(), &answer.body["statusCode"]),
            (400, &400.into()),
            "{uri}"
        );
        assert!(answer.body["message"].is_string());
    }
}

#[tokio::test]
async fn secrets_of_hosts_end_with_the_process() {
    let mut hosted = Hosted::new();
    let secret = hosted.admit(true, 0);
    hosted.rig.restart();
    assert_eq!(hosted.app_service(&secret, "").await.status, 401);
}

//! Microsoft Graph.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rig::{GRAPH, Rig, Told};

struct Ward {
    rig: Rig,
    /// The administrator's token for Graph.
    admin: String,
}

impl Ward {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let admin = rig.token(&format!("{GRAPH}//.default")).await;
        Self { rig, admin }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Told {
        self.rig.graph(&self.admin, method, path, body).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Told {
        self.ask(Method::POST, path, body).await
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[tokio::test]
async fn principals_are_found_as_az_looks_for_them() {
    let ward = Ward::new().await;
    let (app, client, _) = ward
        .rig
        .application("auditor", &format!("{GRAPH}/.default"))
        .await;
    let user = ward
        .rig
        .actor()
        .create_user("Ada Lovelace", "ada@example.org")
        .unwrap()
        .object_id;
    let group = ward.rig.actor().create_group("Key people").unwrap().object_id;

    let by_name = format!("/servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{client}')");
    let found = ward.get(&by_name).await;
    assert_eq!(
        (found.status.as_u16(), found.each("id")),
        (200, vec![app.to_string()])
    );
    assert_eq!(
        text(&found.body, "@odata.context"),
        format!("{GRAPH}/v1.0/$metadata#servicePrincipals")
    );
    assert_eq!(found.body["value"][0]["servicePrincipalNames"][0], client);
    let upn = ward
        .get("/users?$filter=userPrincipalName eq 'ADA@example.org'")
        .await;
    assert_eq!(upn.each("id"), [user.to_string()]);
    let identity = format!(
        "/servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{}')",
        ward.rig.nobody_id
    );
    assert!(ward.get(&identity).await.each("id").is_empty());

    let ids = json!({
        "ids": [ward.rig.nobody_id, user, group, Uuid::new_v4()],
        "types": ["user", "group", "servicePrincipal", "directoryObjectPartnerReference"],
    });
    let found = ward.post("/directoryObjects/getByIds", ids).await;
    assert_eq!(
        found.each("id"),
        [ward.rig.nobody_id, user, group].map(|id| id.to_string())
    );
    assert_eq!(
        found.each("@odata.type"),
        ["servicePrincipal", "user", "group"].map(|kind| format!("#microsoft.graph.{kind}"))
    );
    assert_eq!(found.body["value"][0]["servicePrincipalType"], "ManagedIdentity");
}

#[tokio::test]
async fn objects_are_shown_by_every_key_that_graph_knows() {
    let ward = Ward::new().await;
    let scope = format!("{GRAPH}/.default");
    let (app, client, _) = ward.rig.application("auditor", &scope).await;
    let user = ward
        .rig
        .actor()
        .create_user("Ada Lovelace", "ada@example.org")
        .unwrap()
        .object_id;
    let group = ward.rig.actor().create_group("Key people").unwrap().object_id;
    for (path, id) in [
        (format!("/servicePrincipals/{app}"), app),
        (format!("/servicePrincipals(appId='{client}')"), app),
        (format!("/users/{user}"), user),
        ("/users/ada@example.org".to_owned(), user),
        ("/users('ada@example.org')".to_owned(), user),
        (format!("/groups/{group}"), group),
        (format!("/directoryObjects/{group}"), group),
    ] {
        let one = ward.get(&path).await;
        assert_eq!(
            (one.status.as_u16(), text(&one.body, "id")),
            (200, id.to_string().as_str()),
            "{path}"
        );
    }
    let of_app = ward
        .get(&format!("/applications?$filter=appId eq '{client}'"))
        .await;
    let object = text(&of_app.body["value"][0], "id").to_owned();
    assert_ne!(
        object,
        app.to_string(),
        "an application is not its service principal"
    );
    assert_eq!(
        ward.get(&format!("/applications/{object}")).await.body["appId"],
        client
    );
    assert_eq!(ward.get(&format!("/applications/{app}")).await.status, 404);
    let wrong_kind = ward.get(&format!("/users/{group}")).await;
    assert_eq!(
        (wrong_kind.status.as_u16(), wrong_kind.code()),
        (404, "Request_ResourceNotFound")
    );
    assert!(wrong_kind.body["error"]["innerError"]["request-id"].is_string());
}

#[tokio::test]
async fn groups_tell_their_members_and_members_their_groups() {
    let ward = Ward::new().await;
    let actor = ward.rig.actor();
    let outer = actor.create_group("outer").unwrap().object_id;
    let inner = actor.create_group("inner").unwrap().object_id;
    let user = actor.create_user("Ada", "ada@example.org").unwrap().object_id;
    let reference = |id: Uuid| json!({"@odata.id": format!("{GRAPH}/v1.0/directoryObjects/{id}")});
    for (group, member) in [(outer, inner), (inner, user)] {
        let told = ward
            .post(&format!("/groups/{group}/members/$ref"), reference(member))
            .await;
        assert_eq!(told.status, 204, "{}", told.body);
    }
    let twice = ward
        .post(&format!("/groups/{outer}/members/$ref"), reference(inner))
        .await;
    assert_eq!((twice.status.as_u16(), twice.code()), (400, "Request_BadRequest"));

    let ids = async |path: &str| ward.get(path).await.each("id");
    let (outer, inner, user) = (outer.to_string(), inner.to_string(), user.to_string());
    assert_eq!(ids(&format!("/groups/{outer}/members")).await, [inner.as_str()]);
    assert_eq!(
        ids(&format!("/groups/{outer}/transitiveMembers")).await,
        [user.clone(), inner.clone()]
    );
    assert_eq!(ids(&format!("/users/{user}/memberOf")).await, [inner.as_str()]);
    assert_eq!(ids(&format!("/users/{user}/transitiveMemberOf")).await.len(), 2);
    let groups = ward
        .post(
            &format!("/users/{user}/getMemberGroups"),
            json!({"securityEnabledOnly": false}),
        )
        .await;
    assert_eq!(groups.body["value"].as_array().unwrap().len(), 2);
    let asked = json!({"groupIds": [outer, Uuid::new_v4()]});
    let in_which = ward
        .post(&format!("/directoryObjects/{user}/checkMemberGroups"), asked)
        .await;
    assert_eq!(in_which.body["value"], json!([outer]));
    let gone = ward
        .ask(
            Method::DELETE,
            &format!("/groups/{outer}/members/{inner}/$ref"),
            Value::Null,
        )
        .await;
    assert_eq!(gone.status, 204);
    assert!(ids(&format!("/groups/{outer}/members")).await.is_empty());
}

#[tokio::test]
async fn an_application_is_made_as_create_for_rbac_makes_it() {
    let ward = Ward::new().await;
    let made = ward.post("/applications", json!({"displayName": "ci"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let (object, client) = (text(&made.body, "id"), text(&made.body, "appId"));
    assert_eq!(made.body["passwordCredentials"], json!([]));
    let asked = json!({"passwordCredential": {"displayName": "rbac", "endDateTime": "2030-01-01T00:00:00Z"}});
    let secret = ward
        .post(&format!("/applications/{object}/addPassword"), asked)
        .await;
    assert_eq!(text(&secret.body, "endDateTime"), "2030-01-01T00:00:00Z");
    let principal = ward
        .post(
            "/servicePrincipals",
            json!({"appId": client, "accountEnabled": true}),
        )
        .await;
    assert_eq!(principal.status, 201);
    let token = ward
        .rig
        .token_of(
            client,
            text(&secret.body, "secretText"),
            &format!("{GRAPH}/.default"),
        )
        .await;
    // It is known now, and may not look around.
    let denied = ward.rig.graph(&token, Method::GET, "/users", Value::Null).await;
    assert_eq!(
        (denied.status.as_u16(), denied.code()),
        (403, "Authorization_RequestDenied")
    );
    let key = json!({"keyId": secret.body["keyId"]});
    assert_eq!(
        ward.post(&format!("/applications/{object}/removePassword"), key)
            .await
            .status,
        204
    );
    let shown = ward.get(&format!("/applications/{object}")).await;
    assert_eq!(shown.body["passwordCredentials"], json!([]));
    let gone = ward
        .ask(Method::DELETE, &format!("/applications/{object}"), Value::Null)
        .await;
    assert_eq!(gone.status, 204);
    assert_eq!(
        ward.get(&format!("/servicePrincipals(appId='{client}')"))
            .await
            .status,
        404
    );
    let none = ward.post("/servicePrincipals", json!({"appId": client})).await;
    assert_eq!(none.status, 400);
}

#[tokio::test]
async fn an_application_may_bring_a_certificate_and_is_not_made_without_it() {
    let ward = Ward::new().await;
    let made = rcgen::generate_simple_self_signed(["ci".to_owned()]);
    let key = |pem: &str| {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let body: Vec<&str> = lines.collect();
        json!({"displayName": "ci", "keyCredentials": [{"key": body.join("\n"), "displayName": "mine"}]})
    };
    // Whose key it is does not matter to a certificate, but it must be one for RSA.
    let curve = ward.post("/applications", key(&made.unwrap().cert.pem())).await;
    assert_eq!((curve.status.as_u16(), curve.code()), (400, "Request_BadRequest"));
    let none = ward
        .post(
            "/applications",
            json!({"displayName": "ci", "keyCredentials": [{"key": "?"}]}),
        )
        .await;
    assert_eq!(none.status, 400);
    let list = ward.get("/applications?$filter=displayName eq 'ci'").await;
    assert!(list.each("id").is_empty(), "all of it or nothing");
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let pem = rcgen::CertificateParams::new(["ci".to_owned()])
        .unwrap()
        .self_signed(&rsa)
        .unwrap()
        .pem();
    let good = ward.post("/applications", key(&pem)).await;
    assert_eq!(good.status, 201, "{}", good.body);
    assert_eq!(good.body["keyCredentials"][0]["displayName"], "mine");
}

#[tokio::test]
async fn names_and_certificates_change_and_nothing_else_does() {
    let ward = Ward::new().await;
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let key = |name: &str| {
        let made = rcgen::CertificateParams::new([name.to_owned()])
            .unwrap()
            .self_signed(&rsa);
        let body: String = made
            .unwrap()
            .pem()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        json!({"key": body, "displayName": name, "keyId": Uuid::new_v4()})
    };
    let made = ward
        .post(
            "/applications",
            json!({"displayName": "ci", "keyCredentials": [key("one")]}),
        )
        .await;
    let path = format!("/applications/{}", text(&made.body, "id"));
    let change = async |body: Value| ward.ask(Method::PATCH, &path, body).await.status.as_u16();
    assert_eq!(change(json!({"displayName": "cd"})).await, 204);
    // What is sent back stays, what is new comes, what is left out goes.
    let kept = made.body["keyCredentials"][0].clone();
    assert_eq!(change(json!({"keyCredentials": [kept, key("two")]})).await, 204);
    let shown = ward.get(&path).await.body;
    let names = |shown: &Value| {
        let keys = shown["keyCredentials"].as_array().unwrap();
        keys.iter()
            .map(|key| text(key, "displayName").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (text(&shown, "displayName"), names(&shown)),
        ("cd", vec!["one".to_owned(), "two".to_owned()])
    );
    assert_eq!(change(json!({"keyCredentials": [key("three")]})).await, 204);
    assert_eq!(names(&ward.get(&path).await.body), ["three"]);
    for wrong in [
        json!({"web": {}}),
        json!({"displayName": ""}),
        json!({"keyCredentials": [{"key": "?"}]}),
        json!({"displayName": "ef", "keyCredentials": [{"key": "bm8gY2VydGlmaWNhdGU="}]}),
        json!({"displayName": 7}),
        json!({"keyCredentials": {}}),
        json!([]),
    ] {
        assert_eq!(change(wrong.clone()).await, 400, "{wrong}");
    }
    let shown = ward.get(&path).await.body;
    assert_eq!(
        (text(&shown, "displayName"), names(&shown)),
        ("cd", vec!["three".to_owned()]),
        "all of a change or nothing"
    );
    let identity = ward.rig.nobody_id;
    let told = ward
        .ask(
            Method::PATCH,
            &format!("/servicePrincipals/{identity}"),
            json!({"displayName": "x"}),
        )
        .await;
    assert_eq!(told.status, 400, "an identity is called as its resource is");
}

#[tokio::test]
async fn changes_of_the_directory_are_on_record_refused_ones_too_and_looks_are_not() {
    let ward = Ward::new().await;
    let rows = || {
        let journal = &ward.rig.journal;
        let entries = journal.read(0, journal.size()).unwrap();
        let rows = entries
            .iter()
            .map(|entry| serde_json::from_slice::<Value>(entry).unwrap());
        let of = |row: Value| {
            format!(
                "{} {}",
                row["operationName"]["value"].as_str().unwrap(),
                text(&row["status"], "value")
            )
        };
        rows.map(of).collect::<Vec<_>>()
    };
    let before = rows().len();
    let made = ward.post("/applications", json!({"displayName": "ci"})).await;
    let object = text(&made.body, "id");
    ward.get("/applications").await;
    ward.post("/directoryObjects/getByIds", json!({"ids": []})).await;
    ward.post(&format!("/users/{object}/getMemberGroups"), json!({}))
        .await;
    let (_, _, token) = ward.rig.application("other", &format!("{GRAPH}/.default")).await;
    ward.rig
        .graph(
            &token,
            Method::DELETE,
            &format!("/applications/{object}"),
            Value::Null,
        )
        .await;
    ward.post(&format!("/applications/{object}/addPassword"), json!({}))
        .await;
    let application = "microsoft.directory/applications";
    assert_eq!(
        rows()[before..],
        [
            format!("{application}/write Started"),
            format!("{application}/write Succeeded"),
            format!("{application}/delete Started"),
            format!("{application}/delete Failed"),
            format!("{application}/addPassword/action Started"),
            format!("{application}/addPassword/action Succeeded"),
        ]
    );
}

#[tokio::test]
async fn lists_are_filtered_cut_and_come_in_pages() {
    let ward = Ward::new().await;
    for number in 0..250 {
        ward.rig.actor().create_group(&format!("g{number:03}")).unwrap();
    }
    let mut told = ward.get("/groups?$select=displayName&$count=true").await;
    assert_eq!(told.body["@odata.count"], 250);
    assert_eq!(told.body["value"][0], json!({"displayName": "g000"}));
    let (mut names, mut pages) = (told.each("displayName"), 1);
    while let Some(next) = told.body["@odata.nextLink"].as_str() {
        let next = next.strip_prefix(&format!("{GRAPH}/v1.0")).unwrap().to_owned();
        told = ward.get(&next).await;
        names.extend(told.each("displayName"));
        pages += 1;
    }
    assert_eq!((names.len(), pages), (250, 3));
    assert!(names.is_sorted());
    let few = ward
        .get("/groups?$filter=startswith(displayName,'g1')&$top=7")
        .await;
    assert_eq!(few.each("displayName").len(), 7);
    let exact = "/groups?$filter=displayName eq 'g007' and mailNickname eq 'g007'";
    assert_eq!(ward.get(exact).await.each("displayName"), ["g007"]);
    for wrong in [
        "$filter=nothing eq 'x'",
        "$filter=displayName eq",
        "$filter=atScope()",
        "$top=0",
        "$top=x",
        "$expand=members",
        "$orderby=id",
        "$skiptoken=*",
    ] {
        assert_eq!(ward.get(&format!("/groups?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn only_tokens_for_graph_open_graph_and_applications_have_no_me() {
    let ward = Ward::new().await;
    let rig = &ward.rig;
    let none = rig.graph("", Method::GET, "/users", Value::Null).await;
    assert_eq!(
        (none.status.as_u16(), none.code()),
        (401, "InvalidAuthenticationToken")
    );
    assert!(none.header("www-authenticate").contains("authorization_uri"));
    let for_arm = rig.graph(&rig.owner, Method::GET, "/users", Value::Null).await;
    assert_eq!(for_arm.status, 401, "a token for Resource Manager");
    for audience in [
        "https://graph.microsoft.com",
        "https://localhost:8443",
        "https://graph.localhost",
    ] {
        let token = rig.token(&format!("{audience}/.default")).await;
        assert_eq!(
            rig.graph(&token, Method::GET, "/users", Value::Null).await.status,
            200,
            "{audience}"
        );
    }
    let me = ward.get("/me").await;
    assert_eq!((me.status.as_u16(), me.code()), (400, "BadRequest"));
    assert_eq!(ward.get("/organization").await.each("id"), [rig.control.tenant()]);
    for (method, path, status) in [
        (Method::GET, "/nothing", 400),
        (Method::GET, "/", 400),
        (Method::GET, "/users/a/b/c/d/e/f/g/h/i", 400),
        (Method::PATCH, "/users", 405),
        (Method::GET, "/groups/x", 404),
        (Method::POST, "/groups", 400),
    ] {
        let told = ward.ask(method, path, Value::Null).await;
        assert_eq!(told.status, status, "{path}: {}", told.body);
    }
    let ids = json!({"ids": vec![Uuid::new_v4(); 1001]});
    assert_eq!(ward.post("/directoryObjects/getByIds", ids).await.status, 400);
    let huge = json!({"displayName": "x".repeat(200_000)});
    assert_eq!(ward.post("/groups", huge).await.status, 413);
}

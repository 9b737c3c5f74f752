use http::Method;
use serde_json::{Value, json};

use crate::rig::Rig;

const GROUP: &str = "{sub}/resourceGroups/rg";
const LOG: &str = "{sub}/providers/Microsoft.Insights/eventtypes/management/values";

fn statuses(rows: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = rows["value"].as_array().unwrap().iter();
    rows.map(|row| {
        (
            text(&row["operationName"]["value"]),
            text(&row["status"]["value"]),
        )
    })
    .collect()
}

#[tokio::test]
async fn every_write_is_on_record_from_its_beginning_to_its_end_and_refused_ones_too() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let body = json!({"location": "eastus"});
    let headers = [
        ("x-ms-correlation-request-id", "c-1"),
        ("x-ms-client-request-id", "r-1"),
    ];
    rig.ask_as(&rig.nobody, Method::PUT, GROUP, body, &headers).await;
    rig.get(GROUP).await;
    let told = rig.get(LOG).await;
    let write = "Microsoft.Resources/subscriptions/resourceGroups/write";
    let row = |status: &str| (write.to_owned(), status.to_owned());
    assert_eq!(
        statuses(&told.body),
        [row("Failed"), row("Succeeded"), row("Started")]
    );

    let refused = &told.body["value"][0];
    assert_eq!(
        (&refused["correlationId"], &refused["resourceGroupName"]),
        (&json!("c-1"), &json!("rg"))
    );
    assert_eq!(refused["subStatus"]["value"], "Forbidden (HTTP Status Code: 403)");
    assert_eq!(refused["authorization"]["action"], write);
    assert_eq!(refused["httpRequest"]["clientRequestId"], "r-1");
    assert_eq!(refused["httpRequest"]["method"], "PUT");
    assert_eq!(refused["level"], "Error");
    let message = refused["properties"]["statusMessage"].as_str().unwrap();
    assert!(message.contains("AuthorizationFailed"), "{message}");
    assert_eq!(
        refused["caller"],
        refused["claims"]["http://schemas.microsoft.com/identity/claims/objectidentifier"]
    );
    let begun = &told.body["value"][2];
    assert_eq!(begun["operationId"], told.body["value"][1]["operationId"]);
    assert_eq!(rig.journal.size(), 3);
}

#[tokio::test]
async fn the_log_takes_the_filters_and_the_paging_of_clients() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.group("other").await;
    for round in 0..120 {
        rig.put(
            GROUP,
            json!({"location": "eastus", "tags": {"round": round.to_string()}}),
        )
        .await;
    }
    let filter = "eventTimestamp ge 2020-11-23T13:10:42.534772 and eventTimestamp le 2040-11-23T19:10:42.534772 and resourceGroupName eq 'RG'";
    let (rows, pages) = rig.all(&format!("{LOG}?$filter={filter}"), "eventDataId").await;
    assert_eq!((rows.len(), pages), (242, 2));
    let mut different = rows.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 242);
    for (filter, count) in [
        ("resourceGroupName eq 'other'", 2),
        ("resourceGroupName eq 'other' and status eq 'Started'", 1),
        ("resourceProvider eq 'Microsoft.KeyVault'", 0),
        ("eventTimestamp ge 2040-01-01T00:00:00Z", 0),
        ("eventTimestamp le 2020-01-01T00:00:00Z", 0),
        (
            "resourceGroupName eq 'other' and eventChannels eq 'Admin, Operation'",
            2,
        ),
    ] {
        let told = rig.get(&format!("{LOG}?$filter={filter}")).await;
        assert_eq!(told.body["value"].as_array().unwrap().len(), count, "{filter}");
    }
    let selected = rig
        .get(&format!(
            "{LOG}?$filter=resourceGroupName eq 'other'&$select=caller, status"
        ))
        .await;
    assert_eq!(selected.body["value"][0].as_object().unwrap().len(), 2);
    assert_eq!(
        rig.get(&format!("{LOG}?$filter=eventTimestamp ge yesterday"))
            .await
            .code(),
        "BadRequest"
    );
    let stranger = rig.ask_as(&rig.nobody, Method::GET, LOG, Value::Null, &[]).await;
    assert_eq!(stranger.body["value"], json!([]));
}

#[tokio::test]
async fn an_operation_that_goes_on_is_accepted_and_then_ends() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let begun = rig.ask(Method::DELETE, GROUP, Value::Null).await;
    assert_eq!(begun.status, 202);
    let ended = async {
        loop {
            let told = rig
                .get(&format!(
                    "{LOG}?$filter=status eq 'Succeeded' and resourceGroupName eq 'rg'"
                ))
                .await;
            if told.body["value"].as_array().unwrap().len() == 2 {
                return rig.get(LOG).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), ended)
        .await
        .unwrap();
    let statuses: Vec<String> = statuses(&told.body)
        .into_iter()
        .map(|(_, status)| status)
        .take(3)
        .collect();
    assert!(
        statuses.contains(&"Accepted".to_owned()) && statuses.contains(&"Started".to_owned()),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn the_index_is_made_anew_from_the_journal_which_an_outsider_can_check() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let before = rig.get(LOG).await.body;
    let checkpoint = rig.journal.checkpoint().unwrap();
    assert_eq!(rig.journal.verifying_key().verify(&checkpoint).unwrap().size, 2);
    for name in ["activity.db", "activity.db-wal", "activity.db-shm"] {
        let _ = std::fs::remove_file(rig.place.path().join("control").join(name));
    }
    let rig = rig.again().await;
    assert_eq!(rig.get(LOG).await.body, before);
    let entry = rig.journal.read(0, 1).unwrap().remove(0);
    let entry: Value = serde_json::from_slice(&entry).unwrap();
    assert_eq!(entry, before["value"][1]);
}

#[tokio::test]
async fn a_lost_database_beside_a_log_of_writes_is_not_begun_anew() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let parts = strongroom_control::ArmParts {
        folder: rig.place.path().join("elsewhere"),
        control: rig.control.clone(),
        verifier: rig.control.issuer("https://localhost:8443").verifier([]),
        login: String::new(),
        clock: std::sync::Arc::new(crate::rig::TickingClock::default()),
        journal: rig.journal.clone(),
        audit: rig.audits.clone(),
        service: rig.service.clone(),
    };
    assert!(matches!(
        strongroom_control::Arm::open(parts),
        Err(strongroom_control::ArmError::Lost { .. })
    ));
}

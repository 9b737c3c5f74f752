//! Ten thousand accounts: put where an earlier run of the program would have put them.

use http::Method;
use serde_json::json;

use crate::rig::Rig;

#[tokio::test]
async fn ten_thousand_resources_are_listed_by_paging_and_counted() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.put(
        "{sub}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/a00000",
        json!({"location": "eastus", "sku": {"name": "S0"}, "properties": {"publicNetworkAccess": "Enabled"}}),
    )
    .await;
    let database = rusqlite::Connection::open(rig.place.path().join("control/resources.db")).unwrap();
    let more = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 9999)
        INSERT INTO resource SELECT replace(id, 'a00000', printf('a%05d', n)), replace(shown, 'a00000', printf('a%05d', n)),
        type, printf('a%05d', n), location, grp, tracked, created_ms, changed_ms, etag,
        replace(json, 'a00000', printf('a%05d', n)) FROM resource, number WHERE name = 'a00000'";
    assert_eq!(database.execute(more, []).unwrap(), 9999);
    drop(database);

    let rig = rig.again().await;
    let (names, pages) = rig
        .all("{sub}/providers/Microsoft.Storage/storageAccounts", "name")
        .await;
    assert_eq!((names.len(), pages), (10_000, 10));
    let (names, pages) = rig
        .all("{sub}/resources?$filter=resourceGroup eq 'rg'", "name")
        .await;
    assert_eq!((names.len(), pages), (10_000, 10));
    for (query, count) in [
        (
            "Resources | where type =~ 'microsoft.storage/storageaccounts' | count",
            10_000,
        ),
        (
            "Resources | where properties.publicNetworkAccess == 'Enabled' and name < 'a00100' | count",
            100,
        ),
    ] {
        let path = "/providers/Microsoft.ResourceGraph/resources";
        let told = rig.ask(Method::POST, path, json!({"query": query})).await;
        assert_eq!(told.body["data"][0]["Count"], count, "{query}");
    }
}

use http::Method;
use serde_json::{Value, json};

use crate::rig::{Rig, Told};

const PATH: &str = "/providers/Microsoft.ResourceGraph/resources";

async fn estate() -> Rig {
    let rig = Rig::new().await;
    for group in ["one", "two"] {
        rig.put(
            &format!("{{sub}}/resourceGroups/{group}"),
            json!({"location": "eastus", "tags": {"of": group}}),
        )
        .await;
        let at = |path: &str| format!("{{sub}}/resourceGroups/{group}/providers/{path}");
        let store = json!({
            "location": "eastus", "kind": "StorageV2", "sku": {"name": "LRS"}, "tags": {"env": group},
            "properties": {"size": if group == "one" { 3 } else { 5 }, "rules": ["a", "b"], "encryption": {"keySource": "Microsoft.Keyvault"}},
        });
        rig.put(
            &at(&format!("Microsoft.Storage/storageAccounts/store{group}")),
            store,
        )
        .await;
        rig.put(
            &at(&format!("Microsoft.Search/searchServices/find-{group}")),
            json!({"location": "westus"}),
        )
        .await;
        rig.put(
            &at(&format!(
                "Microsoft.Storage/storageAccounts/store{group}/blobServices/default"
            )),
            json!({}),
        )
        .await;
    }
    rig
}

async fn ask(rig: &Rig, query: &str) -> Told {
    rig.ask(Method::POST, PATH, json!({"query": query})).await
}

/// The rows of an answer, as lists of values in the order of the columns.
async fn rows(rig: &Rig, query: &str) -> Vec<Value> {
    let body = json!({"query": query, "options": {"resultFormat": "table"}});
    let told = rig.ask(Method::POST, PATH, body).await;
    assert_eq!(told.status, 200, "{query}: {}", told.body);
    told.body["data"]["rows"].as_array().unwrap().clone()
}

async fn give(rig: &Rig, cases: &[(&str, Value)]) {
    for (query, expected) in cases {
        assert_eq!(Value::Array(rows(rig, query).await), *expected, "{query}");
    }
}

#[tokio::test]
async fn rows_are_filtered_projected_and_ordered() {
    let rig = estate().await;
    give(&rig, &[
        ("Resources | count", json!([[4]])),
        ("resources | where type =~ 'Microsoft.Storage/StorageAccounts' | count", json!([[2]])),
        ("Resources | where type == 'microsoft.storage/storageaccounts' and properties.size > 3 | project name", json!([["storetwo"]])),
        ("Resources | project name | order by name asc | take 2", json!([["find-one"], ["find-two"]])),
        ("Resources | order by name | project name | limit 1", json!([["storetwo"]])),
        ("Resources | top 1 by name asc | project name, resourceGroup", json!([["find-one", "one"]])),
        ("Resources | where name has 'one' | project name", json!([["find-one"]])),
        ("Resources | where name !contains 'ONE' and name startswith 'STORE' | project name", json!([["storetwo"]])),
        ("Resources | where name contains_cs 'ONE' | count", json!([[0]])),
        ("Resources | where name in~ ('FIND-ONE', 'nothing') | project name", json!([["find-one"]])),
        ("Resources | where name !in ('find-one') and name endswith 'one' | project name", json!([["storeone"]])),
        ("Resources | where isnotempty(sku.name) | project sku.name | take 1", json!([["LRS"]])),
        ("Resources | where properties.size between (4 .. 6) | project s = tolong(properties['size']) * 2", json!([[10]])),
        ("Resources | where tags.env =~ 'ONE' | extend big = iff(properties.size > 4, 'big', 'small') | project big", json!([["small"]])),
        ("Resources | where not(type has 'storage') | project coalesce(kind, 'none'), strcat(name, '!'), toupper(location) | take 1", json!([["none", "find-one!", "WESTUS"]])),
        ("Resources | where properties.rules[1] == 'b' | project array_length(properties.rules), split(id, '/')[4] | take 1", json!([[2, "one"]])),
        ("Resources | where name has_any ('one', 'nothing') | count", json!([[1]])),
        ("Resources | distinct type | order by type asc", json!([["microsoft.search/searchservices"], ["microsoft.storage/storageaccounts"]])),
        ("Resources // a comment\n| where name == \"storeone\" | mv-expand rule = properties.rules | project name, rule", json!([["storeone", "a"], ["storeone", "b"]])),
        ("Resources | where now() > ago(1d) and datetime(2020-01-01) < now() | count", json!([[4]])),
        ("Resources | extend x = dynamic({'a': [1]}) | project x.a[0] | take 1", json!([[1]])),
    ])
    .await;
}

#[tokio::test]
async fn rows_are_summed_up_and_joined() {
    let rig = estate().await;
    let subscription = rig.control.subscription();
    give(&rig, &[
        ("Resources | summarize count() by type | order by type asc", json!([["microsoft.search/searchservices", 2], ["microsoft.storage/storageaccounts", 2]])),
        ("Resources | summarize total = sum(properties.size), least = min(properties.size), countif(location == 'eastus'), dcount(type)", json!([[8, 3, 2, 2]])),
        ("Resources | where type has 'storage' | summarize make_set(location), avg(properties.size), max(name)", json!([[["eastus"], 4, "storetwo"]])),
        ("Resources | where name == 'none' | summarize count()", json!([[0]])),
        ("ResourceContainers | where type == 'microsoft.resources/subscriptions/resourcegroups' | project name | order by name asc", json!([["one"], ["two"]])),
        ("ResourceContainers | where type == 'microsoft.resources/subscriptions' | project name", json!([[subscription]])),
        (
            "Resources | where type has 'storage' | join kind=inner (ResourceContainers | project resourceGroup = name, of = tags.of) on resourceGroup | project name, of | order by name asc",
            json!([["storeone", "one"], ["storetwo", "two"]]),
        ),
        (
            "Resources | join kind=leftouter (Resources | where name == 'storeone' | project other = id) on $left.id == $right.other | project name, isnull(other) | order by name asc | take 3",
            json!([["find-one", true], ["find-two", true], ["storeone", false]]),
        ),
        ("Resources | join kind=leftanti (Resources | where location == 'eastus') on id | count", json!([[2]])),
    ])
    .await;
    let roles = "authorizationresources | where type =~ 'microsoft.authorization/roleassignments'
        | extend role = tostring(properties.roleDefinitionId)
        | join kind=inner (authorizationresources | where type =~ 'microsoft.authorization/roledefinitions'
            | project role = id, roleName = tostring(properties.roleName)) on role
        | project roleName, tostring(properties.scope)";
    assert_eq!(rows(&rig, roles).await, [json!(["Owner", rig.subscription])]);
}

#[tokio::test]
async fn answers_come_in_pages_and_both_shapes() {
    let rig = estate().await;
    let query = "Resources | project name | order by name asc";
    let mut names = Vec::new();
    let mut options = json!({"$top": 3});
    loop {
        let told = rig
            .ask(Method::POST, PATH, json!({"query": query, "options": options}))
            .await;
        assert_eq!(told.body["totalRecords"], 4);
        let data = told.body["data"].as_array().unwrap().clone();
        names.extend(data.iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        let Some(token) = told.body["$skipToken"].as_str() else {
            break;
        };
        options = json!({"$top": 3, "$skipToken": token});
    }
    assert_eq!(names, ["find-one", "find-two", "storeone", "storetwo"]);
    let whole = ask(&rig, "Resources | where name == 'storeone'").await.body;
    assert_eq!(whole["data"][0]["properties"]["size"], 3);
    assert_eq!(whole["data"][0]["resourceGroup"], "one");
    let foreign = json!({"query": "Resources", "subscriptions": ["00000000-0000-0000-0000-000000000001"]});
    assert_eq!(rig.ask(Method::POST, PATH, foreign).await.body["totalRecords"], 0);
    let stranger = rig
        .ask_as(
            &rig.nobody,
            Method::POST,
            PATH,
            json!({"query": "Resources"}),
            &[],
        )
        .await;
    assert_eq!(stranger.body["data"], json!([]));
}

#[tokio::test]
async fn what_is_not_served_is_said_clearly() {
    let rig = estate().await;
    for (query, code, words) in [
        (
            "Resources | evaluate bag_unpack(tags)",
            "UnsupportedOperator",
            "the operator evaluate is not supported",
        ),
        (
            "Resources | where name matches regex 'a'",
            "UnsupportedOperator",
            "matches regex",
        ),
        (
            "Resources | where geo_distance(1) > 2",
            "UnsupportedOperator",
            "the function geo_distance",
        ),
        (
            "Resources | summarize percentile(name)",
            "UnsupportedOperator",
            "the aggregation percentile",
        ),
        (
            "Resources | join kind=fullouter (Resources) on id",
            "UnsupportedOperator",
            "fullouter",
        ),
        (
            "HealthResources | count",
            "SemanticFailure",
            "there is no table called HealthResources",
        ),
        ("Resources | where nothing == 1", "SemanticFailure", "'nothing'"),
        ("Resources | where name ==", "ParserFailure", "expected"),
        ("Resources | where name == 'a", "ParserFailure", "does not end"),
        ("Resources | take -1", "ParserFailure", "a number of rows"),
        ("", "ParserFailure", "the name of a table"),
    ] {
        let told = ask(&rig, query).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (400, "BadRequest"),
            "{query}"
        );
        assert_eq!(told.body["error"]["details"][0]["code"], code, "{query}");
        let message = told.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{query}: {message}");
    }
}

#[tokio::test]
async fn queries_that_nest_or_cost_too_much_are_refused() {
    let rig = estate().await;
    let deep = format!("Resources | where {}name{}", "(".repeat(100), ")".repeat(100));
    let chain = format!("Resources | where {}true", "true or ".repeat(1000));
    let minus = format!("Resources | extend x = 1{}", " + 1".repeat(3000));
    let joins = format!("Resources {}", "| join (Resources) on id ".repeat(9));
    let doubling = format!(
        "Resources | extend x = name {}",
        "| extend x = strcat(x, x) ".repeat(60)
    );
    let nested = format!(
        "Resources | extend x = name {}",
        "| extend x = pack_array(x, x) ".repeat(60)
    );
    let growing = format!(
        "Resources | extend x = strcat({}) | extend x = replace_string(x, 'a', x) | extend x = replace_string(x, 'a', x)",
        ["'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"; 60].join(",")
    );
    for query in [
        deep,
        chain,
        minus,
        joins,
        doubling,
        nested,
        growing,
        " ".repeat(40_000),
    ] {
        let told = ask(&rig, &query).await;
        let shown: String = query.chars().take(80).collect();
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (400, "BadRequest"),
            "{shown}"
        );
    }
}

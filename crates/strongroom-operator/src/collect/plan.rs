//! How each question is put: paths, api-versions, queries.

use serde_json::{Value, json};
use url::Url;

use crate::ask::Question;
use crate::cloud::Cloud;
use crate::fact::Source;

const SUBSCRIPTIONS: &str = "2022-12-01";
const RESOURCE_GRAPH: &str = "2024-04-01";
pub(crate) const COGNITIVE: &str = "2025-06-01";
pub(crate) const KEY_VAULT: &str = "2026-02-01";
pub(crate) const AUTHORIZATION: &str = "2022-04-01";
pub(crate) const LOCKS: &str = "2020-05-01";
pub(crate) const ACTIVITY: &str = "2015-04-01";
pub(crate) const DIAGNOSTICS: &str = "2021-05-01-preview";
pub(crate) const SECURITY: &str = "2024-01-01";
pub(crate) const KEYS: &str = "2025-07-01";

/// How far back audit logs are asked: a week.
const LOG_SPAN: &str = "P7D";

/// As many rows as Resource Graph gives at once.
const GRAPH_ROWS: u32 = 1000;

/// Types whose resources may hold what an account depends on, have a customer's key, or take logs.
const DEPENDENTS: [&str; 14] = [
    "microsoft.storage/storageaccounts",
    "microsoft.search/searchservices",
    "microsoft.documentdb/databaseaccounts",
    "microsoft.operationalinsights/workspaces",
    "microsoft.operationalinsights/clusters",
    "microsoft.machinelearningservices/workspaces",
    "microsoft.eventhub/namespaces",
    "microsoft.servicebus/namespaces",
    "microsoft.appconfiguration/configurationstores",
    "microsoft.containerregistry/registries",
    "microsoft.kusto/clusters",
    "microsoft.dbforpostgresql/flexibleservers",
    "microsoft.dbformysql/flexibleservers",
    "microsoft.datafactory/factories",
];

const ALERTS: [&str; 3] = [
    "microsoft.insights/activitylogalerts",
    "microsoft.insights/scheduledqueryrules",
    "microsoft.insights/metricalerts",
];

/// Who is told by an action group. The addresses of most receivers hold their secrets, so of those only their number is asked.
const ACTION_GROUPS: &str = "Resources | where type =~ 'microsoft.insights/actiongroups' \
    | project id, name, type, enabled = properties.enabled, emailReceivers = properties.emailReceivers, \
    smsReceivers = properties.smsReceivers, voiceReceivers = properties.voiceReceivers, \
    webhookReceivers = array_length(properties.webhookReceivers), \
    logicAppReceivers = array_length(properties.logicAppReceivers), \
    azureFunctionReceivers = array_length(properties.azureFunctionReceivers), \
    automationRunbookReceivers = array_length(properties.automationRunbookReceivers), \
    azureAppPushReceivers = array_length(properties.azureAppPushReceivers), \
    armRoleReceivers = array_length(properties.armRoleReceivers), \
    eventHubReceivers = array_length(properties.eventHubReceivers), \
    itsmReceivers = array_length(properties.itsmReceivers)";

pub(crate) fn subscriptions(cloud: &Cloud) -> Question {
    manager(
        cloud,
        "/subscriptions",
        SUBSCRIPTIONS,
        crate::question::SUBSCRIPTIONS,
        None,
    )
}

/// A list of Resource Manager; `path` begins with a slash.
pub(crate) fn manager(
    cloud: &Cloud,
    path: &str,
    version: &str,
    question: &'static str,
    about: Option<&str>,
) -> Question {
    let mut url = cloud.manager(path);
    url.query_pairs_mut().append_pair("api-version", version);
    Question {
        source: Source::ResourceManager,
        question,
        about: about.map(str::to_owned),
        url,
        body: None,
        is_list: true,
    }
}

/// A question to Resource Graph. Rows come in the order of their ids, so that pages neither repeat nor skip one.
fn graph(cloud: &Cloud, subscriptions: &[String], query: &str, question: &'static str) -> Question {
    let mut url = cloud.manager("/providers/Microsoft.ResourceGraph/resources");
    url.query_pairs_mut().append_pair("api-version", RESOURCE_GRAPH);
    let body = json!({
        "subscriptions": subscriptions,
        "query": format!("{query} | order by id asc"),
        "options": {
            "$top": GRAPH_ROWS,
            "resultFormat": "objectArray",
            "authorizationScopeFilter": "AtScopeAboveAndBelow",
        },
    });
    Question {
        source: Source::ResourceGraph,
        question,
        about: None,
        url,
        body: Some(body.to_string()),
        is_list: true,
    }
}

fn of_type(kind: &str) -> String {
    format!("Resources | where type =~ '{kind}'")
}

fn of_types(kinds: &[&str]) -> String {
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
    format!("Resources | where type in~ ({})", kinds.join(", "))
}

/// Accounts: all, or those of these names.
pub(crate) fn accounts(cloud: &Cloud, subscriptions: &[String], names: &[String]) -> Question {
    let mut query = of_type("microsoft.cognitiveservices/accounts");
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        query = format!("{query} and name in~ ({})", names.join(", "));
    }
    graph(cloud, subscriptions, &query, crate::question::ACCOUNTS)
}

/// A text of the query language.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Everything else that Resource Graph is asked.
pub(crate) fn inventory(cloud: &Cloud, subscriptions: &[String]) -> Vec<Question> {
    use crate::question as word;
    let ask = |query: &str, question| graph(cloud, subscriptions, query, question);
    vec![
        ask(
            &of_types(&["microsoft.keyvault/vaults", "microsoft.keyvault/managedhsms"]),
            word::VAULTS,
        ),
        ask(
            &of_type("microsoft.managedidentity/userassignedidentities"),
            word::IDENTITIES,
        ),
        ask(
            &of_type("microsoft.network/privateendpoints"),
            word::PRIVATE_ENDPOINTS,
        ),
        ask(&of_types(&DEPENDENTS), word::DEPENDENTS),
        ask(&of_types(&ALERTS), word::ALERTS),
        ask(ACTION_GROUPS, word::ALERTS),
        ask("ResourceContainers", word::CONTAINERS),
        ask(
            "authorizationresources | where type =~ 'microsoft.authorization/roleassignments'",
            word::ROLE_ASSIGNMENTS,
        ),
        ask(
            "authorizationresources | where type =~ 'microsoft.authorization/roledefinitions'",
            word::ROLE_DEFINITIONS,
        ),
    ]
}

/// A question to a vault; `path` begins with a slash.
pub(crate) fn vault(
    vault: &Url,
    path: &str,
    question: &'static str,
    about: String,
    is_list: bool,
) -> Question {
    let mut url = vault.clone();
    url.set_path(path);
    url.query_pairs_mut().append_pair("api-version", KEYS);
    Question {
        source: Source::KeyVault,
        question,
        about: Some(about),
        url,
        body: None,
        is_list,
    }
}

/// What Microsoft Graph knows of these principals.
pub(crate) fn principals(cloud: &Cloud, ids: &[String]) -> Option<Question> {
    let body: Value = json!({ "ids": ids });
    Some(Question {
        source: Source::Directory,
        question: crate::question::PRINCIPALS,
        about: None,
        url: cloud.directory("/v1.0/directoryObjects/getByIds")?,
        body: Some(body.to_string()),
        is_list: true,
    })
}

/// Who is in a group, through other groups too.
pub(crate) fn members(cloud: &Cloud, group: &str) -> Option<Question> {
    let mut url = cloud.directory(&format!("/v1.0/groups/{group}/transitiveMembers"))?;
    url.query_pairs_mut()
        .append_pair("$select", "id")
        .append_pair("$top", "999");
    Some(Question {
        source: Source::Directory,
        question: crate::question::GROUP_MEMBERS,
        about: Some(group.to_owned()),
        url,
        body: None,
        is_list: true,
    })
}

/// What a workspace of Log Analytics has of the use of a vault's keys: the last of each kind, by key, caller and result.
pub(crate) fn key_use(cloud: &Cloud, workspace: &str, vault: &str) -> Option<Question> {
    let query = format!(
        "AzureDiagnostics \
         | where ResourceProvider =~ 'MICROSOFT.KEYVAULT' and ResourceId =~ {} \
         | where OperationName in~ ('KeyUnwrap', 'KeyWrap', 'KeyDecrypt', 'KeyEncrypt') \
         | extend objectid = tostring(column_ifexists('identity_claim_http_schemas_microsoft_com_identity_claims_objectidentifier_g', '')) \
         | extend id_s = tostring(column_ifexists('id_s', '')), requestUri_s = tostring(column_ifexists('requestUri_s', '')) \
         | summarize TimeGenerated = max(TimeGenerated) by OperationName, ResultType, objectid, id_s, requestUri_s, ResourceId",
        quoted(vault)
    );
    Some(Question {
        source: Source::AuditLog,
        question: crate::question::KEY_USE,
        about: Some(vault.to_owned()),
        url: cloud.logs(&format!("/v1/workspaces/{workspace}/query"))?,
        body: Some(json!({ "query": query, "timespan": LOG_SPAN }).to_string()),
        is_list: false,
    })
}

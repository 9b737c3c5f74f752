use super::*;
use crate::finding::Severity;

const WHOLE: &str = "\
# The approved design.
version: 1
decision: https://git.example/decisions/12
accounts:
  - id: /subscriptions/s/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/Main
    owner: ai-platform
    key:
      uri: https://KV.vault.azure.net:443/keys/Customer
      version: latest
      owner: security
    identity: system
    network: restricted
    vault-network: trusted-services
    dependencies:
      - id: /subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/Data
        owner: data
        key: same
    retention: {soft-delete-days: 90, audit-log-days: 365}
    drill:
      revocation: 60s
      recovery: 10m
      every-days: 90
vaults:
  - id: /subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/KV
    owner: security
exceptions:
  - control: N07
    resource: /subscriptions/s/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/Main
    approver: ciso
    until: 2027-01-31
    reason: \"pinned: until the rotation is rehearsed\"
monitoring:
  - name: key disabled
    query: |
      AzureDiagnostics
      | where OperationName == 'KeyUpdate'
acceptance:
  - no-failure-from: high
  - nothing-unchecked-from: critical
  - passes: N01
";

fn parse(text: &str) -> Result<Design, DesignError> {
    Design::parse(text, &|control| {
        control.len() == 3 && control.starts_with(['A', 'N'])
    })
}

fn faults(text: &str) -> Vec<(usize, String)> {
    let error = parse(text).expect_err(text);
    error
        .faults
        .into_iter()
        .map(|fault| (fault.line, fault.what))
        .collect()
}

#[test]
fn everything_that_a_design_can_say_is_read_and_written_back() {
    let design = parse(WHOLE).unwrap();
    let account = design.accounts.values().next().unwrap();
    assert_eq!(account.key.uri, "https://kv.vault.azure.net/keys/customer");
    assert_eq!(account.drill.unwrap().recovery, Some(Duration::from_secs(600)));
    assert_eq!(
        account.dependencies.values().next().unwrap().key,
        Some(DependencyKey::Same)
    );
    assert_eq!(design.exceptions[0].until, "2027-01-31");
    assert!(design.monitoring[0].query.contains("KeyUpdate"));
    assert_eq!(design.acceptance[0], Criterion::NoFailureFrom(Severity::High));
    let again = parse(&design.to_yaml()).unwrap();
    let trimmed = |design: &Design| {
        let mut design = design.clone();
        design
            .monitoring
            .iter_mut()
            .for_each(|one| one.query = one.query.trim().to_owned());
        design
    };
    assert_eq!(trimmed(&again), trimmed(&design));
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line() {
    let wrong = WHOLE
        .replace("version: 1", "version: 2")
        .replace("identity: system", "identity: nobody")
        .replace("network: restricted", "network: open")
        .replace("every-days: 90", "every-days: often")
        .replace("    owner: ai-platform", "    ownr: ai-platform")
        .replace("control: N07", "control: Q07")
        .replace("2027-01-31", "2027-02-30")
        .replace("no-failure-from: high", "no-failure-from: awful");
    let told = faults(&wrong);
    let lines: Vec<usize> = told.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 6, 11, 12, 22, 27, 30, 38], "{told:?}");
    for (at, part) in [
        (0, "version 1"),
        (1, "no `ownr`"),
        (2, "ARM id"),
        (3, "public, restricted, private"),
        (4, "days"),
        (5, "no control `Q07`"),
        (6, "YYYY-MM-DD"),
        (7, "critical"),
    ] {
        assert!(told[at].1.contains(part), "{:?}", told[at]);
    }
}

#[test]
fn what_is_no_yaml_or_more_than_a_design_is_refused_where_it_stands() {
    let bomb = "a: &a [x, x]\nb: *a\n";
    let deep = format!("version: 1\naccounts: {}{}", "[".repeat(40), "]".repeat(40));
    for (text, line, part) in [
        ("version: 1\naccounts: [\n", 3, "not YAML"),
        ("version: 1\n\tx: 1\n", 1, "a tab"),
        ("", 1, "empty"),
        ("version: 1\n---\nversion: 1\n", 2, "second document"),
        (bomb, 1, "anchors"),
        ("version: !!int 1\n", 1, "tags"),
        ("version: 1\nversion: 1\n", 2, "again"),
        ("- version: 1\n", 1, "named parts"),
        ("version: 1\naccounts: all\n", 2, "a list"),
        (deep.as_str(), 2, "nests deeper"),
    ] {
        let told = faults(text);
        assert!(
            told.iter().any(|(at, what)| *at == line && what.contains(part)),
            "{text:?}: {told:?}"
        );
    }
}

#[test]
fn a_design_that_contradicts_itself_is_refused() {
    let excepted = WHOLE.replace("passes: N01", "passes: N07");
    assert!(faults(&excepted)[0].1.contains("line 40 demands that it passes"));
    let (head, rest) = WHOLE.split_once("vaults:").unwrap();
    let account = head.split_once("accounts:\n").unwrap().1;
    let twice = format!("{head}{account}vaults:{rest}");
    assert!(faults(&twice)[0].1.contains("twice"));
    let other = account
        .replace("accounts/Main", "accounts/Other")
        .replace("owner: security", "owner: nobody");
    let owners = format!("{head}{other}vaults:{rest}");
    assert!(faults(&owners)[0].1.contains("which one?"));
}

fn fact(question: &str, about: Option<&str>, rows: serde_json::Value) -> crate::fact::Fact {
    use crate::fact::{Bytes, Outcome, Request, Source};
    crate::fact::Fact {
        source: Source::ResourceGraph,
        question: question.to_owned(),
        about: about.map(str::to_owned),
        caller: "me".to_owned(),
        request: Request {
            method: "POST".to_owned(),
            url: "https://management.azure.com/".to_owned(),
            api_version: None,
            body: None,
        },
        outcome: Outcome::Answered {
            status: 200,
            headers: BTreeMap::new(),
            body: Bytes(serde_json::json!({ "data": rows }).to_string().into_bytes()),
        },
        received_ms: 1,
        clock_offset_ms: None,
    }
}

fn live(key: &str, default_action: &str) -> Live {
    use crate::question as word;
    use serde_json::json;
    let account = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.CognitiveServices/accounts/Main";
    let storage = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/data";
    let facts = [
        fact(
            word::ACCOUNTS,
            None,
            json!([{
                "id": account, "tags": {"OWNER": "ai"}, "location": "South Central US",
                "properties": {"encryption": {"keySource": "Microsoft.KeyVault", "keyVaultProperties": {
                    "keyVaultUri": "https://KV.vault.azure.net:443/", "keyName": key, "keyVersion": ""}}},
            }]),
        ),
        fact(
            word::VAULTS,
            None,
            json!([{
                "id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv",
                "properties": {"vaultUri": "https://kv.vault.azure.net/", "softDeleteRetentionInDays": "90",
                    "networkAcls": {"defaultAction": default_action, "bypass": "AzureServices"}},
            }]),
        ),
        fact(
            word::DEPENDENTS,
            None,
            json!([{"id": storage, "properties": {"encryption": {"keySource": "Microsoft.Keyvault", "keyvaultproperties":
                {"keyvaulturi": "https://kv.vault.azure.net", "keyname": "customer"}}}}]),
        ),
        fact(
            word::CONNECTIONS,
            Some(&format!("{account}/projects/p")),
            json!([{"id": "c", "properties": {"category": "AzureStorage", "metadata": {"ResourceId": storage.to_uppercase()}}}]),
        ),
    ];
    Live::read(facts.into_iter().map(Ok::<_, ()>)).unwrap()
}

#[test]
fn what_is_live_is_read_however_azure_spells_it() {
    let design = live("Customer", "deny").design();
    let account = design.accounts.values().next().unwrap();
    assert_eq!(account.owner.as_deref(), Some("ai"));
    assert_eq!(account.key.uri, "https://kv.vault.azure.net/keys/customer");
    assert_eq!(account.key.version, VersionPolicy::Latest);
    assert_eq!(account.vault_network, Some(VaultPath::TrustedServices));
    assert_eq!(account.retention.soft_delete_days, Some(90));
    let dependency = account.dependencies.values().next().unwrap();
    assert_eq!(dependency.key, Some(DependencyKey::Same));
    // Written, read and held against what it was written from, nothing differs.
    let again = parse(&design.to_yaml()).unwrap();
    assert_eq!(live("customer", "Deny").differences(&again), []);
}

#[test]
fn each_difference_is_told_apart() {
    let design = parse(&live("Customer", "Deny").design().to_yaml()).unwrap();
    let told = live("other", "Allow").differences(&design);
    let what: Vec<&str> = told.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(what[..2], ["key", "the vault's network"], "{told:?}");
    // The storage account was under the account's key, and now is under another than the account's.
    assert!(what[2].starts_with("key of dependency"), "{told:?}");
    let gone = Live::default().differences(&design);
    assert_eq!((gone[0].what.as_str(), gone[0].live.as_str()), ("account", ""));
    let unapproved = live("customer", "Deny").differences(&Design::default());
    assert_eq!(
        (unapproved[0].approved.as_str(), unapproved[0].live.as_str()),
        ("", "it is there")
    );
}

//! A01 to A12: the account by itself, as other checkers ask, without their defects.

use super::cite::{iso, mcsb, nist, policy, scanner};
use super::verdict::{Judged, Verdict, need, shown};
use super::{Judge, Rule};
use crate::design::NetworkPath;
use crate::finding::{Control, Severity};
use crate::world::{Account, Encryption, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "A01",
            question: "Is the account's data at rest under a customer's key?",
            severity: Severity::High,
            sources: &[
                policy("67121cc7-ff39-4ab8-b7e3-95b84dab487d v2.2.0"),
                scanner("Checkov", "CKV2_AZURE_22"),
                scanner("Powerpipe", "cognitive_account_encrypted_with_cmk"),
            ],
            remedy: "az cognitiveservices account update --name <account> --resource-group <group> --encryption '{\"keySource\":\"Microsoft.KeyVault\",\"keyVaultProperties\":{\"keyVaultUri\":\"<vault-uri>\",\"keyName\":\"<key>\"}}'",
            conflicts: &[
                "Checkov demands a resource of its own for the key in Terraform; what counts here is what is live.",
            ],
            mappings: &[nist("SC-28"), nist("SC-12"), iso("A.8.24"), mcsb("DP-5")],
        },
        judge: Judge::Account(|_, account, _| customer_key(account)),
    },
    Rule {
        control: Control {
            id: "A02",
            question: "Can the account use a customer's key at all?",
            severity: Severity::Info,
            sources: &[scanner("Powerpipe", "cognitive_account_encrypted_with_cmk")],
            remedy: "az cognitiveservices account show --name <account> --resource-group <group> --query properties.capabilities",
            conflicts: &["Powerpipe counts an account that cannot as well encrypted."],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-5")],
        },
        judge: Judge::Account(|_, account, _| capable(account)),
    },
    Rule {
        control: Control {
            id: "A03",
            question: "Has the account a managed identity?",
            severity: Severity::Medium,
            sources: &[
                policy("fe3fd216-4f83-4fc1-8984-2bbec80a3418"),
                scanner("Checkov", "CKV_AZURE_238"),
                scanner("PSRule", "AZR-000281"),
            ],
            remedy: "az cognitiveservices account identity assign --name <account> --resource-group <group>",
            conflicts: &["PSRule asks this of kind TextAnalytics alone."],
            mappings: &[nist("IA-9"), iso("A.5.16"), mcsb("IM-3")],
        },
        judge: Judge::Account(|_, account, _| has_identity(account)),
    },
    Rule {
        control: Control {
            id: "A04",
            question: "Are the account's own keys turned off?",
            severity: Severity::Medium,
            sources: &[
                policy("71ef260a-8f18-47b7-abcb-62d0673d94dc"),
                scanner("Checkov", "CKV_AZURE_236"),
                scanner("azqr", "cog-008"),
            ],
            remedy: "az resource update --ids <account-id> --set properties.disableLocalAuth=true",
            conflicts: &["Powerpipe's reason says the opposite of what it found."],
            mappings: &[nist("IA-2"), nist("AC-3"), iso("A.5.17"), mcsb("IM-1")],
        },
        judge: Judge::Account(|_, account, _| {
            Ok(Verdict::by(
                &if account.local_auth_disabled == Some(true) {
                    Vec::new()
                } else {
                    vec!["account keys work, which nobody's role limits".to_owned()]
                },
                "account keys are turned off",
                [account.fact],
            ))
        }),
    },
    Rule {
        control: Control {
            id: "A05",
            question: "Is the account closed to all networks but those that are named?",
            severity: Severity::High,
            sources: &[
                policy("037eea7a-bd0a-46c5-9a66-03aea78705d3 v3.3.0"),
                scanner("Checkov", "CKV_AZURE_134"),
                scanner("PSRule", "AZR-000280"),
            ],
            remedy: "az resource update --ids <account-id> --set properties.publicNetworkAccess=Disabled",
            conflicts: &[
                "Powerpipe counts an account that does not show publicNetworkAccess as closed; it is open.",
            ],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2")],
        },
        judge: Judge::Account(|world, account, _| closed(world, account)),
    },
    Rule {
        control: Control {
            id: "A06",
            question: "Is the account reached through an approved private endpoint?",
            severity: Severity::Medium,
            sources: &[
                policy("d6759c02-b87f-42b7-892e-71b3f471d782"),
                scanner("PSRule", "AZR-000283"),
                scanner("azqr", "cog-004"),
            ],
            remedy: "az network private-endpoint create --name <account>-link --resource-group <group> --vnet-name <network> --subnet <subnet> --private-connection-resource-id <account-id> --group-id account --connection-name <account>",
            conflicts: &["PSRule looks at publicNetworkAccess alone."],
            mappings: &[nist("SC-7"), iso("A.8.22"), mcsb("NS-2")],
        },
        judge: Judge::Account(|_, account, _| {
            let network = &account.network;
            let wrong = (network.approved_links == 0).then(|| {
                format!(
                    "no private endpoint is approved ({} wait or were turned down)",
                    network.other_links
                )
            });
            let wrong: Vec<String> = wrong.into_iter().collect();
            Ok(Verdict::by(
                &wrong,
                format!("{} private endpoints are approved", network.approved_links),
                [account.fact],
            ))
        }),
    },
    Rule {
        control: Control {
            id: "A07",
            question: "Are the account's audit logs delivered anywhere?",
            severity: Severity::Medium,
            sources: &[
                policy("1b4d1c4e-934c-4703-944c-27c82c06bebb"),
                scanner("azqr", "cog-001"),
            ],
            remedy: "az monitor diagnostic-settings create --name strongroom-audit --resource <account-id> --logs '[{\"categoryGroup\":\"audit\",\"enabled\":true}]' --workspace <workspace>",
            conflicts: &[],
            mappings: &[nist("AU-2"), nist("AU-12"), iso("A.8.15"), mcsb("LT-3")],
        },
        judge: Judge::Account(|world, account, _| logged(world, account)),
    },
    Rule {
        control: Control {
            id: "A08",
            question: "May the account call only hosts that are named?",
            severity: Severity::Medium,
            sources: &[scanner("Checkov", "CKV_AZURE_247")],
            remedy: "az resource update --ids <account-id> --set properties.restrictOutboundNetworkAccess=true",
            conflicts: &[],
            mappings: &[nist("SC-7"), nist("AC-4"), iso("A.8.12"), mcsb("DP-2")],
        },
        judge: Judge::Account(|_, account, _| {
            Ok(Verdict::by(
                &if account.outbound_restricted == Some(true) {
                    Vec::new()
                } else {
                    vec!["the account may call any host".to_owned()]
                },
                "outbound calls are limited to hosts that are named",
                [account.fact],
            ))
        }),
    },
    Rule {
        control: Control {
            id: "A09",
            question: "Does an account of a kind that keeps data only there bring storage of the customer's own?",
            severity: Severity::Medium,
            sources: &[policy("46aa9b05-0e60-4eae-a88b-1e9d374fa515")],
            remedy: "az resource update --ids <account-id> --set properties.userOwnedStorage='[{\"resourceId\":\"<storage-id>\"}]'",
            conflicts: &[],
            mappings: &[nist("SC-28"), iso("A.8.24"), mcsb("DP-5")],
        },
        judge: Judge::Account(|_, account, _| own_storage(account)),
    },
    Rule {
        control: Control {
            id: "A10",
            question: "Is Defender for AI services on in the account's subscription?",
            severity: Severity::Medium,
            sources: &[policy("c2c0c6d8-007b-4a48-8d9b-3539bddd8e87")],
            remedy: "az security pricing create --name AI --tier Standard",
            conflicts: &[],
            mappings: &[nist("SI-4"), iso("A.8.16"), mcsb("LT-1")],
        },
        judge: Judge::Account(|world, account, _| defended(world, account)),
    },
    Rule {
        control: Control {
            id: "A12",
            question: "Does a tag say who owns the account?",
            severity: Severity::Low,
            sources: &[
                policy("871b6d14-10aa-478d-b590-94f262ecfa99"),
                scanner("azqr", "cog-007"),
            ],
            remedy: "az resource tag --ids <account-id> --is-incremental --tags owner=<owner>",
            conflicts: &[],
            mappings: &[nist("CM-8"), iso("A.5.9"), mcsb("AM-1")],
        },
        judge: Judge::Account(|_, account, _| {
            let wrong = account
                .tags
                .owner
                .is_none()
                .then(|| format!("none of {} tags names an owner", account.tags.count));
            let wrong: Vec<String> = wrong.into_iter().collect();
            Ok(Verdict::by(&wrong, "a tag names the owner", [account.fact]))
        }),
    },
];

fn customer_key(account: &Account) -> Judged {
    Ok(match &account.encryption {
        Encryption::Customer(key) => Verdict::pass(
            format!(
                "the account names {}; whether that holds is for N01 to N08 to say",
                key.shown
            ),
            [account.fact],
        ),
        // Absent is the service's own: Resource Manager shows no default here.
        Encryption::Service => Verdict::fail("the account is under the service's own key", [account.fact]),
        Encryption::Unknown(source) => {
            return shown(
                None,
                account.fact,
                &format!("what the keySource '{source}' means"),
            );
        }
    })
}

fn capable(account: &Account) -> Judged {
    if let Encryption::Customer(_) = account.encryption {
        return Ok(Verdict::pass("the account uses one", [account.fact]));
    }
    let capabilities = shown(
        account.capabilities.as_ref(),
        account.fact,
        "the account's capabilities",
    )?;
    let can = capabilities
        .iter()
        .any(|name| name.eq_ignore_ascii_case("CustomerManagedKey"));
    let wrong = if can {
        Vec::new()
    } else {
        vec!["the account's kind, tier or region cannot use a customer's key".to_owned()]
    };
    Ok(Verdict::by(
        &wrong,
        "the account can use a customer's key",
        [account.fact],
    ))
}

fn has_identity(account: &Account) -> Judged {
    let identity = shown(account.identity.as_ref(), account.fact, "the account's identity")?;
    let wrong = if identity.is_any() {
        Vec::new()
    } else {
        vec!["the account has no managed identity: it can ask no vault".to_owned()]
    };
    Ok(Verdict::by(
        &wrong,
        "the account has a managed identity",
        [account.fact],
    ))
}

fn closed(world: &World, account: &Account) -> Judged {
    let network = &account.network;
    let mut wrong = Vec::new();
    // What is absent is at its default, and open.
    if !network.is_closed() {
        wrong.push("everybody is let in: public access is on, and no default denies".to_owned());
    }
    let approved = world
        .design
        .as_ref()
        .and_then(|design| design.accounts.get(account.id.as_str()));
    match approved.and_then(|approved| approved.network) {
        Some(NetworkPath::Private) if network.public != Some(false) => {
            wrong.push("private endpoints alone were approved, and public access is on".to_owned());
        }
        Some(NetworkPath::Public) if !wrong.is_empty() => {
            return Ok(Verdict::pass(
                "everybody is let in, as was approved",
                [account.fact],
            ));
        }
        Some(NetworkPath::Public | NetworkPath::Restricted | NetworkPath::Private) | None => {}
    }
    let how = if network.public == Some(false) {
        "public access is off".to_owned()
    } else {
        format!(
            "only {} addresses and {} networks are let in",
            network.addresses, network.networks
        )
    };
    Ok(Verdict::by(&wrong, how, [account.fact]))
}

fn logged(world: &World, account: &Account) -> Judged {
    let (settings, fact) = need(world.settings_of(&account.id), || {
        "there are no diagnostic settings".to_owned()
    })?;
    let delivers = settings
        .iter()
        .any(|setting| setting.delivers_category("Audit", &["audit", "allLogs"]));
    let wrong = if delivers {
        Vec::new()
    } else {
        vec![format!(
            "none of {} diagnostic settings delivers the audit log",
            settings.len()
        )]
    };
    Ok(Verdict::by(
        &wrong,
        "the audit log is delivered",
        [account.fact, fact],
    ))
}

/// Kinds that keep what they keep under a customer's key only in storage of the customer's (coverage of 2026-08-24).
const NEED_STORAGE: [&str; 2] = ["SpeechServices", "ContentUnderstanding"];

fn own_storage(account: &Account) -> Judged {
    if !NEED_STORAGE
        .iter()
        .any(|kind| kind.eq_ignore_ascii_case(&account.kind))
    {
        return Ok(Verdict::not_applicable(
            format!("kind {} has storage of its own", account.kind),
            [account.fact],
        ));
    }
    let wrong = if account.own_storage.is_empty() {
        vec!["the account brings no storage of the customer's".to_owned()]
    } else {
        Vec::new()
    };
    Ok(Verdict::by(
        &wrong,
        "the account brings storage of the customer's",
        [account.fact],
    ))
}

fn defended(world: &World, account: &Account) -> Judged {
    let (on, fact) = need(world.defender(&account.id, "AI"), || {
        "the subscription has no plans".to_owned()
    })?;
    let wrong = if on {
        Vec::new()
    } else {
        vec!["Defender for AI services is off".to_owned()]
    };
    Ok(Verdict::by(&wrong, "Defender for AI services is on", [fact]))
}

/// What the page for Azure OpenAI says of the permission model, for those who must follow it.
pub(super) const OPENAI_POLICIES: &str =
    "Azure OpenAI encryption of data at rest, 2025-11-26: the vault must use legacy access policies";

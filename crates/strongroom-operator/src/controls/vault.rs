//! B01 to B13: the vaults that hold accounts' keys.

use jiff::Timestamp;

use super::account::OPENAI_POLICIES;
use super::cite::{ACCESS_DEFAULT, OPENAI_PAGE, SOFT_DELETE, cis, iso, mcsb, nist, policy, scanner};
use super::verdict::{Judged, Verdict, need, shown};
use super::{Judge, Rule};
use crate::finding::{Control, Severity};
use crate::world::{Lookup, Vault, World};

/// A rule for vaults that are no managed HSMs.
macro_rules! of_vaults {
    ($judge:expr) => {
        Judge::Vault(|world, vault, now| {
            if vault.hsm {
                return Ok(Verdict::not_applicable("a managed HSM", [vault.fact]));
            }
            let judge: fn(&World, &Vault, Timestamp) -> Judged = $judge;
            judge(world, vault, now)
        })
    };
}

/// A rule for managed HSMs.
macro_rules! of_hsms {
    ($judge:expr) => {
        Judge::Vault(|world, vault, now| {
            if !vault.hsm {
                return Ok(Verdict::not_applicable("no managed HSM", [vault.fact]));
            }
            let judge: fn(&World, &Vault, Timestamp) -> Judged = $judge;
            judge(world, vault, now)
        })
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "B01",
            question: "Can what is deleted in the vault be had back?",
            severity: Severity::High,
            sources: &[
                policy("1e66c121-a66a-4b1f-9b83-0fd99bf0fc2d"),
                scanner("Prowler", "keyvault_recoverable"),
                scanner("azqr", "kv-008"),
                SOFT_DELETE,
            ],
            remedy: "az keyvault update --name <vault> --enable-soft-delete true",
            conflicts: &["An older azqr compares pointers, so that an explicit 'false' is never caught."],
            mappings: &[nist("CP-9"), nist("SC-12"), iso("A.8.13"), mcsb("DP-8")],
        },
        judge: of_vaults!(|world, vault, _| soft_delete(world, vault)),
    },
    Rule {
        control: Control {
            id: "B02",
            question: "Is what is deleted in the vault safe from being purged before its time?",
            severity: Severity::High,
            sources: &[
                policy("0b60c0b2-2dc2-4e1c-b5c9-abbed971de53"),
                scanner("Prowler", "keyvault_recoverable"),
                scanner("Checkov", "CKV_AZURE_110"),
                cis("8.3.5"),
            ],
            remedy: "az keyvault update --name <vault> --enable-purge-protection true",
            conflicts: &["It cannot be taken back."],
            mappings: &[nist("CP-9"), nist("SC-12"), iso("A.8.13"), mcsb("DP-8")],
        },
        judge: of_vaults!(|_, vault, _| purge_protection(vault)),
    },
    Rule {
        control: Control {
            id: "B03",
            question: "Do roles decide who may use the vault's keys?",
            severity: Severity::High,
            sources: &[
                policy("12d4fa5e-1f9f-4c21-97a9-b99b3c6611b5"),
                scanner("Prowler", "keyvault_rbac_enabled"),
                cis("8.3.6"),
                ACCESS_DEFAULT,
                OPENAI_PAGE,
            ],
            remedy: "az keyvault update --name <vault> --enable-rbac-authorization true",
            conflicts: &[
                "CIS 8.3.6 and MCSB PA-7 ask for roles; Azure OpenAI encryption of data at rest (2025-11-26) asked for access policies; the page for Foundry (2026-08-10) recommends roles. Changing the model ends every access policy at once: assign the roles first.",
            ],
            mappings: &[nist("AC-3"), nist("AC-6"), iso("A.5.15"), mcsb("PA-7")],
        },
        judge: of_vaults!(|world, vault, _| roles(world, vault)),
    },
    Rule {
        control: Control {
            id: "B04",
            question: "Is the vault's firewall on?",
            severity: Severity::High,
            sources: &[
                policy("55615ac9-af46-4a59-874e-391cc3dfb490 v3.3.0"),
                scanner("Checkov", "CKV_AZURE_109"),
            ],
            remedy: "az keyvault update --name <vault> --default-action Deny --bypass AzureServices",
            conflicts: &[
                "With the firewall on, trusted services must be let through, or the account loses its key (N05).",
            ],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2"), mcsb("DP-8")],
        },
        judge: of_vaults!(|_, vault, _| firewall(vault)),
    },
    Rule {
        control: Control {
            id: "B05",
            question: "Is public access to the vault disabled?",
            severity: Severity::High,
            sources: &[
                policy("405c5871-3e91-4644-8a63-58e19d68ff5b"),
                scanner("Checkov", "CKV_AZURE_189"),
                cis("8.3.7"),
                OPENAI_PAGE,
            ],
            remedy: "az keyvault update --name <vault> --public-network-access Disabled",
            conflicts: &[
                "CIS 8.3.7 asks for public access off; Azure OpenAI encryption of data at rest (2025-11-26) asks that trusted services pass. Off, with the bypass on, satisfies both.",
            ],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2")],
        },
        judge: of_vaults!(|_, vault, _| public_access(vault)),
    },
    Rule {
        control: Control {
            id: "B06",
            question: "Is the vault reached through an approved private endpoint?",
            severity: Severity::High,
            sources: &[
                policy("a6abeaec-4d90-4a02-805f-6b26c4d3fbe9"),
                scanner("Prowler", "keyvault_private_endpoints"),
                scanner("Checkov", "CKV2_AZURE_32"),
                cis("8.3.8"),
            ],
            remedy: "az network private-endpoint create --name <vault>-link --resource-group <group> --vnet-name <network> --subnet <subnet> --private-connection-resource-id <vault-id> --group-id vault --connection-name <vault>",
            conflicts: &[],
            mappings: &[nist("SC-7"), iso("A.8.22"), mcsb("NS-2")],
        },
        judge: of_vaults!(|_, vault, _| private_link(vault)),
    },
    Rule {
        control: Control {
            id: "B07",
            question: "Are networks let into the vault by service endpoints?",
            severity: Severity::Low,
            sources: &[policy("ea4d6841-2173-4317-9747-ff522a45120f")],
            remedy: "az keyvault network-rule add --name <vault> --vnet-name <network> --subnet <subnet>",
            conflicts: &["A private endpoint makes a service endpoint needless."],
            mappings: &[nist("SC-7"), iso("A.8.22"), mcsb("NS-1")],
        },
        judge: of_vaults!(|_, vault, _| service_endpoint(vault)),
    },
    Rule {
        control: Control {
            id: "B08",
            question: "Is the vault's audit log delivered?",
            severity: Severity::High,
            sources: &[
                policy("cf820ca0-f99e-4f3e-84fb-66e913812d21"),
                scanner("Prowler", "keyvault_logging_enabled"),
                scanner("PSRule", "AZR-000119"),
                cis("6.1.1.4"),
            ],
            remedy: "az monitor diagnostic-settings create --name strongroom-audit --resource <vault-id> --logs '[{\"categoryGroup\":\"audit\",\"enabled\":true}]' --workspace <workspace>",
            conflicts: &[
                "Prowler asks for the groups audit and allLogs together; either delivers AuditEvent.",
            ],
            mappings: &[
                nist("AU-2"),
                nist("AU-12"),
                iso("A.8.15"),
                mcsb("LT-3"),
                mcsb("DP-8"),
            ],
        },
        judge: of_vaults!(|world, vault, _| audit_log(world, vault)),
    },
    Rule {
        control: Control {
            id: "B09",
            question: "Is Defender for Key Vault on in the vault's subscription?",
            severity: Severity::High,
            sources: &[policy("0e6763cc-5078-4e64-889d-ff4d9a839047"), cis("8.1.8.1")],
            remedy: "az security pricing create --name KeyVaults --tier Standard",
            conflicts: &[],
            mappings: &[nist("SI-4"), iso("A.8.16"), mcsb("LT-1")],
        },
        judge: of_vaults!(|world, vault, _| defended(world, vault)),
    },
    Rule {
        control: Control {
            id: "B10",
            question: "Does no access policy grant everything, or the right to purge?",
            severity: Severity::Medium,
            sources: &[scanner("PSRule", "AZR-000118")],
            remedy: "az keyvault set-policy --name <vault> --object-id <principal> --key-permissions get wrapKey unwrapKey",
            conflicts: &[],
            mappings: &[nist("AC-6"), iso("A.8.2"), mcsb("PA-7")],
        },
        judge: of_vaults!(|_, vault, _| policies(vault)),
    },
    Rule {
        control: Control {
            id: "B11",
            question: "Has the managed HSM purge protection?",
            severity: Severity::High,
            sources: &[policy("c39ba22d-4428-4149-b981-70acb31fc383")],
            remedy: "az keyvault update-hsm --hsm-name <vault> --enable-purge-protection true",
            conflicts: &[],
            mappings: &[nist("CP-9"), nist("SC-12"), iso("A.8.13"), mcsb("DP-8")],
        },
        judge: of_hsms!(|_, vault, _| purge_protection(vault)),
    },
    Rule {
        control: Control {
            id: "B12",
            question: "Is the managed HSM's audit log delivered?",
            severity: Severity::High,
            sources: &[policy("a2a5b911-5617-447e-a49e-59dbe0e0434b")],
            remedy: "az monitor diagnostic-settings create --name strongroom-audit --resource <vault-id> --logs '[{\"category\":\"AuditEvent\",\"enabled\":true}]' --workspace <workspace>",
            conflicts: &[],
            mappings: &[nist("AU-2"), nist("AU-12"), iso("A.8.15"), mcsb("LT-3")],
        },
        judge: of_hsms!(|world, vault, _| audit_log(world, vault)),
    },
    Rule {
        control: Control {
            id: "B13",
            question: "Is the managed HSM closed to the public, or reached through a private endpoint?",
            severity: Severity::High,
            sources: &[policy("19ea9d63-... (preview)"), policy("59fee2f4-... (preview)")],
            remedy: "az keyvault update-hsm --hsm-name <vault> --public-network-access Disabled --bypass AzureServices",
            conflicts: &[],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2")],
        },
        judge: of_hsms!(|_, vault, _| firewall(vault)),
    },
];

fn either(wrong: Option<impl Into<String>>, right: impl Into<String>, vault: &Vault) -> Judged {
    let wrong: Vec<String> = wrong.into_iter().map(Into::into).collect();
    Ok(Verdict::by(&wrong, right, [vault.fact]))
}

fn soft_delete(world: &World, vault: &Vault) -> Judged {
    let says = |key| match world.version_of(key) {
        Lookup::Known((_, version), fact) => {
            version.recovery_level.as_ref().map(|level| (level.clone(), fact))
        }
        Lookup::Absent(_) | Lookup::NotRead(_) => None,
    };
    // Where the vault does not show it, its keys do.
    let told = vault
        .host
        .iter()
        .flat_map(|host| world.keys_in_use_at(host))
        .find_map(says);
    match (vault.soft_delete, told) {
        (Some(true), _) => either(None::<&str>, "soft delete is on", vault),
        (Some(false), _) => either(Some("soft delete is off"), "", vault),
        (None, Some((level, fact))) => {
            let on = level.to_ascii_lowercase().contains("recoverable");
            let wrong = if on {
                Vec::new()
            } else {
                vec![format!("a key says that it cannot be recovered: {level}")]
            };
            Ok(Verdict::by(
                &wrong,
                format!("a key says {level}"),
                [vault.fact, fact],
            ))
        }
        (None, None) => shown(None, vault.fact, "whether soft delete is on"),
    }
}

fn purge_protection(vault: &Vault) -> Judged {
    // Absent is off: Resource Manager shows it only where it is on.
    either(
        (!vault.purge_protection).then_some("purge protection is off"),
        "purge protection is on",
        vault,
    )
}

fn roles(world: &World, vault: &Vault) -> Judged {
    if shown(
        vault.roles_decide,
        vault.fact,
        "whether roles or access policies decide",
    )? {
        return either(None::<&str>, "roles decide", vault);
    }
    let keys = vault.host.iter().flat_map(|host| world.keys_in_use_at(host));
    let openai = keys
        .flat_map(|key| world.accounts_under(key))
        .find(|account| account.kind.eq_ignore_ascii_case("OpenAI"));
    Ok(match openai {
        Some(account) => Verdict::conflict(
            &[
                "CIS Microsoft Azure Foundations Benchmark 6.0, 8.3.6: the RBAC permission model",
                OPENAI_POLICIES,
            ],
            format!(
                "access policies decide, and the account {} is of kind OpenAI: which page holds is not stated",
                account.name
            ),
            [vault.fact, account.fact],
        ),
        None => Verdict::fail("access policies decide", [vault.fact]),
    })
}

fn firewall(vault: &Vault) -> Judged {
    let wrong = (!vault.network.is_closed())
        .then_some("everybody is let in: public access is on, and no default denies");
    let how = if vault.network.public == Some(false) {
        "public access is off"
    } else {
        "the firewall denies by default"
    };
    either(wrong, how, vault)
}

fn public_access(vault: &Vault) -> Judged {
    let network = &vault.network;
    if network.public == Some(false) {
        return either(None::<&str>, "public access is off", vault);
    }
    if network.is_closed() && network.trusted_bypass {
        return Ok(Verdict::conflict(
            &[
                "CIS Microsoft Azure Foundations Benchmark 6.0, 8.3.7: public network access is disabled",
                "Azure OpenAI encryption of data at rest, 2025-11-26: the firewall must allow trusted Microsoft services",
            ],
            "public access is on, behind a firewall that denies by default and lets trusted services through",
            [vault.fact],
        ));
    }
    either(Some("public access is on"), "", vault)
}

fn private_link(vault: &Vault) -> Judged {
    let network = &vault.network;
    let wrong = (network.approved_links == 0).then(|| {
        format!(
            "no private endpoint is approved ({} wait or were turned down)",
            network.other_links
        )
    });
    either(
        wrong,
        format!("{} private endpoints are approved", network.approved_links),
        vault,
    )
}

fn service_endpoint(vault: &Vault) -> Judged {
    let network = &vault.network;
    if network.public == Some(false) && network.networks == 0 {
        return Ok(Verdict::not_applicable("public access is off", [vault.fact]));
    }
    either(
        (network.networks == 0).then_some("no network is let in by a service endpoint"),
        format!("{} networks are let in", network.networks),
        vault,
    )
}

fn audit_log(world: &World, vault: &Vault) -> Judged {
    let (settings, fact) = need(world.settings_of(&vault.id), || {
        "there are no diagnostic settings".to_owned()
    })?;
    let delivering = settings
        .iter()
        .find(|setting| setting.delivers_category("AuditEvent", &["audit", "allLogs"]));
    Ok(match delivering {
        Some(setting) => Verdict::pass(
            format!("the setting {} delivers AuditEvent", setting.name),
            [vault.fact, fact, setting.fact],
        ),
        None => Verdict::fail(
            format!(
                "none of {} diagnostic settings delivers AuditEvent",
                settings.len()
            ),
            [vault.fact, fact],
        ),
    })
}

fn defended(world: &World, vault: &Vault) -> Judged {
    let (on, fact) = need(world.defender(&vault.id, "KeyVaults"), || {
        "the subscription has no plans".to_owned()
    })?;
    let wrong = if on {
        Vec::new()
    } else {
        vec!["Defender for Key Vault is off".to_owned()]
    };
    Ok(Verdict::by(&wrong, "Defender for Key Vault is on", [fact]))
}

fn policies(vault: &Vault) -> Judged {
    if shown(
        vault.roles_decide,
        vault.fact,
        "whether roles or access policies decide",
    )? {
        return Ok(Verdict::not_applicable(
            "roles decide, not access policies",
            [vault.fact],
        ));
    }
    let wide: Vec<String> = vault
        .policies
        .iter()
        .filter(|policy| policy.keys.iter().any(|held| held == "all") || policy.allows("purge"))
        .map(|policy| format!("{} holds {}", policy.principal, policy.keys.join(" ")))
        .collect();
    Ok(Verdict::by(
        &wide,
        format!("none of {} policies grants all or purge", vault.policies.len()),
        [vault.fact],
    ))
}

//! What Azure spells in many ways is one thing; what is nothing of the kind is never taken for one; and nothing panics.

use proptest::prelude::*;
use strongroom_operator::world::names::{guid, location};
use strongroom_operator::world::{ArmId, KeyName, VaultHost, matches};

/// A text with the case of each letter chosen anew.
fn recased(text: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), text.len()).prop_map(move |upper| {
        let letters = text.chars().zip(upper);
        letters
            .map(|(letter, upper)| {
                if upper {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_vault_is_the_same_in_any_case_with_or_without_port_slash_and_scheme(
        host in recased("contoso-kv.vault.usgovcloudapi.net"),
        scheme in prop_oneof![Just(""), Just("https://"), Just("HTTPS://")],
        port in prop_oneof![Just(""), Just(":443"), Just(":8443")],
        end in prop_oneof![Just(""), Just("/"), Just("//"), Just("/keys")],
    ) {
        let read = VaultHost::read(&format!(" {scheme}{host}{port}{end} "));
        prop_assert_eq!(read.as_ref().map(VaultHost::as_str), Some("contoso-kv.vault.usgovcloudapi.net"));
    }

    #[test]
    fn a_key_is_the_same_as_parts_and_as_an_identifier(
        host in recased("v.vault.azure.cn"),
        key in recased("my-key"),
        version in proptest::option::of(recased("0123456789abcdef0123456789abcdef")),
        end in prop_oneof![Just(""), Just("/")],
    ) {
        let parts = KeyName::new(&format!("https://{host}:443/"), &key, version.as_deref()).unwrap();
        let tail = version.map(|version| format!("/{version}")).unwrap_or_default();
        let whole = KeyName::read(&format!("https://{host}/Keys/{key}{tail}{end}")).unwrap();
        prop_assert_eq!(&parts, &whole);
        prop_assert_eq!(KeyName::read(&whole.to_string()), Some(whole));
    }

    #[test]
    fn vaults_of_two_clouds_are_never_one(name in "[a-z][a-z0-9-]{2,20}[a-z0-9]") {
        let clouds = ["vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "vault.microsoftazure.de", "managedhsm.azure.net"];
        let hosts: std::collections::BTreeSet<_> = clouds.iter().filter_map(|cloud| VaultHost::read(&format!("https://{name}.{cloud}"))).collect();
        prop_assert_eq!(hosts.len(), clouds.len());
    }

    #[test]
    fn any_text_is_read_or_is_not_and_what_is_read_reads_back(text in "\\PC{0,300}") {
        if let Some(host) = VaultHost::read(&text) {
            prop_assert_eq!(VaultHost::read(host.as_str()), Some(host));
        }
        if let Some(key) = KeyName::read(&text) {
            prop_assert_eq!(KeyName::read(&key.to_string()), Some(key));
        }
        if let Some(id) = ArmId::read(&text) {
            prop_assert_eq!(ArmId::read(id.as_str()), Some(id.clone()));
            prop_assert!(id.covers(&id));
            let _ = (id.kind(), id.group(), id.subscription(), id.parent(), id.name().len());
        }
        if let Some(region) = location(&text) {
            prop_assert_eq!(location(&region), Some(region));
        }
        let _ = (guid(&text), matches(&text, "Microsoft.KeyVault/vaults/keys/unwrap/action"));
    }

    #[test]
    fn addresses_that_only_look_like_a_vaults_are_none(
        text in prop_oneof![
            Just("http://v.vault.azure.net"), Just("https://v.vault.azure.net@evil.example"), Just("https://v.vault.azure.net:x"),
            Just("vault"), Just("https://"), Just("https://v..net"), Just("https://v.vault.azure.net\u{2024}evil"), Just(""),
        ],
    ) {
        prop_assert_eq!(VaultHost::read(text), None);
    }

    #[test]
    fn an_id_covers_what_is_below_it_and_nothing_beside_it(
        group in recased("/subscriptions/s/resourceGroups/rg"),
        beside in "[a-z]{1,8}",
    ) {
        let scope = ArmId::read(&format!("{group}/")).unwrap();
        let below = ArmId::read("/subscriptions/S/resourcegroups/RG/providers/Microsoft.KeyVault/vaults/v").unwrap();
        prop_assert!(scope.covers(&below) && !below.covers(&scope));
        let other = ArmId::read(&format!("{group}{beside}/providers/Microsoft.KeyVault/vaults/v")).unwrap();
        prop_assert!(!scope.covers(&other));
    }

    #[test]
    fn a_region_is_the_same_by_its_name_and_as_it_is_shown(shown in recased("south central us"), before in prop_oneof![Just(""), Just("(US) ")]) {
        let read = location(&format!("{before}{shown}"));
        prop_assert_eq!(read.as_deref(), Some("southcentralus"));
    }

    #[test]
    fn patterns_match_as_a_plain_search_would(pattern in "[ab/*]{0,8}", action in "[ab/]{0,8}") {
        prop_assert_eq!(matches(&pattern, &action), plain(pattern.as_bytes(), action.as_bytes()));
    }
}

/// The same by trying everything.
fn plain(pattern: &[u8], action: &[u8]) -> bool {
    match (pattern.split_first(), action.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            (0..=action.len()).any(|from| action.get(from..).is_some_and(|action| plain(rest, action)))
        }
        (Some((wanted, pattern)), Some((byte, action))) => wanted == byte && plain(pattern, action),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

//! Where rules come from, and which controls of frameworks they speak to.

use crate::finding::{Framework, Mapping, Reference};

/// The sources of a rule.
pub(super) type Rulebook = &'static [Reference];

/// As of when rule sets without a date of their own were read.
const READ: &str = "2026-11";

pub(super) const fn nist(control: &'static str) -> Mapping {
    Mapping {
        framework: Framework::Nist80053,
        control,
    }
}

pub(super) const fn iso(control: &'static str) -> Mapping {
    Mapping {
        framework: Framework::Iso27001,
        control,
    }
}

pub(super) const fn mcsb(control: &'static str) -> Mapping {
    Mapping {
        framework: Framework::Mcsb,
        control,
    }
}

/// A built-in of Azure Policy, by its id.
pub(super) const fn policy(locator: &'static str) -> Reference {
    Reference {
        title: "Azure Policy built-in",
        locator,
        date: READ,
    }
}

/// The CIS Azure benchmark 6.0.
pub(super) const fn cis(locator: &'static str) -> Reference {
    Reference {
        title: "CIS Microsoft Azure Foundations Benchmark 6.0",
        locator,
        date: READ,
    }
}

/// A rule of an open scanner.
pub(super) const fn scanner(title: &'static str, locator: &'static str) -> Reference {
    Reference {
        title,
        locator,
        date: READ,
    }
}

/// What Strongroom asks of its own.
pub(super) const OWN: Reference = Reference {
    title: "Strongroom operator catalogue: a join that no property shows",
    locator: "docs/controls.md",
    date: READ,
};

pub(super) const OPENAI_PAGE: Reference = Reference {
    title: "Azure OpenAI encryption of data at rest",
    locator: "ai-foundry/openai/encrypt-data-at-rest",
    date: "2025-11-26",
};

pub(super) const FOUNDRY_KEYS: Reference = Reference {
    title: "Customer-managed keys for Microsoft Foundry: how to set them up",
    locator: "foundry/includes/concepts-encryption-keys-portal-1",
    date: "2026-08-10",
};

pub(super) const FOUNDRY_COVERAGE: Reference = Reference {
    title: "Customer-managed keys for Microsoft Foundry: coverage by capability",
    locator: "foundry/concepts/customer-managed-keys",
    date: "2026-08-24",
};

pub(super) const KEY_ATTRIBUTES: Reference = Reference {
    title: "Key Vault key attributes",
    locator: "key-vault/includes/key-attributes",
    date: "2026-05-21",
};

pub(super) const SOFT_DELETE: Reference = Reference {
    title: "Key Vault soft delete",
    locator: "key-vault/general/soft-delete-overview",
    date: READ,
};

pub(super) const BUILT_IN_ROLES: Reference = Reference {
    title: "Azure built-in roles for security",
    locator: "role-based-access-control/built-in-roles/security",
    date: "2026-02-23",
};

pub(super) const ROTATION: Reference = Reference {
    title: "Configure key rotation in Key Vault",
    locator: "key-vault/keys/how-to-configure-key-rotation",
    date: "2025-05-08",
};

pub(super) const VAULT_LOGGING: Reference = Reference {
    title: "Key Vault logging",
    locator: "key-vault/general/logging",
    date: READ,
};

pub(super) const ACCESS_DEFAULT: Reference = Reference {
    title: "Key Vault: access control default of new api-versions",
    locator: "key-vault/general/access-control-default",
    date: "2025-11-17",
};

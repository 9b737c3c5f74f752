//! The embedded Key Vault and the client for any Key Vault.

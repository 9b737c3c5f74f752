//! Identities, tokens, accounts and deployments.

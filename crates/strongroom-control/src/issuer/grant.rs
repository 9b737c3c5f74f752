//! The client-credentials grant, in both versions of the protocol.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Serialize;
use strongroom_azure::ProtocolVersion;
use strongroom_azure::token::{Form, basic_credentials, scope_to_audience};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::proof::Proof;
use super::refusal::Refusal;
use super::{Issued, TokenIssuer, said};
use crate::directory::Principal;
use crate::limits::TOKEN_LIFE;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The second version's answer: its numbers are numbers.
#[derive(Serialize)]
struct AnswerV2 {
    token_type: &'static str,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
}

/// The first version's answer: its numbers are text.
#[derive(Serialize)]
struct AnswerV1<'a> {
    token_type: &'static str,
    expires_in: String,
    ext_expires_in: String,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    access_token: String,
}

impl TokenIssuer {
    /// Reads a token request, and answers it. Fields that only interactive clients need (`claims`, `client_info`) count for nothing.
    pub(super) async fn grant(
        &self,
        tenant: &str,
        version: ProtocolVersion,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        self.check_tenant(tenant)?;
        let form = Form::parse(body).ok_or(Refusal::Malformed)?;
        let field = |name: &'static str| form.get(name).ok_or(Refusal::Missing(name));
        if field("grant_type")? != "client_credentials" {
            return Err(Refusal::Grant);
        }
        let basic = basic(headers)?;
        let (id, proof) = client(&form, basic.as_ref())?;
        let audience = audience(&form, version)?;
        let principal = self.admit(id, proof, audience).await?;
        let issued = self.issue(&principal, audience)?;
        Ok(answer(version, audience, issued))
    }

    /// Proves the client, and counts those who cannot.
    async fn admit(&self, id: &str, proof: Proof<'_>, audience: &str) -> Result<Arc<Principal>, Refusal> {
        let client = id.parse::<Uuid>().ok();
        let known = client.and_then(|client| self.inner.control.principal_by_client(client));
        let outcome = match &known {
            Some(principal) => self.prove(principal, proof, audience).await,
            None => Err(Refusal::UnknownApplication(said(id))),
        };
        match (outcome, known) {
            (Ok(()), Some(principal)) => Ok(principal),
            (Err(refusal), known) if refusal.is_failed_proof() => {
                let counted = known.and(client);
                match self.inner.failures.note(counted, self.now()) {
                    Some(seconds) => Err(Refusal::TooOften(seconds)),
                    None => Err(refusal),
                }
            }
            (Err(refusal), _) => Err(refusal),
            (Ok(()), None) => Err(Refusal::Failed),
        }
    }
}

type Basic = (String, Zeroizing<String>);

fn basic(headers: &HeaderMap) -> Result<Option<Basic>, Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let read = header.to_str().ok().and_then(basic_credentials);
    read.map(Some).ok_or(Refusal::Malformed)
}

/// Who the client says it is, and the one thing by which it proves that.
fn client<'a>(form: &'a Form, basic: Option<&'a Basic>) -> Result<(&'a str, Proof<'a>), Refusal> {
    let id = basic.map(|(id, _)| id.as_str()).or_else(|| form.get("client_id"));
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or(Refusal::Missing("client_id"))?;
    let proofs = [
        basic.map(|(_, secret)| Proof::Secret(secret)),
        form.get("client_secret").map(Proof::Secret),
        form.get("client_assertion").map(Proof::Assertion),
    ];
    let mut proofs = proofs.into_iter().flatten();
    let proof = proofs.next().ok_or(Refusal::NoProof)?;
    if proofs.next().is_some() {
        return Err(Refusal::ManyProofs);
    }
    let typed = form.get("client_assertion_type") == Some(ASSERTION_TYPE);
    if matches!(proof, Proof::Assertion(_)) && !typed {
        return Err(Refusal::Missing("client_assertion_type"));
    }
    Ok((id, proof))
}

fn audience(form: &Form, version: ProtocolVersion) -> Result<&str, Refusal> {
    match version {
        ProtocolVersion::V1 => form.get("resource").ok_or(Refusal::Missing("resource")),
        ProtocolVersion::V2 => {
            let scope = form.get("scope").ok_or(Refusal::Missing("scope"))?;
            if form.get("resource").is_some() {
                return Err(Refusal::ResourceForScope);
            }
            if !scope.ends_with("/.default") || scope.contains(' ') {
                return Err(Refusal::Scope(said(scope)));
            }
            Ok(scope_to_audience(scope))
        }
    }
}

fn answer(version: ProtocolVersion, audience: &str, issued: Issued) -> Response {
    let Issued { token, from, until } = issued;
    let life = TOKEN_LIFE.as_secs();
    match version {
        ProtocolVersion::V1 => Json(AnswerV1 {
            token_type: "Bearer",
            expires_in: life.to_string(),
            ext_expires_in: life.to_string(),
            expires_on: until.to_string(),
            not_before: from.to_string(),
            resource: audience,
            access_token: token,
        })
        .into_response(),
        ProtocolVersion::V2 => Json(AnswerV2 {
            token_type: "Bearer",
            expires_in: life,
            ext_expires_in: life,
            access_token: token,
        })
        .into_response(),
    }
}

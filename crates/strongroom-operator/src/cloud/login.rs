//! The way to the token endpoint: to one origin, bounded in what it takes in.

use azure_core::Bytes;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::StreamExt as _;
use url::{Origin, Url};
use zeroize::Zeroizing;

use crate::limits;

/// Under the official credentials: secrets and assertions go to the cloud's login and nowhere else.
#[derive(Debug)]
pub(super) struct Login {
    client: reqwest::Client,
    origin: Origin,
}

impl Login {
    pub(super) fn new(client: reqwest::Client, to: &Url) -> Self {
        Self {
            client,
            origin: to.origin(),
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Login {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.url().origin() != self.origin {
            let message = "the request left the cloud's login";
            return Err(Error::with_message(ErrorKind::Other, message));
        }
        let response = HttpClient::execute_request(&self.client, request).await?;
        let (status, headers, mut body) = response.deconstruct();
        let mut kept = Zeroizing::new(Vec::with_capacity(limits::TOKEN_BYTES));
        while let Some(piece) = body.next().await {
            let piece = piece?;
            if kept.len() + piece.len() > limits::TOKEN_BYTES {
                let message = "the token endpoint's answer is larger than any that is expected";
                return Err(Error::with_message(ErrorKind::Other, message));
            }
            kept.extend_from_slice(&piece);
        }
        Ok(AsyncRawResponse::from_bytes(
            status,
            headers,
            Bytes::from_owner(kept),
        ))
    }
}

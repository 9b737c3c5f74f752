//! What every request passes, in this order: address, route, token, subscription, api-version, permission, body, locks.
//! Writes leave rows in the activity log: one before anything is done, one before the answer.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use strongroom_azure::token::{Claims, TokenError, bearer};
use strongroom_azure::{ApiVersion, ApiVersionError, ErrorStatus, Problem, ResourceId};
use strongroom_vault::ClientAddress;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::audit::Record;
use super::call::{Answer, Call, set};
use super::event::{Event, Progress, cut};
use super::fault::{Fault, Outcome, bad, missing};
use super::place::Place;
use super::route::{Handler, Names, Permission, Route};
use super::{Arm, Shared, locks, time};
use crate::limits::{ARM_BODY_ARRIVAL, ARM_DEPTH, REQUEST_ID};
use crate::roles::ActionKind;

/// For whom the tokens of Resource Manager are meant.
const AUDIENCES: [&str; 2] = [
    "https://management.core.windows.net",
    "https://management.azure.com",
];

/// A request that was not admitted yet.
struct Asked {
    parts: Parts,
    body: Body,
    longest: usize,
    permission: Permission,
    correlation: String,
}

/// The ids of one request.
struct Ids {
    request: String,
    correlation: String,
    client: Option<String>,
}

impl Arm {
    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let ids = Ids::of(&parts);
        let shared = Arc::clone(&self.shared);
        let (challenge, correlation) = (shared.login.clone(), ids.correlation.clone());
        let address = self.shared.control.tenant();
        // What has begun is finished and put on record, also when the client goes away.
        let work = tokio::spawn(async move { shared.serve(parts, body, correlation).await });
        let done = work.await.unwrap_or(Err(Fault::Interrupted));
        let mut response = match done {
            Ok(answer) => respond(answer),
            Err(fault) => refuse(fault.into_problem(), &format!("{challenge}/{address}")),
        };
        ids.stamp(&mut response);
        response
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, parts: Parts, body: Body, correlation: String) -> Outcome<Answer> {
        let path = decoded_path(&parts)?;
        let (route, names) = self.route(&parts.method, &path)?;
        let (permission, longest, audit) = (route.permission, route.body, route.audit);
        let handler = Arc::clone(&route.handler);
        let now_ms = time::now_ms(&*self.clock);
        let mut call = Call {
            arm: Arc::clone(&self),
            method: parts.method.clone(),
            path,
            names,
            query: decoded_query(&parts),
            api_version: None,
            base: base(&parts),
            headers: parts.headers.clone(),
            claims: None,
            body: Value::Null,
            now_ms,
            event: None,
        };
        if permission == Permission::Open {
            return handler(Arc::new(call)).await;
        }
        call.claims = Some(self.authenticate(&parts).await?);
        let mut record = audit.map(|operation| Record::begin(operation, &call, &parts, &correlation));
        let asked = Asked {
            parts,
            body,
            longest,
            permission,
            correlation,
        };
        let done = self.done(call, asked, handler, record.as_mut()).await;
        match record {
            Some(record) => record.end(&self, done).await,
            None => done,
        }
    }

    /// Admits a request of a known caller and does what it asks for, on record if that is a write.
    async fn done(
        &self,
        mut call: Call,
        asked: Asked,
        handler: Handler,
        record: Option<&mut Record>,
    ) -> Outcome<Answer> {
        let Asked {
            parts,
            body,
            longest,
            permission,
            correlation,
        } = asked;
        let now_ms = call.now_ms;
        let (action, target) = action(permission, &call)?;
        let mut event = logged(&action)
            .then(|| event_of(&call, &parts, &action, &target, correlation))
            .flatten();
        let admitted = self
            .admit(&mut call, &parts, body, longest, (permission, &action, &target))
            .await;
        if let Some(event) = &mut event {
            event.asking(&call.body);
        }
        if let Some(record) = record {
            record.asking(&call.body);
        }
        if let Err(fault) = admitted {
            return Err(self.refused(event.as_ref(), fault).await);
        }
        let _turn = self.at_once.acquire().await.map_err(|_| Fault::Interrupted)?;
        let Some(event) = event else {
            return handler(Arc::new(call)).await;
        };
        self.activity.record(&event, &Progress::Started, now_ms).await?;
        let event = Arc::new(event);
        call.event = Some(Arc::clone(&event));
        match handler(Arc::new(call)).await {
            Ok(answer) => {
                let progress = if answer.goes_on() {
                    Progress::Accepted
                } else {
                    Progress::Succeeded(answer.status)
                };
                let now_ms = time::now_ms(&*self.clock);
                let event = event.answering(answer.body.as_ref());
                self.activity.record(&event, &progress, now_ms).await?;
                Ok(answer)
            }
            Err(fault) => Err(self.refused(Some(&event), fault).await),
        }
    }

    /// The first route of the table that fits.
    fn route(&self, method: &Method, path: &ResourceId) -> Outcome<(&Route, Names)> {
        let mut known = false;
        for route in &self.routes {
            if let Some(names) = route.pattern.matches(path) {
                if route.method == *method {
                    return Ok((route, names));
                }
                known = true;
            }
        }
        if known {
            let message = format!("The requested resource does not support http method '{method}'.");
            return Err(Problem::new(ErrorStatus::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).into());
        }
        let message = format!("No HTTP resource was found that matches the request URI '{path}'.");
        Err(missing("NotFound", message))
    }

    async fn authenticate(&self, parts: &Parts) -> Outcome<Claims> {
        let refused =
            |code: &str, message: &str| Fault::from(Problem::new(ErrorStatus::UNAUTHORIZED, code, message));
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(|| {
            refused(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        })?;
        let invalid = || refused("InvalidAuthenticationToken", "The access token is invalid.");
        let token = header.to_str().ok().and_then(bearer).ok_or_else(invalid)?;
        let now = self.clock.now().wall.as_secs();
        let claims = self.verifier.verify(token, &AUDIENCES, now).await.map_err(|error| {
            tracing::info!(%error, "a token was not accepted by Resource Manager");
            match error {
                TokenError::Expired => refused("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than the current UTC time."),
                TokenError::Audience => refused(
                    "InvalidAuthenticationTokenAudience",
                    "The access token has been obtained for wrong audience or resource. It should exactly match with one of the allowed audiences 'https://management.core.windows.net/','https://management.azure.com/'.",
                ),
                _ => invalid(),
            }
        })?;
        // Whoever rules another tenant can name any object id there: it counts only for those who belong to that tenant.
        let own = self.control.tenant();
        if !claims.tid.eq_ignore_ascii_case(&own) && self.control.caller(&claims).is_none() {
            let message = format!(
                "The access token is from the wrong issuer '{}'. It must match the tenant '{own}' associated with this subscription.",
                claims.iss
            );
            return Err(refused("InvalidAuthenticationTokenTenant", &message));
        }
        Ok(claims)
    }

    /// Everything that stands between a known caller and the handler.
    async fn admit(
        &self,
        call: &mut Call,
        parts: &Parts,
        body: Body,
        longest: usize,
        (permission, action, target): (Permission, &str, &ResourceId),
    ) -> Outcome<()> {
        self.check_subscription(&call.path)?;
        call.api_version = Some(api_version(parts.uri.query())?);
        let permitted = match permission {
            Permission::Open | Permission::Signed => true,
            Permission::InPart(action) => call.actor().may_in_part(action, target),
            Permission::Action(_) | Permission::OfType(_) => call.may(target, action),
        };
        if !permitted {
            return Err(denied(call, action, target));
        }
        call.body = read_body(parts, body, longest).await?;
        if logged(action) {
            let (method, action, target) = (call.method.clone(), action.to_owned(), target.clone());
            let shared = Arc::clone(&call.arm);
            let look = move || {
                shared
                    .inventory
                    .read(|rows| locks::check(rows, &method, &action, &target))
            };
            tokio::task::spawn_blocking(look)
                .await
                .map_err(|_| Fault::Interrupted)??;
        }
        Ok(())
    }

    fn check_subscription(&self, path: &ResourceId) -> Outcome<()> {
        let mut segments = path.as_str().split('/').skip(1);
        let (Some(word), Some(named)) = (segments.next(), segments.next()) else {
            return Ok(());
        };
        if !word.eq_ignore_ascii_case("subscriptions")
            || named.eq_ignore_ascii_case(&self.control.subscription())
        {
            return Ok(());
        }
        if named.parse::<Uuid>().is_err() {
            let message = format!("The provided subscription identifier '{named}' is malformed or invalid.");
            return Err(bad("InvalidSubscriptionId", message));
        }
        Err(missing(
            "SubscriptionNotFound",
            format!("The subscription '{named}' could not be found."),
        ))
    }

    /// Puts the refusal on record, if it is one of a write, before it is told.
    async fn refused(&self, event: Option<&Event>, fault: Fault) -> Fault {
        let Some(event) = event else { return fault };
        let problem = fault.into_problem();
        let progress = Progress::Failed(Box::new(problem.clone()));
        match self
            .activity
            .record(event, &progress, time::now_ms(&*self.clock))
            .await
        {
            Ok(()) => problem.into(),
            Err(unrecorded) => unrecorded,
        }
    }

    /// Whether somebody may do this.
    pub(crate) fn may(&self, caller: &str, scope: &ResourceId, action: &str) -> bool {
        self.control.may(caller, scope, ActionKind::Control, action)
    }
}

/// Reads leave no rows.
fn logged(action: &str) -> bool {
    !action.is_empty() && !action.to_ascii_lowercase().ends_with("/read")
}

/// What the caller wants to do, and to what.
fn action(permission: Permission, call: &Call) -> Outcome<(String, ResourceId)> {
    match permission {
        Permission::Open | Permission::Signed => Ok((String::new(), call.path.clone())),
        Permission::Action(action) | Permission::InPart(action) => Ok((action.to_owned(), call.path.clone())),
        Permission::OfType(verb) => {
            let place = Place::of(&call.path);
            let typed = place.as_ref().and_then(|place| place.typed.as_ref());
            let typed = typed.ok_or_else(|| bad("InvalidRequestUri", "No resource can have this path."))?;
            if verb == "action" {
                let path = call.path.as_str();
                let target = path.rsplit_once('/').map_or(path, |(target, _)| target).parse();
                let target =
                    target.map_err(|_| bad("InvalidRequestUri", "No resource can have this path."))?;
                return Ok((format!("{}/action", typed.full_type()), target));
            }
            Ok((format!("{}/{verb}", typed.full_type()), call.path.clone()))
        }
    }
}

fn event_of(
    call: &Call,
    parts: &Parts,
    action: &str,
    target: &ResourceId,
    correlation: String,
) -> Option<Event> {
    let address = parts.extensions.get::<ClientAddress>();
    Some(Event {
        action: cut(action),
        target: target.to_string(),
        claims: call.claims.clone()?,
        correlation,
        operation: Uuid::new_v4().to_string(),
        request: cut(call.header("x-ms-client-request-id").unwrap_or_default()),
        method: call.method.to_string(),
        uri: cut(&format!("{}{}", call.base, parts.uri.path())),
        client_address: address.map(|address| address.0.to_string()),
        subscription: call.arm.control.subscription(),
        began_ms: call.now_ms,
        asked: None,
        answered: None,
    })
}

fn denied(call: &Call, action: &str, target: &ResourceId) -> Fault {
    let caller = call.caller();
    let client = call
        .claims
        .as_ref()
        .and_then(|claims| claims.appid.as_deref())
        .unwrap_or(caller);
    let message = format!(
        "The client '{client}' with object id '{caller}' does not have authorization to perform action '{action}' over scope '{target}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    );
    Problem::new(ErrorStatus::FORBIDDEN, "AuthorizationFailed", message).into()
}

fn api_version(query: Option<&str>) -> Outcome<ApiVersion> {
    ApiVersion::in_query(query).map_err(|error| match error {
        ApiVersionError::Missing => bad(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ),
        ApiVersionError::Malformed => bad(
            "InvalidApiVersionParameter",
            format!("The api-version is invalid: {error}."),
        ),
    })
}

pub(crate) async fn read_body(parts: &Parts, body: Body, longest: usize) -> Outcome<Value> {
    if longest == 0 {
        return Ok(Value::Null);
    }
    let too_large = || {
        let message = format!("The request content size exceeds the maximum size of '{longest}' bytes.");
        Fault::from(Problem::new(
            ErrorStatus::TOO_LARGE,
            "RequestContentTooLarge",
            message,
        ))
    };
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|value| value.parse::<usize>().ok())
        .is_some_and(|bytes| bytes > longest)
    {
        return Err(too_large());
    }
    let bytes = match tokio::time::timeout(ARM_BODY_ARRIVAL, to_bytes(body, longest)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(too_large()),
        Err(_) => {
            return Err(bad(
                "RequestTimeout",
                "The request content did not arrive in time.",
            ));
        }
    };
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let invalid = |why: String| {
        bad(
            "InvalidRequestContent",
            format!("The request content was invalid and could not be deserialized: '{why}'."),
        )
    };
    if depth(&bytes) > ARM_DEPTH {
        return Err(invalid(format!("it nests deeper than {ARM_DEPTH} levels")));
    }
    serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
}

/// How deep brackets nest, outside of texts.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn decoded_path(parts: &Parts) -> Outcome<ResourceId> {
    let invalid = || {
        bad(
            "InvalidRequestUri",
            "The request URI is no path of Resource Manager.",
        )
    };
    let path = parts.uri.path();
    // Decoded per segment: a slash in a name stays a character that no name may have.
    if path.to_ascii_lowercase().contains("%2f") {
        return Err(invalid());
    }
    // Clients append their paths to a base that may end in a slash.
    let path = path.replace("//", "/");
    let path = percent_decode_str(&path).decode_utf8().map_err(|_| invalid())?;
    let id: ResourceId = path.parse().map_err(|_| invalid())?;
    canonical(&id).parse().map_err(|_| invalid())
}

/// Ids are given back with their fixed words in one spelling, whatever the client wrote; names stay as they are.
fn canonical(id: &ResourceId) -> String {
    let mut path = String::new();
    for (at, segment) in id.as_str().split('/').skip(1).enumerate() {
        let fixed = match at {
            0 => ["subscriptions", "tenants"]
                .into_iter()
                .find(|word| segment.eq_ignore_ascii_case(word)),
            2 if segment.eq_ignore_ascii_case("resourceGroups") => Some("resourceGroups"),
            2 | 4 if segment.eq_ignore_ascii_case("providers") => Some("providers"),
            _ => None,
        };
        path.push('/');
        path.push_str(fixed.unwrap_or(segment));
    }
    path
}

fn decoded_query(parts: &Parts) -> Vec<(String, String)> {
    url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .into_owned()
        .collect()
}

/// Where the client found us. The listener admitted the name.
pub(crate) fn base(parts: &Parts) -> String {
    let line = parts.uri.authority().map(|authority| authority.as_str());
    let header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    format!(
        "https://{}",
        line.or(header).unwrap_or("localhost").to_ascii_lowercase()
    )
}

fn respond(answer: Answer) -> Response<Body> {
    let body = match (answer.secret, answer.body) {
        (Some(secret), _) => Some(Body::from(Bytes::from_owner(Wiped(secret)))),
        (None, Some(body)) => Some(Body::from(body.to_string())),
        (None, None) => None,
    };
    let is_json = body.is_some();
    let mut response = Response::new(body.unwrap_or_else(Body::empty));
    if is_json {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        set(response.headers_mut(), name, &value);
    }
    response
}

/// Bytes that are wiped when the last of them is sent.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn refuse(problem: Problem, login: &str) -> Response<Body> {
    let unknown = problem.status() == ErrorStatus::UNAUTHORIZED;
    let mut response = axum::response::IntoResponse::into_response(problem);
    if unknown {
        let challenge = format!(
            "Bearer authorization_uri=\"{login}\", error=\"invalid_token\", error_description=\"The access token is missing or not acceptable.\""
        );
        set(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
    }
    response
}

impl Ids {
    fn of(parts: &Parts) -> Self {
        let given = |name: &str| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            let fits =
                (1..=REQUEST_ID).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| value.to_owned())
        };
        let request = Uuid::new_v4().to_string();
        Self {
            correlation: given("x-ms-correlation-request-id").unwrap_or_else(|| request.clone()),
            client: given("x-ms-client-request-id"),
            request,
        }
    }

    fn stamp(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        set(headers, HeaderName::from_static("x-ms-request-id"), &self.request);
        set(
            headers,
            HeaderName::from_static("x-ms-correlation-request-id"),
            &self.correlation,
        );
        if let Some(client) = &self.client {
            set(headers, HeaderName::from_static("x-ms-client-request-id"), client);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_do_not_nest() {
        assert_eq!(depth(br#"{"a":[1,{"b":"[[[\"{{"}]}"#), 3);
        assert_eq!(depth(b"1"), 0);
        assert_eq!(depth(&[b'['; 100]), 100);
    }
}

//! What happens to every request, whatever it asks for: limits, caller, permits, lease, time-out, ids, counters.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use strongroom_azure::ApiVersion;
use strongroom_store::{AccountId, Lease};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::arriving::Arriving;
use crate::auth::{self, Permits};
use crate::call::{Answer, AnswerBody, Call, Query};
use crate::connection::ConnectionCut;
use crate::flow::{Flow, Place};
use crate::limits;
use crate::problem::{Form, Problem};
use crate::routes::{BodyLimit, Gate, Route};
use crate::service::Service;

/// Which request an answer is to: what a log of requests says of it. Goes with the answer, as an extension, where the caller is
/// known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The account.
    pub account: AccountId,
    /// Who asked: an object id, or which of the account's keys.
    pub caller: String,
    /// The method.
    pub method: &'static str,
    /// The route's pattern, without what stands in it.
    pub route: &'static str,
    /// The request's id, as the caller is told.
    pub request: Uuid,
    /// From the head of the request to the head of the answer.
    pub took: Duration,
}

/// Serves one request to one route.
pub(crate) async fn serve(
    service: Arc<Service>,
    route: &'static Route,
    form: Form,
    request: Request<Body>,
) -> Response<Body> {
    let began = Instant::now();
    let in_flight = service.metrics.begin();
    let id = Uuid::new_v4();
    let mut asked = None;
    let mut response = match answer(&service, route, form, request, &mut asked).await {
        Ok(response) => response,
        Err(problem) => {
            log(&problem, route, id);
            problem.answer(form)
        }
    };
    drop(in_flight);
    service
        .metrics
        .answered(route.method_name(), route.path, response.status());
    tracing::debug!(request = %id, route = route.path, status = response.status().as_u16(), "answered");
    if let Some((account, caller)) = asked {
        response.extensions_mut().insert(Answered {
            account,
            caller,
            method: route.method_name(),
            route: route.path,
            request: id,
            took: began.elapsed(),
        });
    }
    with_ids(response, form, id, began)
}

/// Answers what no route is for.
pub(crate) fn refuse(problem: &Problem, path: &str) -> Response<Body> {
    let form = if path.starts_with("/openai/v1/") {
        Form::V1
    } else {
        Form::Azure
    };
    with_ids(problem.answer(form), form, Uuid::new_v4(), Instant::now())
}

async fn answer(
    service: &Arc<Service>,
    route: &'static Route,
    form: Form,
    request: Request<Body>,
    asked: &mut Option<(AccountId, String)>,
) -> Result<Response<Body>, Problem> {
    let (mut head, body) = request.into_parts();
    check_head(&head)?;
    let query = Query::parse(&head.uri)?;
    if form == Form::Azure {
        check_version(&query)?;
    }
    let caller = auth::identify(service.authenticate.as_ref(), &head).await?;
    *asked = Some((caller.account, caller.name.clone()));
    let permits = Permits::grant(&service.permits, &caller, route.needs)?;
    let lease = match route.gate {
        Gate::Key => Some(service.store.lease(caller.account).await?),
        Gate::Deployment => None,
    };
    let place = Place {
        service: Arc::clone(service),
        account: caller.account,
        route: route.path,
        connection: head.extensions.get::<ConnectionCut>().cloned(),
    };
    let limit = route.body.bytes(&service.limits);
    let _room = match (route.body, body.size_hint().upper()) {
        // One that announces too much is refused for that.
        (BodyLimit::Json, announced) if announced.is_none_or(|bytes| bytes <= limit) => {
            service.body_room(announced.unwrap_or(limit))?
        }
        _ => None,
    };
    let call = Call {
        service: Arc::clone(service),
        caller,
        permits,
        form,
        path: path_values(&mut head).await?,
        query,
        headers: head.headers,
        body: Arriving::new(body, limit, service.limits.body_idle, service.metrics.clone()),
    };
    let handled = timeout(route.time, (route.handler)(call));
    let answer = while_held(lease.as_ref(), handled)
        .await?
        .map_err(|_| route.body.late())??;
    respond(place, answer, lease)
}

/// Drops the work, with the keys and the content that it holds, the moment the lease ends: a client that stalls keeps neither in memory.
async fn while_held<T>(lease: Option<&Lease>, work: impl Future<Output = T>) -> Result<T, Problem> {
    let Some(lease) = lease else {
        return Ok(work.await);
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        denied = lease.ended() => Err(denied.into()),
    }
}

/// Looks at the lease a last time and lets the answer go.
fn respond(place: Place, answer: Answer, lease: Option<Lease>) -> Result<Response<Body>, Problem> {
    let Answer {
        status,
        headers,
        body,
        guard,
    } = answer;
    let guard = guard.or(lease);
    if let Some(lease) = &guard {
        lease.check()?;
    }
    let body = match body {
        AnswerBody::Whole(bytes) => {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let watched = bytes.len() > limits::WATCHED_ANSWER_BYTES && guard.is_some();
            if watched {
                let piece = Box::pin(futures::stream::once(std::future::ready(Ok(bytes))));
                Flow::new(place, piece, Some(length), guard, None).into_body()
            } else {
                place.service.metrics.sent(length);
                Body::from(bytes)
            }
        }
        AnswerBody::Pieces { pieces, length, slot } => {
            Flow::new(place, pieces, length, guard, slot).into_body()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn check_head(head: &Parts) -> Result<(), Problem> {
    let limit = u64::try_from(limits::HEADERS).unwrap_or(u64::MAX);
    if head.headers.len() > limits::HEADERS {
        return Err(Problem::TooLarge {
            what: "The number of headers",
            limit,
        });
    }
    Ok(())
}

fn check_version(query: &Query) -> Result<(), Problem> {
    match query.get("api-version").unwrap_or_default().parse::<ApiVersion>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::ApiVersion(error)),
    }
}

async fn path_values(head: &mut Parts) -> Result<Vec<(String, String)>, Problem> {
    // What is not UTF-8 after decoding names nothing that exists.
    let values = RawPathParams::from_request_parts(head, &())
        .await
        .map_err(|_| Problem::UnknownRoute)?;
    Ok(values
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn with_ids(mut response: Response<Body>, form: Form, id: Uuid, began: Instant) -> Response<Body> {
    let headers = response.headers_mut();
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    headers.insert(
        HeaderName::from_static("openai-processing-ms"),
        HeaderValue::from(milliseconds),
    );
    match form {
        Form::V1 => put(
            headers,
            HeaderName::from_static("x-request-id"),
            &format!("req_{}", id.simple()),
        ),
        Form::Azure => {
            let id = id.hyphenated().to_string();
            for name in ["x-request-id", "apim-request-id", "x-ms-request-id"] {
                put(headers, HeaderName::from_static(name), &id);
            }
        }
    }
    response
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn log(problem: &Problem, route: &Route, id: Uuid) {
    if let Some(detail) = problem.for_the_log() {
        tracing::error!(request = %id, route = route.path, detail, "a request failed");
    }
}

//! Microsoft Graph, as far as it is the directory: who somebody is, by id, by name, by application. What may be looked at and
//! changed is the [`Actor`]'s decision; this is its door in Graph's own words.
//!
//! - `request`: what every request passes; `query`: filters, pages, columns;
//! - `objects`: what there is and what it looks like; `changes`: what makes and removes it.

mod changes;
mod objects;
mod query;
mod request;

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use strongroom_azure::token::Claims;
use strongroom_azure::{ErrorStatus, Problem};
use tokio::sync::Semaphore;

use self::objects::Kind;
use self::request::{Answer, Ask, Step};
use crate::actor::Actor;
use crate::arm::event::Progress;
use crate::arm::fault::{Fault, Outcome};
use crate::arm::time::now_ms;
use crate::arm::{self, Arm};
use crate::issuer::local_audiences;
use crate::limits::DIRECTORY_AT_ONCE;

/// For whom Graph's tokens are meant, wherever Graph is.
const AUDIENCES: [&str; 2] = ["https://graph.microsoft.com", "https://graph.windows.net"];
/// Graph's hosts of this instance.
const HOSTS: [&str; 2] = ["localhost", "graph.localhost"];

/// Microsoft Graph. Clones share it.
#[derive(Clone)]
pub struct Graph {
    shared: Arc<Shared>,
}

struct Shared {
    /// Who is who, what tokens verify with, and where changes are put on record.
    arm: Arc<arm::Shared>,
    audiences: Vec<String>,
    at_once: Semaphore,
}

impl Graph {
    /// Graph of the directory that `arm` stands on, for tokens from the same place.
    pub fn new(arm: &Arm) -> Self {
        let arm = arm.shared();
        let mut audiences = local_audiences(&arm.login, &HOSTS);
        audiences.extend(AUDIENCES.map(str::to_owned));
        Self {
            shared: Arc::new(Shared {
                arm,
                audiences,
                at_once: Semaphore::new(DIRECTORY_AT_ONCE),
            }),
        }
    }

    /// Whether a path is one of Graph's.
    pub fn serves(path: &str) -> bool {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        ["v1.0", "beta"]
            .iter()
            .any(|root| first.eq_ignore_ascii_case(root))
    }

    /// Answers a request, whatever it is.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let stamp = request::Stamp::of(&parts, self.shared.now_ms());
        let shared = Arc::clone(&self.shared);
        // What has begun is finished, also when the client goes away.
        let work = tokio::spawn(async move { shared.serve(parts, body).await });
        match work.await.unwrap_or(Err(Fault::Interrupted)) {
            Ok(answer) => stamp.respond(answer),
            Err(fault) => stamp.refuse(&fault.into_problem(), &self.shared.arm.login),
        }
    }
}

impl Shared {
    fn now_ms(&self) -> i64 {
        now_ms(&*self.arm.clock)
    }

    async fn serve(&self, parts: http::request::Parts, body: Body) -> Outcome<Answer> {
        let claims = self.authenticate(&parts).await?;
        let caller = self.arm.control.caller(&claims).ok_or_else(|| {
            let message = "The identity of the calling application could not be established.";
            Problem::new(ErrorStatus::FORBIDDEN, "Authorization_IdentityNotFound", message)
        })?;
        let ask = Ask::read(&parts, body).await?;
        let _turn = self.at_once.acquire().await.map_err(|_| Fault::Interrupted)?;
        let actor = self.arm.control.actor(caller);
        let began_ms = self.now_ms();
        let Some(event) = ask.event(&parts, claims, self.arm.control.subscription(), began_ms) else {
            return dispatched(actor, ask).await;
        };
        // As Resource Manager's writes: on record before anything is done, and before the answer.
        self.arm
            .activity
            .record(&event, &Progress::Started, began_ms)
            .await?;
        let (progress, done) = match dispatched(actor, ask).await {
            Ok(answer) => (Progress::Succeeded(answer.status), Ok(answer)),
            Err(fault) => {
                let problem = fault.into_problem();
                (Progress::Failed(Box::new(problem.clone())), Err(problem.into()))
            }
        };
        self.arm.activity.record(&event, &progress, self.now_ms()).await?;
        done
    }

    async fn authenticate(&self, parts: &http::request::Parts) -> Outcome<Claims> {
        let audiences: Vec<&str> = self.audiences.iter().map(String::as_str).collect();
        let token = request::token(parts)?;
        let now = self.arm.clock.now().wall.as_secs();
        let claims = self.arm.verifier.verify(token, &audiences, now).await;
        claims.map_err(request::not_accepted)
    }
}

async fn dispatched(actor: Actor, ask: Ask) -> Outcome<Answer> {
    let work = tokio::task::spawn_blocking(move || dispatch(&actor, &ask));
    work.await.map_err(|_| Fault::Interrupted)?
}

/// Finds what a request is about and does it.
fn dispatch(actor: &Actor, ask: &Ask) -> Outcome<Answer> {
    let steps: Vec<Step<'_>> = ask.path.iter().map(|segment| Step::of(segment)).collect();
    let Some((first, rest)) = steps.split_first() else {
        return Err(ask.unknown(""));
    };
    if first.is("me") {
        return me(actor, ask, rest);
    }
    if first.is("organization") && rest.is_empty() && ask.method == Method::GET {
        return objects::organization(actor, ask);
    }
    let kind = Kind::of(first.name).ok_or_else(|| ask.unknown(first.name))?;
    match (first.key, rest) {
        (None, []) => collection(actor, ask, kind),
        (None, [step]) if step.is("getByIds") && ask.method == Method::POST => objects::by_ids(actor, ask),
        (None, [one, rest @ ..]) if one.key.is_none() => member(actor, ask, kind, one.name, rest),
        (Some(key), rest) => member(actor, ask, kind, key, rest),
        _ => Err(ask.unknown(first.name)),
    }
}

/// The caller's own object: people have one there, applications have not.
fn me(actor: &Actor, ask: &Ask, rest: &[Step<'_>]) -> Outcome<Answer> {
    let caller = actor.caller();
    let person = actor.control.principal(caller);
    if person.is_none_or(|known| known.user_principal_name().is_none()) {
        let message = "/me request is only valid with delegated authentication flow.";
        return Err(Problem::new(ErrorStatus::BAD_REQUEST, "BadRequest", message).into());
    }
    member(actor, ask, Kind::Users, &caller.to_string(), rest)
}

fn collection(actor: &Actor, ask: &Ask, kind: Kind) -> Outcome<Answer> {
    match ask.method {
        Method::GET => objects::list(actor, ask, kind),
        Method::POST => changes::create(actor, ask, kind),
        _ => Err(ask.not_allowed()),
    }
}

/// One object, or what is below it.
fn member(actor: &Actor, ask: &Ask, kind: Kind, key: &str, rest: &[Step<'_>]) -> Outcome<Answer> {
    let found = objects::find(actor, kind, key)?;
    let reads = ask.method == Method::GET;
    let posts = ask.method == Method::POST;
    let deletes = ask.method == Method::DELETE;
    match rest {
        [] if reads => Ok(objects::one(actor, ask, kind, &found)),
        [] if deletes => {
            actor.delete_principal(found.object_id)?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        [] if ask.method == Method::PATCH => changes::update(actor, ask, kind, &found),
        [] => Err(ask.not_allowed()),
        [step] if reads => objects::related(actor, ask, kind, &found, step.name),
        [step] if posts => {
            if let Some(answer) = objects::memberships(actor, ask, &found, step.name)? {
                return Ok(answer);
            }
            changes::act(actor, ask, kind, &found, step.name)
        }
        [step, reference] if step.is("members") && reference.is("$ref") && posts => {
            changes::add_member(actor, ask, &found)
        }
        [step, who, reference] if step.is("members") && reference.is("$ref") && deletes => {
            changes::remove_member(actor, &found, who.name)
        }
        [step, ..] => Err(ask.unknown(step.name)),
    }
}

/// What Graph says of what is not there.
fn missing(key: &str) -> Fault {
    let message = format!(
        "Resource '{key}' does not exist or one of its queried reference-property objects are not present."
    );
    Problem::new(ErrorStatus::NOT_FOUND, "Request_ResourceNotFound", message).into()
}

fn bad(message: impl Into<String>) -> Fault {
    Problem::new(ErrorStatus::BAD_REQUEST, "Request_BadRequest", message).into()
}

/// A member of a body, if it is a text.
fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

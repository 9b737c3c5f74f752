//! The one table of routes: method, path, body limit, time-out, rights, gate, handler. The router is built from it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodFilter, on};
use futures::future::BoxFuture;

use crate::auth::{Act, Right};
use crate::call::{Answer, Call};
use crate::limits::{self, Limits};
use crate::parts::ServiceParts;
use crate::problem::{Form, Problem};
use crate::service::Service;
use crate::{
    batches, chat, completions, edge, embeddings, files, fine_tuned, fine_tuning, models, responses, uploads,
};

/// What answers a request.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Answer, Problem>>;

/// One row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Below `/openai/v1` and below `/openai`.
    pub(crate) path: &'static str,
    /// In the Azure form, below `/openai/deployments/{deployment}` instead.
    pub(crate) deployed: bool,
    pub(crate) body: BodyLimit,
    pub(crate) time: Duration,
    pub(crate) needs: &'static [Right],
    pub(crate) gate: Gate,
    pub(crate) handler: Handler,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

/// What body a route takes, and so how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLimit {
    /// None: what is sent is not read.
    None,
    /// A JSON object.
    Json,
    /// A form with a file.
    File,
    /// A form with a part of one.
    Part,
    /// A form with a model's weights.
    Weights,
}

/// What must be true of the customer key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It must be held from the beginning to the end of the answer.
    Key,
    /// The deployment's revocation policy decides.
    Deployment,
}

macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

const READ_MODELS: &[Right] = &[Right::Models(Act::Read)];
const WRITE_MODELS: &[Right] = &[Right::Models(Act::Write)];
/// To delete one by its name is to read its record first.
const DELETE_MODELS: &[Right] = &[Right::Models(Act::Delete), Right::Models(Act::Read)];
const READ_FILES: &[Right] = &[Right::Files(Act::Read)];
const WRITE_FILES: &[Right] = &[Right::Files(Act::Write)];
/// What came of a file so far is looked at whenever more comes.
const UPLOAD: &[Right] = &[Right::Files(Act::Write), Right::Files(Act::Read)];
const DELETE_FILES: &[Right] = &[Right::Files(Act::Delete)];
const READ_TUNING: &[Right] = &[Right::FineTuning(Act::Read)];
/// A job reads files, and the answer shows the job.
const TUNE: &[Right] = &[
    Right::FineTuning(Act::Write),
    Right::FineTuning(Act::Read),
    Right::Files(Act::Read),
];
/// To make or end one is to read its input and to write its results. What its lines ask for is asked for when it is made.
const BATCH: &[Right] = &[Right::Files(Act::Write), Right::Files(Act::Read)];
const CHAT: &[Right] = &[Right::Chat];
const EMBED: &[Right] = &[Right::Embeddings];
const READ_COMPLETIONS: &[Right] = &[Right::Completions(Act::Read)];
/// To change one is to read it first.
const WRITE_COMPLETIONS: &[Right] = &[Right::Completions(Act::Write), Right::Completions(Act::Read)];
const DELETE_COMPLETIONS: &[Right] = &[Right::Completions(Act::Delete)];
const EXPORT_COMPLETIONS: &[Right] = &[Right::Completions(Act::Read), Right::Files(Act::Write)];
const READ_RESPONSES: &[Right] = &[Right::Responses(Act::Read)];
/// To make or to end one is to read others too: those that it goes on from.
const RESPOND: &[Right] = &[Right::Responses(Act::Write), Right::Responses(Act::Read)];
const DELETE_RESPONSES: &[Right] = &[Right::Responses(Act::Delete)];

/// Every route of the service.
pub(crate) static ROUTES: &[Route] = &[
    get("/models", READ_MODELS, handler!(models::list)),
    Route {
        body: BodyLimit::Weights,
        time: limits::UPLOAD_TIME,
        ..post("/models", WRITE_MODELS, handler!(fine_tuned::import))
    },
    get("/models/{id}", READ_MODELS, handler!(models::get)),
    delete("/models/{id}", DELETE_MODELS, handler!(models::delete)),
    get("/files", READ_FILES, handler!(files::list)),
    Route {
        body: BodyLimit::File,
        time: limits::UPLOAD_TIME,
        ..post("/files", WRITE_FILES, handler!(files::upload))
    },
    get("/files/{id}", READ_FILES, handler!(files::get)),
    delete("/files/{id}", DELETE_FILES, handler!(files::delete)),
    get("/files/{id}/content", READ_FILES, handler!(files::content)),
    post("/batches", BATCH, handler!(batches::create)),
    get("/batches", READ_FILES, handler!(batches::list)),
    get("/batches/{id}", READ_FILES, handler!(batches::get)),
    post("/batches/{id}/cancel", BATCH, handler!(batches::cancel)),
    post("/uploads", UPLOAD, handler!(uploads::create)),
    Route {
        body: BodyLimit::Part,
        time: limits::UPLOAD_TIME,
        ..post("/uploads/{id}/parts", UPLOAD, handler!(uploads::add))
    },
    Route {
        time: limits::UPLOAD_TIME,
        ..post("/uploads/{id}/complete", UPLOAD, handler!(uploads::complete))
    },
    post("/uploads/{id}/cancel", UPLOAD, handler!(uploads::cancel)),
    post("/fine_tuning/jobs", TUNE, handler!(fine_tuning::create)),
    get("/fine_tuning/jobs", READ_TUNING, handler!(fine_tuning::list)),
    get("/fine_tuning/jobs/{id}", READ_TUNING, handler!(fine_tuning::get)),
    post(
        "/fine_tuning/jobs/{id}/cancel",
        TUNE,
        handler!(fine_tuning::cancel),
    ),
    post("/fine_tuning/jobs/{id}/pause", TUNE, handler!(fine_tuning::pause)),
    post(
        "/fine_tuning/jobs/{id}/resume",
        TUNE,
        handler!(fine_tuning::resume),
    ),
    get(
        "/fine_tuning/jobs/{id}/events",
        READ_TUNING,
        handler!(fine_tuning::list_events),
    ),
    get(
        "/fine_tuning/jobs/{id}/checkpoints",
        READ_TUNING,
        handler!(fine_tuning::list_checkpoints),
    ),
    inference("/chat/completions", CHAT, true, handler!(chat::create)),
    get("/chat/completions", READ_COMPLETIONS, handler!(completions::list)),
    Route {
        time: limits::UPLOAD_TIME,
        ..post(
            "/chat/completions/export",
            EXPORT_COMPLETIONS,
            handler!(completions::export),
        )
    },
    get(
        "/chat/completions/{id}",
        READ_COMPLETIONS,
        handler!(completions::get),
    ),
    post(
        "/chat/completions/{id}",
        WRITE_COMPLETIONS,
        handler!(completions::update),
    ),
    delete(
        "/chat/completions/{id}",
        DELETE_COMPLETIONS,
        handler!(completions::delete),
    ),
    get(
        "/chat/completions/{id}/messages",
        READ_COMPLETIONS,
        handler!(completions::messages),
    ),
    inference("/embeddings", EMBED, true, handler!(embeddings::create)),
    inference("/responses", RESPOND, false, handler!(responses::create)),
    get("/responses/{id}", READ_RESPONSES, handler!(responses::get)),
    delete("/responses/{id}", DELETE_RESPONSES, handler!(responses::delete)),
    post("/responses/{id}/cancel", RESPOND, handler!(responses::cancel)),
    get(
        "/responses/{id}/input_items",
        READ_RESPONSES,
        handler!(responses::input_items),
    ),
];

const fn get(path: &'static str, needs: &'static [Right], handler: Handler) -> Route {
    Route {
        method: Method::Get,
        path,
        deployed: false,
        body: BodyLimit::None,
        time: limits::SHORT_TIME,
        needs,
        gate: Gate::Key,
        handler,
    }
}

const fn post(path: &'static str, needs: &'static [Right], handler: Handler) -> Route {
    Route {
        method: Method::Post,
        body: BodyLimit::Json,
        ..get(path, needs, handler)
    }
}

const fn delete(path: &'static str, needs: &'static [Right], handler: Handler) -> Route {
    Route {
        method: Method::Delete,
        ..get(path, needs, handler)
    }
}

const fn inference(path: &'static str, needs: &'static [Right], deployed: bool, handler: Handler) -> Route {
    Route {
        deployed,
        time: limits::INFERENCE_TIME,
        gate: Gate::Deployment,
        ..post(path, needs, handler)
    }
}

impl Route {
    pub(crate) fn method_name(&self) -> &'static str {
        match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }

    /// The paths in both forms, relative to the account's root.
    pub(crate) fn paths(&self) -> [(Form, String); 2] {
        let azure = if self.deployed {
            "/openai/deployments/{deployment}"
        } else {
            "/openai"
        };
        [
            (Form::V1, format!("/openai/v1{}", self.path)),
            (Form::Azure, format!("{azure}{}", self.path)),
        ]
    }
}

impl BodyLimit {
    pub(crate) fn bytes(self, limits: &Limits) -> u64 {
        match self {
            Self::None => 0,
            Self::Json => u64::try_from(limits.json_bytes).unwrap_or(u64::MAX),
            Self::File => limits.file_bytes.saturating_add(limits::MULTIPART_OVERHEAD),
            Self::Part => limits.part_bytes.saturating_add(limits::MULTIPART_OVERHEAD),
            Self::Weights => limits.weight_bytes.saturating_add(limits::MULTIPART_OVERHEAD),
        }
    }

    /// Whose fault it is when the time is over.
    pub(crate) fn late(self) -> Problem {
        match self {
            Self::File | Self::Part | Self::Weights => Problem::SlowBody,
            Self::None | Self::Json => Problem::TimedOut,
        }
    }
}

impl Method {
    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// The routes, with paths relative to the account root: `/openai/v1/...` and `/openai/...?api-version=...`.
///
/// A request needs the extension [`AccountName`](crate::AccountName) and may carry a [`ConnectionCut`](crate::ConnectionCut).
pub fn router(parts: ServiceParts) -> Router {
    let service = Arc::new(Service::new(parts));
    batches::register(&service);
    let mut router = Router::new();
    for route in ROUTES {
        for (form, path) in route.paths() {
            let service = Arc::clone(&service);
            let serve = move |request| edge::serve(Arc::clone(&service), route, form, request);
            router = router.route(&path, on(route.method.filter(), serve));
        }
    }
    router
        .fallback(|uri: http::Uri| async move { edge::refuse(&Problem::UnknownRoute, uri.path()) })
        .method_not_allowed_fallback(|uri: http::Uri| async move {
            edge::refuse(&Problem::WrongMethod, uri.path())
        })
}

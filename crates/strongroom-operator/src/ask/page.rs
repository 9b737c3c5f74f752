//! The next page of a list: where it is, and whether it may be asked for.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::Question;
use crate::fact::{Fact, Failure, Source};

/// What follows a page.
pub(crate) enum Next {
    /// Nothing: the list is whole.
    End,
    /// Another page.
    Page(Question),
    /// Another page that is not asked for, and why. The list is not whole.
    Refused(Question, Failure, &'static str),
}

#[derive(Deserialize)]
struct Links {
    #[serde(default, rename = "nextLink", alias = "@odata.nextLink", alias = "@nextLink")]
    link: Option<Value>,
    #[serde(default, rename = "$skipToken")]
    token: Option<Value>,
}

/// What follows the page that `fact` holds, which answers `question`.
pub(crate) fn next(question: &Question, fact: &Fact) -> Next {
    let links = fact
        .body()
        .and_then(|body| serde_json::from_slice::<Links>(body).ok());
    let Some(links) = links else {
        return Next::End;
    };
    let told = if question.source == Source::ResourceGraph {
        links.token
    } else {
        links.link
    };
    match told {
        None | Some(Value::Null) => Next::End,
        Some(Value::String(told)) if told.is_empty() => Next::End,
        Some(Value::String(told)) if question.source == Source::ResourceGraph => by_token(question, told),
        Some(Value::String(told)) => by_link(question, &told),
        Some(_) => Next::Refused(
            question.clone(),
            Failure::NotTheProtocol,
            "the next page is named by something else than a text",
        ),
    }
}

fn by_link(question: &Question, link: &str) -> Next {
    let Ok(url) = Url::parse(link) else {
        let why = "the next page is not named by a URL";
        return Next::Refused(question.clone(), Failure::NotTheProtocol, why);
    };
    let is_near =
        url.origin() == question.url.origin() && url.username().is_empty() && url.password().is_none();
    let next = Question {
        url,
        ..question.clone()
    };
    if is_near {
        Next::Page(next)
    } else {
        let why = "the next page lies at another address than the first: nothing was sent there";
        Next::Refused(next, Failure::NotAsked, why)
    }
}

/// Resource Graph names the next page by a token that goes into the same question.
fn by_token(question: &Question, token: String) -> Next {
    let body = question.body.as_deref().unwrap_or_default();
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(options) = body.pointer_mut("/options").and_then(Value::as_object_mut) {
        options.insert("$skipToken".to_owned(), token.into());
    }
    Next::Page(Question {
        body: Some(body.to_string()),
        ..question.clone()
    })
}

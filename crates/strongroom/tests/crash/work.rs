//! What is done at the same time until the program is killed.

use futures::future::{join, join_all};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use strongroom_testkit::Instance;

use crate::dice::{Dice, content};
use crate::ledger::Ledger;

const SMALL_WRITERS: u64 = 4;
const LARGE_WRITERS: u64 = 2;

/// Ends when the program does.
pub(crate) async fn until_killed(instance: &Instance, ledger: &Ledger, dice: &mut Dice) {
    let (small, large) = (1..24_000, 1_100_000..2_200_000);
    let sizes = (0..SMALL_WRITERS)
        .map(|_| small.clone())
        .chain((0..LARGE_WRITERS).map(|_| large.clone()));
    let writers: Vec<_> = sizes
        .map(|sizes| upload(instance, ledger, dice.another(), sizes))
        .collect();
    let rotation = dice.one_in(3).then(|| rotate(instance, ledger));
    let rekey = dice.one_in(3).then(|| rekey(instance, ledger));
    let others = async {
        tokio::join!(
            delete(instance, ledger, dice.another()),
            delete(instance, ledger, dice.another()),
            respond(instance, ledger),
            join_all(rotation),
            join_all(rekey),
        );
    };
    join(join_all(writers), others).await;
}

async fn upload(instance: &Instance, ledger: &Ledger, mut dice: Dice, sizes: std::ops::Range<u64>) {
    loop {
        let number = ledger.next_number();
        let length = usize::try_from(dice.within(sizes.clone())).unwrap();
        let name = format!("{number}-{length}");
        let request = instance.upload_request(&name, content(number, length));
        let Some(file) = answer(request.send().await).await else {
            return;
        };
        ledger.uploaded(text(&file, "id"), name);
    }
}

/// Deletes something of what is there, and then again.
async fn delete(instance: &Instance, ledger: &Ledger, mut dice: Dice) {
    loop {
        let Some(path) = ledger.to_be_deleted(&mut dice) else {
            tokio::task::yield_now().await;
            if instance.api(Method::GET, "/models").send().await.is_err() {
                return;
            }
            continue;
        };
        if answer(instance.api(Method::DELETE, &path).send().await)
            .await
            .is_none()
        {
            return;
        }
        ledger.deleted(&path);
    }
}

async fn respond(instance: &Instance, ledger: &Ledger) {
    let model = instance.variable("STRONGROOM_DEPLOYMENT");
    loop {
        let input = format!("Number {}.", ledger.next_number());
        let request = instance
            .api(Method::POST, "/responses")
            .json(&json!({"model": model, "input": input}));
        let Some(response) = answer(request.send().await).await else {
            return;
        };
        ledger.responded(text(&response, "id"), input);
    }
}

async fn rotate(instance: &Instance, ledger: &Ledger) {
    if let Ok(rotated) = instance.key(Method::POST, "/rotate", None).await
        && let Some(key) = answer(Ok(rotated)).await
    {
        let id = key.pointer("/key/kid").and_then(Value::as_str).unwrap();
        ledger.rotated(id.rsplit('/').next().unwrap().to_owned());
    }
}

async fn rekey(instance: &Instance, ledger: &Ledger) {
    if let Ok(begun) = instance.admin(Method::POST, "rekey", None).await
        && answer(Ok(begun)).await.is_some()
    {
        ledger.rekeyed();
    }
}

/// The acknowledgement; nothing if the program died first. A program that lives has no reason to refuse.
async fn answer(answer: reqwest::Result<Response>) -> Option<Value> {
    let answer = answer.ok()?;
    let (status, body) = (answer.status(), answer.text().await.ok()?);
    assert!(status.is_success(), "{status}: {body}");
    Some(serde_json::from_str(&body).unwrap())
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap().to_owned()
}

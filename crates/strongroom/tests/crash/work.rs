//! What is done at the same time until the program is killed.

use futures::future::{join, join_all};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use strongroom_testkit::Instance;

use crate::dice::{Dice, content};
use crate::ledger::Ledger;

const SMALL_WRITERS: u64 = 4;
const LARGE_WRITERS: u64 = 2;
/// Parts of one upload, each inline or in a file of its own.
const PARTS: std::ops::Range<u64> = 2..6;

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
            keep_chats(instance, ledger),
            upload_in_parts(instance, ledger, dice.another()),
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

/// Uploads in parts, all at once; now and then one is given up.
async fn upload_in_parts(instance: &Instance, ledger: &Ledger, mut dice: Dice) {
    loop {
        let number = ledger.next_number();
        let length = usize::try_from(dice.within(10_000..900_000)).unwrap();
        let (name, whole) = (format!("{number}-{length}"), content(number, length));
        let size = length.div_ceil(usize::try_from(dice.within(PARTS)).unwrap());
        let Some(upload) = answer(instance.begin_upload(&name, length).send().await).await else {
            return;
        };
        let upload = text(&upload, "id");
        let parts = whole.chunks(size).map(|part| {
            let request = instance.part_request(&upload, part.to_vec());
            async { Some(text(&answer(request.send().await).await?, "id")) }
        });
        let ids: Option<Vec<_>> = join_all(parts).await.into_iter().collect();
        let Some(ids) = ids else { return };
        let is_given_up = dice.one_in(4);
        let end = if is_given_up {
            instance.api(Method::POST, &format!("/uploads/{upload}/cancel"))
        } else {
            instance.complete_upload(&upload, &ids)
        };
        let Some(ended) = answer(end.send().await).await else {
            return;
        };
        if !is_given_up {
            ledger.uploaded(text(ended.get("file").unwrap(), "id"), name);
        }
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

async fn keep_chats(instance: &Instance, ledger: &Ledger) {
    loop {
        let prompt = format!("Number {}.", ledger.next_number());
        let Some(kept) = answer(instance.kept_chat(&prompt).send().await).await else {
            return;
        };
        ledger.kept_chat(text(&kept, "id"), prompt);
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

//! Deployments of fine-tuned models: made once their model is opened, which goes on after the answer.

use http::Method;
use serde_json::{Value, json};
use strongroom_control::LoadFault;

use crate::accounts::{ONE, made, rig_with_group};
use crate::rig::{Rig, Told};

const MODEL: &str = "ft:rehearsal:one:night:0af1";

async fn rig_with_model() -> Rig {
    let rig = rig_with_group().await;
    made(&rig).await;
    *rig.service.tuned.lock().unwrap() = Ok(vec![MODEL]);
    rig
}

fn refused() -> LoadFault {
    LoadFault::Key {
        code: "customer_key_refused",
        message: "The customer key refuses.".to_owned(),
        passes: false,
    }
}

fn chat() -> String {
    format!("{ONE}/deployments/chat")
}

async fn put(rig: &Rig, model: &str) -> Told {
    let body = json!({
        "sku": {"name": "Standard", "capacity": "1"},
        "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
    });
    rig.put(&chat(), body).await
}

async fn state(rig: &Rig) -> Value {
    rig.get(&chat()).await.body["properties"]["provisioningState"].clone()
}

#[tokio::test]
async fn a_fine_tuned_model_is_opened_before_its_deployment_counts_as_made() {
    let rig = rig_with_model().await;
    let begun = put(&rig, MODEL).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    assert_eq!(begun.body["properties"]["provisioningState"], "Creating");
    assert_eq!(begun.header("retry-after"), "1");
    assert_eq!(state(&rig).await, "Creating");
    rig.service.loads.say.send(Ok(())).unwrap();
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    assert_eq!(state(&rig).await, "Succeeded");
    let listed = rig.get(&format!("{ONE}/models")).await;
    assert_eq!(listed.each("name"), ["rehearsal", MODEL]);
}

#[tokio::test]
async fn while_the_key_is_denied_nothing_is_deployed_and_the_code_says_why() {
    let rig = rig_with_model().await;
    *rig.service.tuned.lock().unwrap() = Err(refused());
    let told = put(&rig, MODEL).await;
    assert_eq!((told.status.as_u16(), told.code()), (403, "customer_key_refused"));
    *rig.service.tuned.lock().unwrap() = Err(LoadFault::Key {
        code: "customer_key_unreachable",
        message: "The vault cannot be reached.".to_owned(),
        passes: true,
    });
    let told = put(&rig, MODEL).await;
    assert_eq!(
        (told.status.as_u16(), told.code()),
        (503, "customer_key_unreachable")
    );
    assert_eq!(told.header("retry-after"), "1");
    assert_eq!(rig.get(&chat()).await.status, 404);
    // What needs no key is deployed, and listed.
    assert_eq!(put(&rig, "rehearsal").await.status, 201);
    assert_eq!(
        rig.get(&format!("{ONE}/models")).await.each("name"),
        ["rehearsal"]
    );
}

#[tokio::test]
async fn a_deployment_that_could_not_be_made_says_why_until_it_is_put_again() {
    let rig = rig_with_model().await;
    for (fault, code) in [
        (refused(), "customer_key_refused"),
        (LoadFault::Gone, "DeploymentModelNotFound"),
        (
            LoadFault::Unusable("tensor 3".to_owned()),
            "DeploymentModelUnusable",
        ),
    ] {
        rig.service.loads.say.send(Err(fault)).unwrap();
        let begun = put(&rig, MODEL).await;
        let ended = rig.finish(&begun).await;
        assert_eq!(ended.body["status"], "Failed");
        assert_eq!(ended.body["error"]["code"], code);
        let shown = rig.get(&chat()).await.body["properties"].clone();
        assert_eq!(shown["provisioningState"], "Failed");
        assert_eq!(shown["provisioningError"]["code"], code);
    }
    rig.service.loads.say.send(Ok(())).unwrap();
    let begun = put(&rig, MODEL).await;
    assert_eq!(begun.status, 200);
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    assert!(
        rig.get(&chat()).await.body["properties"]
            .get("provisioningError")
            .is_none()
    );
}

#[tokio::test]
async fn models_that_there_are_not_cannot_be_deployed() {
    let rig = rig_with_model().await;
    let long = format!("ft:{}:one:night:0af1", "x".repeat(600));
    for model in ["ft:rehearsal:one:day:0af1", "rehearsal-2", "", long.as_str()] {
        let told = put(&rig, model).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (400, "DeploymentModelNotSupported")
        );
    }
}

#[tokio::test]
async fn what_is_changed_beside_the_model_takes_no_key() {
    let rig = rig_with_model().await;
    rig.service.loads.say.send(Ok(())).unwrap();
    let begun = put(&rig, MODEL).await;
    rig.finish(&begun).await;
    *rig.service.tuned.lock().unwrap() = Err(refused());
    let policy = json!({"properties": {"revocationPolicy": "drain"}});
    let told = rig.ask(Method::PATCH, &chat(), policy).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["properties"]["revocationPolicy"], "Drain");
    let told = put(&rig, MODEL).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["properties"]["provisioningState"], "Succeeded");
    assert_eq!(told.body["properties"]["revocationPolicy"], "Drain");
}

#[tokio::test]
async fn what_a_stop_cut_off_goes_on_at_the_next_start() {
    let rig = rig_with_model().await;
    let begun = put(&rig, MODEL).await;
    rig.service.loads.say.send(Err(LoadFault::Closed)).unwrap();
    rig.service.loads.heard(1).await;
    let rig = rig.again().await;
    assert_eq!(state(&rig).await, "Creating");
    rig.service.loads.say.send(Ok(())).unwrap();
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    assert_eq!(state(&rig).await, "Succeeded");
}

#[tokio::test]
async fn one_that_is_deleted_while_it_is_made_stays_away() {
    let rig = rig_with_model().await;
    let begun = put(&rig, MODEL).await;
    assert_eq!(rig.ask(Method::DELETE, &chat(), Value::Null).await.status, 200);
    rig.service.loads.say.send(Ok(())).unwrap();
    rig.finish(&begun).await;
    assert_eq!(rig.get(&chat()).await.status, 404);
}

#[tokio::test]
async fn what_the_system_deployed_once_and_somebody_deleted_does_not_come_back() {
    let rig = rig_with_group().await;
    made(&rig).await;
    let offer = || {
        let deployment = strongroom_control::Deployment::of("rehearsal", 1, Default::default());
        rig.control.offer_model("one", "rehearsal", deployment).unwrap();
    };
    offer();
    let one = format!("{ONE}/deployments/rehearsal");
    assert_eq!(rig.get(&one).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 200);
    offer();
    assert_eq!(rig.get(&one).await.status, 404);
}

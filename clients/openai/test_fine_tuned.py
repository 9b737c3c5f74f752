"""A customer's own model, as the official OpenAI SDK sees it, in both forms: brought, deployed, asked, deleted."""

import os
import secrets

import openai
import pytest

from test_service import FORMS, HELLO, openai_form

DEPLOYMENT = os.environ.get("STRONGROOM_DEPLOYMENT")


@pytest.fixture(params=FORMS)
def client(request):
    with FORMS[request.param]() as client:
        yield client


@pytest.fixture(scope="module")
def deployed(instance):
    """A fine-tuned model and the name of its deployment."""
    name = "own-" + secrets.token_hex(3)
    with instance.tuned_model("sdk") as model:
        instance.run("deployment", "create", "--name", name, "--model", model)
        yield model, name
        instance.run("deployment", "delete", "--name", name)


def test_a_fine_tuned_model_is_listed_and_got_beside_the_deployments(client, deployed):
    model, name = deployed
    ids = [row.id for row in client.models.list()]
    assert {model, name, DEPLOYMENT} <= set(ids)
    shown = client.models.retrieve(model)
    assert (shown.id, shown.object, shown.owned_by) == (model, "model", os.environ["STRONGROOM_ACCOUNT"])


def test_its_deployment_answers_as_its_weights_do_whole_streamed_and_in_responses(client, deployed):
    _, name = deployed
    whole = [
        client.chat.completions.create(model=model, messages=HELLO, max_tokens=12).choices[0].message.content
        for model in (name, DEPLOYMENT)
    ]
    # The weights are the rehearsal model's.
    assert whole[0] == whole[1]
    chunks = client.chat.completions.create(model=name, messages=HELLO, max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole[0]
    response = client.responses.create(model=name, input=HELLO, max_output_tokens=12)
    assert response.output_text == whole[0]
    client.responses.delete(response.id)
    assert len(client.embeddings.create(model=name, input="x").data[0].embedding) > 0


def test_it_is_asked_by_its_deployments_name_alone(client, deployed):
    model, _ = deployed
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=model, messages=HELLO)


def test_it_is_not_deleted_while_it_is_deployed_and_gone_afterwards(client, deployed, instance):
    model, _ = deployed
    with pytest.raises(openai.ConflictError) as refused:
        client.models.delete(model)
    assert refused.value.code == "model_in_use"
    with instance.tuned_model("brief") as brief:
        deleted = client.models.delete(brief)
        assert (deleted.id, deleted.deleted, deleted.object) == (brief, True, "model")
        for attempt in (client.models.retrieve, client.models.delete):
            with pytest.raises(openai.NotFoundError):
                attempt(brief)


def test_what_the_service_was_started_with_is_not_deleted(client):
    with pytest.raises(openai.BadRequestError):
        client.models.delete(DEPLOYMENT)


def test_without_the_key_it_is_neither_seen_nor_asked(deployed, instance):
    model, name = deployed
    with openai_form() as client, instance.blind():
        for attempt in [
            lambda: client.models.list(),
            lambda: client.models.retrieve(model),
            lambda: client.models.delete(model),
            lambda: client.chat.completions.create(model=name, messages=HELLO),
        ]:
            with pytest.raises(openai.PermissionDeniedError) as refused:
                attempt()
            assert refused.value.code == "customer_key_refused"
    with openai_form() as client:
        assert client.chat.completions.create(model=name, messages=HELLO, max_tokens=4).choices[0].message.content

"""Batches, as the official OpenAI SDK sees them in both forms; see test_service.py."""

import io
import json

import openai
import pytest

# The fixtures are used by their names.
from test_service import DEPLOYMENT, client, form, key, openai_form, pytestmark, wait_until, wire  # noqa: F401

CHAT = "/v1/chat/completions"


def line(custom_id, **more):
    body = {"model": DEPLOYMENT, "messages": [{"role": "user", "content": "say hi"}], "max_tokens": 4}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **more}


def begin(client, lines, endpoint=CHAT):
    content = "\n".join(text if isinstance(text, str) else json.dumps(text) for text in lines).encode()
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"who": "me"})


def end(client, batch):
    found = []

    def is_over():
        found[:] = [client.batches.retrieve(batch.id)]
        return found[0].status in ("completed", "failed", "cancelled", "expired")

    wait_until(is_over)
    return found[0]


def results(client, file):
    return [json.loads(text) for text in client.files.content(file).text.splitlines()]


def test_every_line_is_answered_into_a_file(client):
    batch = begin(client, [line("a"), line("b", url="/chat/completions")])
    assert (batch.object, batch.status, batch.endpoint, batch.metadata) == ("batch", "validating", CHAT, {"who": "me"})
    done = end(client, batch)
    assert (done.status, done.errors, done.error_file_id) == ("completed", None, None)
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (2, 2, 0)
    answers = results(client, done.output_file_id)
    assert [answer["custom_id"] for answer in answers] == ["a", "b"]
    assert {answer["response"]["status_code"] for answer in answers} == {200}
    assert answers[0]["response"]["body"]["object"] == "chat.completion"
    assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
    assert batch.id in [listed.id for listed in client.batches.list(limit=5)]
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(batch.id)


def test_a_line_that_cannot_be_answered_has_a_file_of_its_own(client):
    bad = line("bad")
    bad["body"] = {**bad["body"], "messages": []}
    done = end(client, begin(client, [line("good"), bad]))
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 1, 1)
    answers = results(client, done.error_file_id)
    assert [(answer["custom_id"], answer["response"]["status_code"]) for answer in answers] == [("bad", 400)]
    assert answers[0]["response"]["body"]["error"]["code"] == "empty_array"


@pytest.mark.parametrize(
    "lines, code, number",
    [
        (["\n "], "empty_file", None),
        ([line("a"), "{nonsense"], "invalid_json_line", 2),
        ([line("a"), line("a")], "duplicate_custom_id", 2),
        ([line("a", method="GET")], "invalid_method", 1),
        ([line("a", url="/v1/embeddings")], "url_mismatch", 1),
        ([{"custom_id": "a"}], "missing_required_parameter", 1),
    ],
)
def test_a_file_that_is_no_batch_fails_with_the_number_of_the_line(client, lines, code, number):
    failed = end(client, begin(client, lines))
    assert failed.status == "failed"
    assert [(error.code, error.line) for error in failed.errors.data] == [(code, number)]


def test_a_batch_of_what_is_no_batch_file_is_refused(client):
    file = client.files.create(file=("a.txt", io.BytesIO(b"hello")), purpose="assistants")
    wish = {"endpoint": CHAT, "completion_window": "24h"}
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(input_file_id=file.id, **wish)
    assert refused.value.code == "invalid_file_purpose"
    for unknown in ("file-none", "file-" + "0" * 32):
        with pytest.raises(openai.NotFoundError) as refused:
            client.batches.create(input_file_id=unknown, **wish)
        assert refused.value.param == "input_file_id"
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")

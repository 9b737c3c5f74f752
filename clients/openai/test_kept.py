"""Uploads in parts and stored completions, as the official OpenAI SDK sees them in both forms; see test_service.py."""

import hashlib
import io
import json
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

# The fixtures are used by their names.
from test_service import BIG, DEPLOYMENT, HELLO, client, form, key, openai_form, pytestmark, wait_until, wire  # noqa: F401

PART = 1024 * 1024


def parts_of(content):
    return [content[at : at + PART] for at in range(0, len(content), PART)]


def wish(content, **more):
    return {"filename": "set.jsonl", "purpose": "fine-tune", "bytes": len(content), "mime_type": "text/jsonl", **more}


def refusal(attempt):
    with pytest.raises(openai.APIStatusError) as refused:
        attempt()
    return refused.value.status_code, refused.value.code, refused.value.param


# Uploads


def test_parts_that_come_at_once_are_the_file_in_the_order_told(client):
    upload = client.uploads.create(**wish(BIG, expires_after={"anchor": "created_at", "seconds": 3600}))
    assert (upload.object, upload.status, upload.bytes) == ("upload", "pending", len(BIG))
    assert upload.expires_at == upload.created_at + 3600

    def add(part):
        return client.uploads.parts.create(upload.id, data=part)

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(add, reversed(parts_of(BIG))))[::-1]
    assert {(part.object, part.upload_id) for part in parts} == {("upload.part", upload.id)}
    ids = [part.id for part in parts]
    md5 = hashlib.md5(BIG).hexdigest()
    assert refusal(lambda: client.uploads.complete(upload.id, part_ids=ids[::-1], md5=md5)) == (400, "checksum_mismatch", "md5")
    done = client.uploads.complete(upload.id, part_ids=ids, md5=md5)
    assert (done.status, done.file.bytes, done.file.purpose) == ("completed", len(BIG), "fine-tune")
    assert done.file.expires_at == done.file.created_at + 3600
    assert client.files.content(done.file.id).read() == BIG
    cut = client.files.with_raw_response.content(done.file.id, extra_headers={"Range": f"bytes={PART - 3}-{PART + 4}"})
    assert cut.http_response.content == BIG[PART - 3 : PART + 5]
    assert client.files.delete(done.file.id).deleted


def test_the_sdks_own_chunked_upload_works(client):
    content = BIG[:2_500_000]
    done = client.uploads.upload_file_chunked(
        file=content, filename="a.txt", bytes=len(content), mime_type="text/plain", purpose="assistants", part_size=1_000_000
    )
    assert (done.status, done.file.filename) == ("completed", "a.txt")
    assert client.files.content(done.file.id).read() == content
    client.files.delete(done.file.id)


def test_a_list_of_parts_that_is_not_the_file_is_refused(client):
    content = b"0123456789"
    upload, other = client.uploads.create(**wish(content)), client.uploads.create(**wish(content))
    one = client.uploads.parts.create(upload.id, data=content[:4]).id
    two = client.uploads.parts.create(upload.id, data=content[4:]).id
    foreign = client.uploads.parts.create(other.id, data=content[4:]).id

    def complete(*ids):
        return refusal(lambda: client.uploads.complete(upload.id, part_ids=ids))

    assert complete(one) == (400, "upload_bytes_mismatch", "part_ids")
    assert complete(one, two, one) == (400, "duplicate_part", "part_ids[2]")
    assert complete(one, foreign) == complete(one, "part_none") == (400, "part_not_found", "part_ids[1]")
    assert client.uploads.complete(upload.id, part_ids=[one, two]).status == "completed"
    assert complete(one, two) == (400, "upload_not_pending", "upload_id")
    assert refusal(lambda: client.uploads.parts.create(upload.id, data=b"x"))[1] == "upload_not_pending"
    assert client.uploads.cancel(other.id).status == "cancelled"
    assert refusal(lambda: client.uploads.parts.create(other.id, data=b"x"))[1] == "upload_not_pending"
    assert refusal(lambda: client.uploads.cancel("upload_none"))[0] == 404


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"purpose": "world-peace"}, "purpose"),
        ({"mime_type": "image/png"}, "mime_type"),
        ({"bytes": 0}, "bytes"),
        ({"bytes": 8 * 1024**3 + 1}, "bytes"),
        ({"filename": "a\nb"}, "filename"),
    ],
)
def test_what_cannot_be_a_file_is_refused_before_any_part(client, more, param):
    assert refusal(lambda: client.uploads.create(**wish(b"x", **more)))[::2] == (400, param)


def test_a_part_that_is_too_long_is_refused(client):
    upload = client.uploads.create(**wish(b"x"))
    too_long = io.BytesIO(b"x" * (64 * 1024**2 + 1))
    assert refusal(lambda: client.uploads.parts.create(upload.id, data=too_long))[:2] == (413, "request_too_large")
    client.uploads.cancel(upload.id)


# Stored completions


def keep(client, **more):
    return client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, max_tokens=4, store=True, **more)


def test_completions_are_kept_listed_changed_and_deleted(client):
    run = uuid.uuid4().hex
    kept = [keep(client, metadata={"run": run, "n": str(n)}) for n in range(3)]
    stream = list(keep(client, metadata={"run": run, "n": "3"}, stream=True))
    ids = [completion.id for completion in kept] + [stream[0].id]
    stored = client.chat.completions
    listed = list(stored.list(metadata={"run": run}, limit=2))
    assert [completion.id for completion in listed] == ids
    assert [completion.id for completion in stored.list(metadata={"run": run}, order="desc")] == ids[::-1]
    assert [completion.id for completion in stored.list(metadata={"run": run, "n": "1"}, model=DEPLOYMENT)] == [ids[1]]
    told = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert listed[3].choices[0].message.content == told
    assert stored.retrieve(ids[0]).choices == kept[0].choices
    assert [(message.role, message.content) for message in stored.messages.list(ids[0])] == [("user", HELLO[0]["content"])]
    assert stored.update(ids[0], metadata={"run": run, "n": "none"}).metadata == {"run": run, "n": "none"}
    assert list(stored.list(metadata={"run": run, "n": "0"})) == []
    for kept_id in ids:
        assert stored.delete(kept_id).deleted
    assert refusal(lambda: stored.retrieve(ids[0])) == (404, {"/openai/v1/": "not_found"}.get(client.base_url.path, "NotFound"), "id")


def test_what_is_not_asked_to_be_kept_is_not(client):
    completion = client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, max_tokens=2)
    assert refusal(lambda: client.chat.completions.retrieve(completion.id))[0] == 404


def test_kept_completions_become_a_training_set():
    run = uuid.uuid4().hex
    with openai_form() as client:
        kept = [keep(client, metadata={"run": run}) for _ in range(2)]
        whole = [one for one in kept if one.choices[0].finish_reason == "stop"]
        answer = wire("POST", "/chat/completions/export", json={"metadata": {"run": run}, "filename": "good.jsonl"})
        if whole:
            file = answer.json()
            assert (file["purpose"], file["filename"]) == ("fine-tune", "good.jsonl")
            lines = [json.loads(line) for line in client.files.content(file["id"]).read().splitlines()]
            assert [line["messages"][0] for line in lines] == [HELLO[0]] * len(whole)
            assert {line["messages"][-1]["role"] for line in lines} == {"assistant"}
        else:
            assert answer.json()["error"]["code"] == "nothing_to_export"


# Revocation


def test_without_the_key_nothing_of_either_is_served(key):
    with openai_form() as client:
        content = secrets.token_bytes(PART + 5)
        upload = client.uploads.create(**wish(content))
        ids = [client.uploads.parts.create(upload.id, data=part).id for part in parts_of(content)]
        kept = keep(client)
        key("disable")
        wait_until(lambda: wire("GET", "/files").status_code == 403)
        stored = client.chat.completions
        for attempt in [
            lambda: client.uploads.create(**wish(content)),
            lambda: client.uploads.parts.create(upload.id, data=b"x"),
            lambda: client.uploads.complete(upload.id, part_ids=ids),
            lambda: client.uploads.cancel(upload.id),
            lambda: keep(client),
            lambda: stored.list(),
            lambda: stored.retrieve(kept.id),
            lambda: stored.update(kept.id, metadata={}),
            lambda: stored.messages.list(kept.id),
            lambda: stored.delete(kept.id),
        ]:
            assert refusal(attempt)[:2] == (403, "customer_key_refused")
        key("enable")
        wait_until(lambda: wire("GET", "/files").status_code == 200)
        done = client.uploads.complete(upload.id, part_ids=ids)
        assert client.files.content(done.file.id).read() == content
        assert stored.retrieve(kept.id).choices == kept.choices

"""The service as the official OpenAI SDK sees it, in both forms.

Driven by the environment file of `strongroom up` (`. DIR/env`): OPENAI_BASE_URL and OPENAI_API_KEY for the OpenAI form,
AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY for the Azure form, STRONGROOM_DEPLOYMENT for the model, and for the test of
revocation STRONGROOM_BINARY and STRONGROOM_DATA.
"""

import base64
import os
import secrets
import struct
import subprocess
import time
import uuid

import httpx2 as httpx
import openai
import pytest

DEPLOYMENT = os.environ.get("STRONGROOM_DEPLOYMENT")
pytestmark = pytest.mark.skipif(not DEPLOYMENT, reason="needs the environment of a running `strongroom up`")

API_VERSION = "2025-04-01-preview"
HELLO = [{"role": "user", "content": "The customer key"}]
NONE_SUCH = "file-" + uuid.uuid4().hex
BIG = secrets.token_bytes(3 * 1024 * 1024 + 17)


def openai_form(**settings):
    settings = {"max_retries": 0, "timeout": 120, **settings}
    return openai.OpenAI(**settings)


def azure_form(**settings):
    settings = {"max_retries": 0, "timeout": 120, "api_version": API_VERSION, **settings}
    settings.setdefault("azure_endpoint", os.environ["AZURE_OPENAI_ENDPOINT"])
    if "azure_ad_token" not in settings:
        settings.setdefault("api_key", os.environ["AZURE_OPENAI_API_KEY"])
    return openai.AzureOpenAI(**settings)


FORMS = {"openai": openai_form, "azure": azure_form}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def client(form):
    with FORMS[form]() as client:
        yield client


@pytest.fixture
def file(client):
    file = client.files.create(file=("big.bin", BIG), purpose="user_data")
    yield file
    try:
        client.files.delete(file.id)
    except openai.NotFoundError:
        pass


# Models


def test_models_are_listed_and_one_is_got(client):
    ids = [model.id for model in client.models.list()]
    assert DEPLOYMENT in ids
    model = client.models.retrieve(DEPLOYMENT)
    assert (model.id, model.object) == (DEPLOYMENT, "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none-such")


# Files


def test_a_file_goes_up_and_comes_back(client, file):
    assert file.id.startswith("file-")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(BIG), "big.bin", "user_data")
    assert file.status == "processed" and abs(file.created_at - time.time()) < 300
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == BIG
    deleted = client.files.delete(file.id)
    assert deleted.deleted and deleted.id == file.id
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_range_of_a_file_is_served_alone(client, file):
    def ask(value):
        return client.files.with_raw_response.content(file.id, extra_headers={"Range": value}).http_response

    middle = ask("bytes=1048570-1048585")
    assert (middle.status_code, middle.content) == (206, BIG[1048570:1048586])
    assert middle.headers["content-range"] == f"bytes 1048570-1048585/{len(BIG)}"
    assert ask("bytes=-5").content == BIG[-5:]
    assert ask(f"bytes={len(BIG) - 3}-").content == BIG[-3:]
    with pytest.raises(openai.APIStatusError) as refused:
        ask(f"bytes={len(BIG)}-")
    assert refused.value.status_code == 416
    assert refused.value.response.headers["content-range"] == f"bytes */{len(BIG)}"


def test_a_download_streams(client, file):
    with client.files.with_streaming_response.content(file.id) as response:
        assert int(response.headers["content-length"]) == len(BIG)
        assert b"".join(response.iter_bytes()) == BIG


@pytest.mark.parametrize("name", ["naïve ☃.txt", "../../etc/passwd", 'with "quotes".txt', "two words"])
def test_a_name_comes_back_as_it_was_given(client, name):
    file = client.files.create(file=(name, b"x"), purpose="assistants")
    assert client.files.retrieve(file.id).filename == name
    client.files.delete(file.id)


def test_the_list_pages_by_itself_and_filters(client):
    ids = [client.files.create(file=(f"{n}.jsonl", b"{}\n"), purpose="evals").id for n in range(5)]
    page = client.files.list(purpose="evals", limit=2)
    assert [file.id for file in page.data] == [ids[4], ids[3]] and page.has_more
    assert [file.id for file in page] == ids[::-1]
    assert [file.id for file in client.files.list(purpose="evals", order="asc", after=ids[2])] == ids[3:]
    assert not [file for file in client.files.list(purpose="fine-tune") if file.id in ids]
    with pytest.raises(openai.NotFoundError):
        client.files.list(after=NONE_SUCH)
    for n in ids:
        client.files.delete(n)


def test_an_expiry_is_kept(client):
    after = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a", b"x"), purpose="user_data", expires_after=after)
    assert file.expires_at == file.created_at + 3600
    client.files.delete(file.id)


def test_what_is_no_upload_is_refused(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("empty", b""), purpose="batch")
    assert (refused.value.code, refused.value.param) == ("empty_file", "file")
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("a", b"x"), purpose="world-peace")
    assert refused.value.param == "purpose"


# Chat completions


def test_a_completion_is_whole(client):
    completion = client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, max_tokens=8)
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason in ("stop", "length")
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion._request_id


def test_a_stream_says_the_same(client):
    ask = {"model": DEPLOYMENT, "messages": HELLO, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**ask).choices[0].message.content
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0


def test_bad_requests_name_their_parameter(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=DEPLOYMENT, messages=[])
    assert refused.value.param == "messages" and refused.value.code == "empty_array"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, store="yes")
    assert refused.value.param == "store"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, temperature=9)


def test_an_unknown_model_is_not_found(client, form):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none-such", messages=HELLO)
    assert missing.value.code == {"openai": "model_not_found", "azure": "DeploymentNotFound"}[form]


# Embeddings


def test_embeddings_are_the_same_in_both_encodings(client):
    texts = ["one", "two"]
    floats = client.embeddings.create(model=DEPLOYMENT, input=texts, encoding_format="float")
    raw = client.embeddings.create(model=DEPLOYMENT, input=texts, encoding_format="base64")
    assert [item.index for item in floats.data] == [0, 1]
    for number, packed in zip(floats.data, raw.data):
        packed = base64.b64decode(packed.embedding)
        unpacked = struct.unpack(f"<{len(packed) // 4}f", packed)
        assert list(unpacked) == pytest.approx(number.embedding, rel=1e-6)
    # The SDK asks for base64 by itself and decodes it.
    assert client.embeddings.create(model=DEPLOYMENT, input="one").data[0].embedding == pytest.approx(
        floats.data[0].embedding, rel=1e-6
    )


# Responses


def test_a_response_is_kept_listed_and_deleted(client):
    response = client.responses.create(
        model=DEPLOYMENT,
        input="The vault",
        instructions="Be short.",
        metadata={"topic": "vaults"},
        max_output_tokens=8,
    )
    assert response.id.startswith("resp_") and response.status in ("completed", "incomplete")
    assert response.metadata == {"topic": "vaults"} and response.instructions == "Be short."
    assert response.usage.output_tokens > 0
    assert client.responses.retrieve(response.id).output_text == response.output_text
    items = list(client.responses.input_items.list(response.id))
    assert [(item.role, item.content[0].text) for item in items] == [("user", "The vault")]
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_the_events_of_a_response_come_in_the_official_order(client):
    stream = client.responses.create(model=DEPLOYMENT, input="The vault", stream=True, max_output_tokens=8)
    events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:-1] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert kinds[-1] in ("response.completed", "response.incomplete")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert final.output_text == text
    assert client.responses.retrieve(final.id).output_text == text


def test_the_sdks_own_stream_helper_follows(client):
    with client.responses.stream(model=DEPLOYMENT, input="The vault", max_output_tokens=8) as stream:
        events = list(stream)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    # The helper keeps a snapshot of its own, out of the events.
    snapshots = [event.snapshot for event in events if event.type == "response.output_text.delta"]
    assert deltas and snapshots[-1] == "".join(deltas) == events[-1].response.output_text


def test_a_chain_remembers(client):
    ask = {"model": DEPLOYMENT, "max_output_tokens": 4}
    first = client.responses.create(input="one", **ask)
    second = client.responses.create(input="two", previous_response_id=first.id, **ask)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as missing:
        client.responses.create(input="x", previous_response_id="resp_none", **ask)
    assert missing.value.code == "previous_response_not_found"


def test_input_items_page_by_themselves(client):
    turns = [{"role": "user", "content": f"turn {n}"} for n in range(5)]
    response = client.responses.create(model=DEPLOYMENT, input=turns, max_output_tokens=2)
    items = client.responses.input_items.list(response.id, limit=2, order="asc")
    assert len(items.data) == 2 and items.has_more
    assert [item.content[0].text for item in items] == [f"turn {n}" for n in range(5)]


def test_a_response_that_shall_not_be_kept_is_not(client):
    response = client.responses.create(model=DEPLOYMENT, input="x", store=False, max_output_tokens=2)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_response_that_is_over_cannot_be_cancelled(client):
    response = client.responses.create(model=DEPLOYMENT, input="x", max_output_tokens=2)
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(response.id)


# Callers


def test_a_wrong_key_is_no_key(form):
    with FORMS[form](api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
        client.models.list()
    assert refused.value.code == {"openai": "invalid_api_key", "azure": "401"}[form]
    assert refused.value.request_id


def test_a_token_that_nobody_signed_is_no_token():
    parts = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}", b"x")]
    with azure_form(azure_ad_token=".".join(parts)) as client, pytest.raises(openai.AuthenticationError):
        client.files.list()


def test_the_azure_form_needs_a_version():
    with azure_form(api_version="yesterday") as client, pytest.raises(openai.BadRequestError):
        client.models.list()


# The wire


def wire(method, path, **settings):
    headers = {"api-key": os.environ["OPENAI_API_KEY"], **settings.pop("headers", {})}
    url = os.environ["OPENAI_BASE_URL"].rstrip("/") + path
    return httpx.request(method, url, headers=headers, timeout=60, **settings)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"model":"\xff"}', b"[" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000],
    ids=["cut", "array", "not-utf-8", "deep-array", "deep-object"],
)
def test_json_that_cannot_be_read_is_a_bad_request(body):
    answer = wire("POST", "/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_json" and error["type"] == "invalid_request_error"


def test_an_upload_that_breaks_off_leaves_nothing():
    before = wire("GET", "/files").json()["data"]

    def pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + BIG
        raise ConnectionError("the client goes away")

    with pytest.raises(ConnectionError):
        wire("POST", "/files", content=pieces(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert wire("GET", "/files").json()["data"] == before


def test_answers_carry_request_ids_and_are_not_to_be_kept():
    answer = wire("GET", "/models")
    assert answer.headers["x-request-id"].startswith("req_")
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["cache-control"] == "no-store"


# Revocation


@pytest.fixture
def key():
    """Turns the customer key off and on with the program's own command."""
    binary, data = os.environ.get("STRONGROOM_BINARY"), os.environ.get("STRONGROOM_DATA")
    if not binary:
        pytest.skip("needs STRONGROOM_BINARY and STRONGROOM_DATA")

    def turn(word):
        subprocess.run([binary, "key", word, "--data", data], check=True, capture_output=True, timeout=60)

    yield turn
    turn("enable")
    wait_until(lambda: wire("GET", "/files").status_code == 200)


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_disabled_key_stops_everything_and_an_enabled_one_brings_it_back(key):
    with openai_form() as client, azure_form() as azure:
        file = client.files.create(file=("kept.bin", BIG), purpose="user_data")
        response = client.responses.create(model=DEPLOYMENT, input="x", max_output_tokens=2)
        key("disable")
        wait_until(lambda: wire("GET", "/files").status_code == 403)
        for attempt in [
            lambda: client.files.list(),
            lambda: client.files.content(file.id),
            lambda: azure.files.retrieve(file.id),
            lambda: client.files.create(file=("a", b"x"), purpose="batch"),
            lambda: client.files.delete(file.id),
            lambda: client.responses.retrieve(response.id),
            lambda: client.responses.create(model=DEPLOYMENT, input="x"),
            lambda: client.chat.completions.create(model=DEPLOYMENT, messages=HELLO),
            lambda: azure.embeddings.create(model=DEPLOYMENT, input="x"),
        ]:
            with pytest.raises(openai.PermissionDeniedError) as refused:
                attempt()
            assert refused.value.code == "customer_key_refused"
        key("enable")
        wait_until(lambda: wire("GET", "/files").status_code == 200)
        assert client.files.content(file.id).read() == BIG
        assert client.responses.retrieve(response.id).id == response.id
        client.files.delete(file.id)


def test_a_download_in_flight_breaks_and_does_not_end(key):
    with openai_form() as client:
        content = secrets.token_bytes(48 * 1024 * 1024)
        file = client.files.create(file=("large.bin", content), purpose="user_data")
        taken = 0
        with pytest.raises((httpx.HTTPError, openai.APIConnectionError)):
            with client.files.with_streaming_response.content(file.id) as answer:
                for piece in answer.iter_bytes(65536):
                    if taken == 0:
                        # More than any buffer on the way holds is still to come.
                        key("disable")
                        wait_until(lambda: wire("GET", "/files").status_code == 403)
                    taken += len(piece)
        assert taken < len(content)
        key("enable")
        wait_until(lambda: wire("GET", "/files").status_code == 200)
        client.files.delete(file.id)

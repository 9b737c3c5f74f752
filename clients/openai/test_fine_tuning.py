"""Fine-tuning as the official OpenAI SDK sees it, in both forms: a job and all that comes of it, and what cannot become one."""

import json
import time

import openai
import pytest

from test_service import FORMS, openai_form

BASE = "strongroom-rehearsal"


@pytest.fixture(params=FORMS)
def client(request):
    with FORMS[request.param]() as client:
        yield client


def lines(count):
    for number in range(count):
        yield json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"What is the word for {number}?"},
                    {"role": "assistant", "content": f"The word is alder {number}."},
                ]
            }
        )


def training_file(client, content=None, purpose="fine-tune"):
    content = "\n".join(lines(10)) if content is None else content
    return client.files.create(file=("set.jsonl", content.encode()), purpose=purpose).id


def until(client, job, *statuses):
    for _ in range(1200):
        shown = client.fine_tuning.jobs.retrieve(job)
        if shown.status in statuses:
            return shown
        assert shown.status not in ("failed", "cancelled"), shown
        time.sleep(0.1)
    raise AssertionError(f"the job is still {shown.status}")


def test_a_job_makes_a_model_that_is_listed_with_events_checkpoints_and_results(client):
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training_file(client),
        validation_file=training_file(client, "\n".join(lines(2))),
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 5}}},
        suffix="alder",
        seed=11,
        metadata={"team": "green"},
    )
    assert (job.object, job.model, job.seed, job.metadata) == ("fine_tuning.job", BASE, 11, {"team": "green"})
    done = until(client, job.id, "succeeded")
    assert done.hyperparameters.n_epochs == 3 and done.trained_tokens > 0 and done.error is None
    assert ":alder:" in done.fine_tuned_model
    assert done.fine_tuned_model in [model.id for model in client.models.list()]
    assert job.id in [row.id for row in client.fine_tuning.jobs.list(limit=2)]
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert len({event.id for event in events}) == len(events) > 6
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [row.step_number for row in checkpoints] == [4, 2]
    assert checkpoints[0].metrics.full_valid_loss > 0
    table = client.files.content(done.result_files[0]).text.splitlines()
    assert table[0].startswith("step,train_loss") and len(table) == 7
    for model in [done.fine_tuned_model] + [row.fine_tuned_model_checkpoint for row in checkpoints]:
        assert client.models.delete(model).deleted


def test_a_job_is_paused_resumed_and_cancelled(client):
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=training_file(client), hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    until(client, job.id, "paused")
    client.fine_tuning.jobs.resume(job.id)
    until(client, job.id, "running")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    for _ in range(100):
        if client.fine_tuning.jobs.retrieve(job.id).finished_at:
            break
        time.sleep(0.1)
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.cancel(job.id)
    assert refused.value.code == "job_has_ended"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n".join(lines(9)), "at least 10"),
        ("\n".join([*lines(9), "{broken", "{}"]), "Line 10: the line is not valid JSON"),
        ("\n".join([*lines(10), '{"messages": [{"content": "x"}]}']), "Line 11: messages[0]: `role` is missing"),
    ],
)
def test_a_wrong_training_set_fails_the_job_with_its_lines(client, content, told):
    job = client.fine_tuning.jobs.create(model=BASE, training_file=training_file(client, content))
    for _ in range(600):
        shown = client.fine_tuning.jobs.retrieve(job.id)
        if shown.status == "failed":
            break
        time.sleep(0.1)
    assert (shown.error.code, shown.error.param) == ("invalid_training_file", "training_file")
    assert told in shown.error.message


def test_what_cannot_become_a_job_is_refused(client):
    file = training_file(client)
    other = training_file(client, "hello", purpose="user_data")
    for wrong, param in [
        ({"model": "gpt-4o", "training_file": file}, "model"),
        ({"model": BASE, "training_file": other}, "training_file"),
        ({"model": BASE, "training_file": file, "suffix": "a b"}, "suffix"),
        ({"model": BASE, "training_file": file, "hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"model": BASE, "training_file": file, "method": {"type": "dpo"}}, "method.type"),
    ]:
        with pytest.raises(openai.BadRequestError) as refused:
            client.fine_tuning.jobs.create(**wrong)
        assert refused.value.param == param
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model=BASE, training_file="file-00000000000000000000000000000000")
    for attempt in ("retrieve", "cancel", "pause", "resume"):
        with pytest.raises(openai.NotFoundError):
            getattr(client.fine_tuning.jobs, attempt)("ftjob-00000000000000000000000000000000")


def test_without_the_key_jobs_are_neither_made_nor_seen(instance):
    with openai_form() as client:
        file = training_file(client)
    # Another client: connections that were open when the key was turned off may have been cut.
    with instance.blind(), openai_form() as client:
        for attempt in (
            lambda: client.fine_tuning.jobs.create(model=BASE, training_file=file),
            lambda: client.fine_tuning.jobs.list().data,
        ):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                attempt()
            assert refused.value.code == "customer_key_refused"

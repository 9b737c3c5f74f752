// Fine-tuning as OpenAI's SDK for Node sees it, in both forms.
"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { OpenAI, all, forms, until } = require("./forms.cjs");

const base = "strongroom-rehearsal";

function lines(count) {
  return Array.from({ length: count }, (_, number) =>
    JSON.stringify({
      messages: [
        { role: "user", content: `What is the word for ${number}?` },
        { role: "assistant", content: `The word is alder ${number}.` },
      ],
    }),
  ).join("\n");
}

for (const [form, make] of Object.entries(forms)) {
  describe(`fine-tuning in the ${form} form`, () => {
    const client = make();
    const jobs = client.fineTuning.jobs;

    async function begin(text, more) {
      const file = await client.files.create({ file: await OpenAI.toFile(Buffer.from(text), "set.jsonl"), purpose: "fine-tune" });
      return jobs.create({ model: base, training_file: file.id, ...more });
    }

    test("a job makes a model, with events, checkpoints and results", async () => {
      const job = await begin(lines(10), { hyperparameters: { n_epochs: 2, batch_size: 5 }, suffix: "node", seed: 11 });
      const done = await until(() => jobs.retrieve(job.id), ({ status }) => ["succeeded", "failed"].includes(status));
      assert.deepEqual([done.status, done.error], ["succeeded", null]);
      assert.ok((await all(client.models.list())).some(({ id }) => id === done.fine_tuned_model));
      assert.ok((await all(jobs.list())).some(({ id }) => id === job.id));
      assert.ok((await all(jobs.listEvents(job.id))).length > 0);
      const checkpoints = await all(jobs.checkpoints.list(job.id));
      const table = await (await client.files.content(done.result_files[0])).text();
      assert.match(table, /^step,train_loss/);
      const made = [done.fine_tuned_model, ...checkpoints.map((one) => one.fine_tuned_model_checkpoint)];
      for (const id of made) assert.equal((await client.models.delete(id)).deleted, true);
    });

    test("a wrong training set fails the job with its line", async () => {
      const job = await begin(`${lines(9)}\n{broken`);
      const failed = await until(() => jobs.retrieve(job.id), ({ status }) => status === "failed");
      assert.equal(failed.error.code, "invalid_training_file");
      assert.match(failed.error.message, /Line 10/);
      await assert.rejects(jobs.retrieve("ftjob-none"), OpenAI.NotFoundError);
    });
  });
}

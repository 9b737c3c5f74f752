// Batches as OpenAI's SDK for Node sees them, in both forms.
"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { OpenAI, all, forms, model, until } = require("./forms.cjs");

const endpoint = "/v1/chat/completions";
const over = ["completed", "failed", "cancelled", "expired"];

function line(custom_id, more) {
  const body = { model, messages: [{ role: "user", content: "say hi" }], max_tokens: 4 };
  return { custom_id, method: "POST", url: endpoint, body, ...more };
}

for (const [form, make] of Object.entries(forms)) {
  describe(`batches in the ${form} form`, () => {
    const client = make();

    async function run(lines) {
      const text = lines.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join("\n");
      const file = await client.files.create({ file: await OpenAI.toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
      const batch = await client.batches.create({ input_file_id: file.id, endpoint, completion_window: "24h" });
      return until(() => client.batches.retrieve(batch.id), ({ status }) => over.includes(status));
    }

    test("every line is answered into a file", async () => {
      const done = await run([line("a"), line("b")]);
      assert.deepEqual([done.status, done.request_counts], ["completed", { total: 2, completed: 2, failed: 0 }]);
      const text = await (await client.files.content(done.output_file_id)).text();
      const answers = text.trim().split("\n").map((answer) => JSON.parse(answer));
      assert.deepEqual(answers.map((answer) => answer.custom_id).sort(), ["a", "b"]);
      assert.ok(answers.every(({ response }) => response.status_code === 200));
      assert.ok((await all(client.batches.list())).some((one) => one.id === done.id));
      await assert.rejects(client.batches.cancel(done.id), OpenAI.BadRequestError);
    });

    test("a wrong line fails the batch with its number", async () => {
      const failed = await run([line("a"), line("a")]);
      assert.equal(failed.status, "failed");
      assert.deepEqual(failed.errors.data.map((error) => [error.code, error.line]), [["duplicate_custom_id", 2]]);
      await assert.rejects(client.batches.retrieve("batch_none"), OpenAI.NotFoundError);
    });
  });
}

// The service as OpenAI's SDK for Node sees it, in both forms. Run by `cargo xtask clients`, which starts the instance.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { describe, test } = require("node:test");
const { OpenAI, all, forms, model } = require("./forms.cjs");

const { toFile } = OpenAI;
const messages = [{ role: "user", content: "The customer key" }];
const big = crypto.randomBytes(3 * 1024 * 1024 + 17);

async function content(client, file) {
  return Buffer.from(await (await client.files.content(file)).arrayBuffer());
}

for (const [form, make] of Object.entries(forms)) {
  describe(`the ${form} form`, () => {
    const client = make();

    test("models are listed and one is got", async () => {
      assert.ok((await all(client.models.list())).some((one) => one.id === model));
      assert.equal((await client.models.retrieve(model)).id, model);
      await assert.rejects(client.models.retrieve("none-such"), OpenAI.NotFoundError);
    });

    test("a file goes up, comes back, is listed and deleted", async () => {
      const file = await client.files.create({ file: await toFile(big, "naïve ☃.bin"), purpose: "user_data" });
      assert.deepEqual([file.bytes, file.filename, file.purpose], [big.length, "naïve ☃.bin", "user_data"]);
      assert.deepEqual(await client.files.retrieve(file.id), file);
      assert.ok((await content(client, file.id)).equals(big));
      const middle = await client.files.content(file.id, { headers: { Range: "bytes=1048570-1048585" } });
      assert.equal(middle.status, 206);
      assert.ok(Buffer.from(await middle.arrayBuffer()).equals(big.subarray(1048570, 1048586)));
      assert.ok((await all(client.files.list({ purpose: "user_data" }))).some((one) => one.id === file.id));
      assert.equal((await client.files.delete(file.id)).deleted, true);
      await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
    });

    test("what is no file is refused", async () => {
      const bad = client.files.create({ file: await toFile(Buffer.from("x"), "a"), purpose: "world-peace" });
      await assert.rejects(bad, (error) => error instanceof OpenAI.BadRequestError && error.param === "purpose");
    });

    test("an upload in parts is the file in the order told", async () => {
      const wish = { filename: "big.jsonl", purpose: "fine-tune", bytes: big.length, mime_type: "text/jsonl" };
      const upload = await client.uploads.create(wish);
      assert.deepEqual([upload.status, upload.bytes], ["pending", big.length]);
      const cut = 2 * 1024 * 1024;
      const [end, begin] = await Promise.all(
        [big.subarray(cut), big.subarray(0, cut)].map(async (data) =>
          client.uploads.parts.create(upload.id, { data: await toFile(data, "part") }),
        ),
      );
      assert.equal(begin.upload_id, upload.id);
      const md5 = crypto.createHash("md5").update(big).digest("hex");
      const wrong = client.uploads.complete(upload.id, { part_ids: [end.id, begin.id], md5 });
      await assert.rejects(wrong, (error) => error.status === 400 && error.code === "checksum_mismatch");
      const done = await client.uploads.complete(upload.id, { part_ids: [begin.id, end.id], md5 });
      assert.deepEqual([done.status, done.file.bytes], ["completed", big.length]);
      assert.ok((await content(client, done.file.id)).equals(big));
      const again = client.uploads.complete(upload.id, { part_ids: [begin.id, end.id] });
      await assert.rejects(again, (error) => error.status === 400 && error.code === "upload_not_pending");
      await client.files.delete(done.file.id);
    });

    test("an upload is cancelled", async () => {
      const wish = { filename: "a.txt", purpose: "assistants", bytes: 4, mime_type: "text/plain" };
      const upload = await client.uploads.create(wish);
      assert.equal((await client.uploads.cancel(upload.id)).status, "cancelled");
      const late = client.uploads.parts.create(upload.id, { data: await toFile(Buffer.from("1234"), "part") });
      await assert.rejects(late, OpenAI.BadRequestError);
      await assert.rejects(client.uploads.cancel("upload_none"), OpenAI.NotFoundError);
    });

    test("a completion is whole, and a stream says the same", async () => {
      const ask = { model, messages, max_tokens: 8, temperature: 0 };
      const whole = await client.chat.completions.create(ask);
      assert.equal(whole.object, "chat.completion");
      let told = "";
      let usage = null;
      const stream = await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } });
      for await (const chunk of stream) {
        told += chunk.choices[0]?.delta?.content ?? "";
        usage = chunk.usage ?? usage;
      }
      assert.equal(told, whole.choices[0].message.content);
      assert.ok(usage.completion_tokens > 0);
      const bad = client.chat.completions.create({ ...ask, messages: [] });
      await assert.rejects(bad, (error) => error instanceof OpenAI.BadRequestError && error.param === "messages");
    });

    test("completions are stored, filtered, changed and deleted", async () => {
      const run = crypto.randomUUID();
      const ask = { model, messages, max_tokens: 4, store: true };
      const kept = [];
      for (const n of ["0", "1", "2"]) {
        kept.push(await client.chat.completions.create({ ...ask, metadata: { run, n } }));
      }
      const stream = await client.chat.completions.create({ ...ask, metadata: { run, n: "3" }, stream: true });
      const chunks = await all(stream);
      kept.push({ id: chunks[0].id });
      const ids = kept.map((one) => one.id);
      const mine = await all(client.chat.completions.list({ metadata: { run }, limit: 2 }));
      assert.deepEqual(mine.map((one) => one.id), ids);
      const told = chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
      assert.equal(mine[3].choices[0].message.content, told);
      const [second] = await all(client.chat.completions.list({ model, metadata: { run, n: "1" } }));
      assert.equal(second.id, ids[1]);
      const changed = await client.chat.completions.update(ids[1], { metadata: { run, n: "one" } });
      assert.deepEqual(changed.metadata, { run, n: "one" });
      assert.deepEqual((await client.chat.completions.retrieve(ids[1])).metadata, { run, n: "one" });
      const asked = await all(client.chat.completions.messages.list(ids[0]));
      assert.deepEqual(asked.map((one) => [one.role, one.content]), [["user", messages[0].content]]);
      for (const id of ids) assert.equal((await client.chat.completions.delete(id)).deleted, true);
      await assert.rejects(client.chat.completions.retrieve(ids[0]), OpenAI.NotFoundError);
    });

    test("a response is kept, told in events, chained and deleted", async () => {
      const ask = { model, input: "The vault", max_output_tokens: 8 };
      const first = await client.responses.create(ask);
      assert.equal((await client.responses.retrieve(first.id)).output_text, first.output_text);
      const events = await all(await client.responses.create({ ...ask, previous_response_id: first.id, stream: true }));
      assert.equal(events[0].type, "response.created");
      const last = events[events.length - 1];
      assert.match(last.type, /^response\.(completed|incomplete)$/);
      assert.equal(last.response.previous_response_id, first.id);
      const items = await all(client.responses.inputItems.list(first.id));
      assert.deepEqual(items.map((item) => item.content[0].text), ["The vault"]);
      for (const id of [first.id, last.response.id]) await client.responses.delete(id);
      await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
    });

    test("embeddings are the same in both encodings", async () => {
      const input = ["one", "two"];
      const floats = await client.embeddings.create({ model, input, encoding_format: "float" });
      // Left to itself the SDK asks for base64 and decodes it.
      const decoded = await client.embeddings.create({ model, input });
      assert.deepEqual(decoded.data.map((one) => one.index), [0, 1]);
      floats.data.forEach(({ embedding }, at) =>
        embedding.forEach((number, place) => assert.ok(Math.abs(number - decoded.data[at].embedding[place]) < 1e-5)),
      );
    });
  });
}

test("a wrong key is no key", async () => {
  const stranger = forms.openai({ apiKey: "wrong" });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

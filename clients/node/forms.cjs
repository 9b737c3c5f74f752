// The SDK in both forms, told where the instance is by its environment file.
"use strict";

const assert = require("node:assert/strict");
const OpenAI = require("openai");

const needed = ["OPENAI_BASE_URL", "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "STRONGROOM_DEPLOYMENT"];
const missing = needed.filter((name) => !process.env[name]);
assert.deepEqual(missing, [], "not set: run `cargo xtask clients`");

const settings = { maxRetries: 0, timeout: 120_000 };

const forms = {
  openai: (more) => new OpenAI({ ...settings, ...more }),
  // Left out, the base would be that of the other form, out of the environment.
  azure: (more) => new OpenAI.AzureOpenAI({ ...settings, baseURL: null, apiVersion: "2025-04-01-preview", ...more }),
};

async function all(page) {
  const found = [];
  for await (const entry of page) found.push(entry);
  return found;
}

// Asks again until the answer is what is waited for.
async function until(ask, isIt) {
  const end = Date.now() + 120_000;
  for (;;) {
    const answer = await ask();
    if (isIt(answer)) return answer;
    assert.ok(Date.now() < end, `it did not happen in time: ${JSON.stringify(answer)}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

module.exports = { OpenAI, forms, all, until, model: process.env.STRONGROOM_DEPLOYMENT };

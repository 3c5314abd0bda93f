// Where the program is looked for, and what is said when it is not there; and the reader of events.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BinaryMissing, PLATFORMS, binaryPath, platform } from "../binary.mjs";
import { moments } from "../events.mjs";

/** As `require.resolve` fails. */
function nowhere(id) {
  throw Object.assign(new Error(`Cannot find module '${id}'`), { code: "MODULE_NOT_FOUND" });
}

test("a package that was left out is named, and how to do without it", { skip: !PLATFORMS.includes(platform()) }, () => {
  assert.throws(() => binaryPath({}, nowhere), (error) => {
    assert.ok(error instanceof BinaryMissing);
    for (const part of [`npm install ws-worker-${platform()}`, "WS_WORKER_BINARY", "cargo build --release"]) {
      assert.ok(error.message.includes(part), error.message);
    }
    return true;
  });
});

test("a variable names another program, which must be there", () => {
  assert.equal(binaryPath({ WS_WORKER_BINARY: process.execPath }, nowhere), process.execPath);
  assert.throws(() => binaryPath({ WS_WORKER_BINARY: "/no/such/file" }, nowhere), /\/no\/such\/file/);
});

test("events arrive in pieces, and several at once", async () => {
  const bytes = new TextEncoder().encode('data: {"n":"é"}\n\ndata: {"n":2}\n\ndata: {"n":3}');
  async function* pieces() {
    for (const at of [0, 9, 10, 20]) yield bytes.subarray(at, { 0: 9, 9: 10, 10: 20, 20: bytes.length }[at]);
  }
  const seen = [];
  for await (const { n } of moments(pieces())) seen.push(n);
  assert.deepEqual(seen, ["é", 2]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  describeState,
  exceedsLimit,
  redactedJson,
  toJson,
} from "../state.mjs";

test("cycles become a marker, and an object met twice is written twice", () => {
  const shared = { n: 1 };
  const state = { a: shared, b: shared, list: [] };
  state.self = state;
  state.list.push(state.list);
  assert.deepEqual(JSON.parse(toJson(state)), {
    a: { n: 1 },
    b: { n: 1 },
    list: ["[Circular]"],
    self: "[Circular]",
  });
});

test("byte arrays beside a cycle become arrays of numbers", () => {
  const state = { buffer: Buffer.from([1, 2]), bytes: new Uint8Array([3]) };
  state.self = state;
  assert.deepEqual(JSON.parse(toJson(state)), {
    buffer: [1, 2],
    bytes: [3],
    self: "[Circular]",
  });
});

test("undefined and functions vanish, dates become text", () => {
  const state = { f: () => {}, u: undefined, d: new Date(0) };
  assert.equal(toJson(state), '{"d":"1970-01-01T00:00:00.000Z"}');
});

test("a state is described by its shape and its size in bytes", () => {
  assert.deepEqual(describeState({ a: "é" }), {
    shape: "object",
    text: '{"a":"é"}',
    size: 10,
  });
  assert.deepEqual(describeState([1]), {
    shape: "other",
    text: "[1]",
    size: 3,
  });
  assert.deepEqual(describeState("x"), {
    shape: "other",
    text: '"x"',
    size: 3,
  });
  assert.deepEqual(describeState(undefined), {
    shape: "none",
    text: null,
    size: null,
  });
  assert.deepEqual(describeState({ n: 1n }), {
    shape: "object",
    text: null,
    size: null,
  });
});

test("a state exceeds the limit only when it is strictly larger", () => {
  const ofSize = (bytes) => describeState("x".repeat(bytes - 2));
  assert.equal(exceedsLimit(ofSize(1024 * 1024), 1), false);
  assert.equal(exceedsLimit(ofSize(1024 * 1024 + 1), 1), true);
  assert.equal(exceedsLimit(ofSize(2), 0), true);
  assert.equal(exceedsLimit(describeState({ n: 1n }), 100), true);
  assert.equal(exceedsLimit(describeState(undefined), 0), false);
});

test("redaction replaces data on a copy, in each leaf of a result keyed by leaf", () => {
  const state = { data: { n: 1 }, references: [] };
  assert.equal(
    redactedJson(state, false, 0),
    '{"data":"[REDACTED]","references":[]}',
  );
  assert.deepEqual(state, { data: { n: 1 }, references: [] });
  assert.equal(
    redactedJson({ b: state, c: { x: 1 } }, true, 0),
    '{"b":{"data":"[REDACTED]","references":[]},"c":{"x":1,"data":"[REDACTED]"}}',
  );
  assert.equal(redactedJson("text", false, 0), '"text"');
  assert.equal(redactedJson([1], false, 0), "[1]");
});

test("a final state that stays too large without its data keeps nothing else", () => {
  const large = { x: "x".repeat(3 * 1024 * 1024) };
  assert.equal(redactedJson(large, false, 1), '{"data":"[REDACTED]"}');
  assert.equal(redactedJson(large.x, false, 1), '{"data":"[REDACTED]"}');
  assert.equal(
    redactedJson({ b: large, c: { y: 1 } }, true, 1),
    '{"b":{"data":"[REDACTED]"},"c":{"data":"[REDACTED]"}}',
  );
});

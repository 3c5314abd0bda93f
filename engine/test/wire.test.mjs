import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { FrameReader, FrameWriter } from "../wire.mjs";
import { frame } from "./support/child.mjs";

function readerInto(frames) {
  return new FrameReader(({ header, body }) =>
    frames.push([header.toString(), body.toString()]),
  );
}

test("frames are read whatever the chunks", () => {
  const sent = [
    ['{"a":1}', ""],
    ["{}", "žluťoučký body"],
    ['{"b":2}', "x".repeat(5000)],
  ];
  const bytes = Buffer.concat(
    sent.map(([header, body]) => frame(header, body)),
  );
  for (const size of [1, 3, 7, 8, 9, 100, bytes.length]) {
    const frames = [];
    const reader = readerInto(frames);
    for (let at = 0; at < bytes.length; at += size) {
      reader.push(bytes.subarray(at, at + size));
    }
    assert.deepEqual(frames, sent, `chunks of ${size}`);
  }
});

test("a length that no command has is refused before memory is taken for it", () => {
  const reader = readerInto([]);
  const prefix = Buffer.alloc(8, 0xff);
  assert.throws(() => reader.push(prefix), { name: "FrameError" });
});

test("small and large frames are written whole, header and body in UTF-8", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-wire-"));
  try {
    const file = path.join(folder, "events");
    const fd = fs.openSync(file, "w");
    const writer = new FrameWriter(fd);
    const sent = [
      ['{"é":1}', '"🙂"'],
      ["{}", ""],
      ["{}", JSON.stringify("ž".repeat(300_000))],
    ];
    for (const [header, body] of sent)
      assert.equal(writer.write(header, body), true);
    fs.closeSync(fd);
    const frames = [];
    readerInto(frames).push(fs.readFileSync(file));
    assert.deepEqual(frames, sent);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test("a descriptor that cannot be written is reported, not thrown", () => {
  const fd = fs.openSync("/dev/null", "r");
  const writer = new FrameWriter(fd);
  assert.equal(writer.write("{}"), false);
  fs.closeSync(fd);
});

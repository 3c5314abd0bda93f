import assert from "node:assert/strict";
import { test } from "node:test";

import { Child, inChild } from "./support/child.mjs";
import { execute, job, step } from "./support/plans.mjs";


const MB = 1024 * 1024;
const BIG = `'x'.repeat(${MB})`;

test("a state over the payload limit is withheld, and the next step still sees it", async () => {
  const run = await inChild(
    execute(
      [
        step("a", `s => ({ data: ${BIG}, webhookResponse: { status: 200 } })`, {
          next: { b: true },
        }),
        step("b", "s => ({ data: s.data.length })"),
      ],
      { options: { payload_limit_mb: 1 } },
    ),
  );
  const { redacted, body, size, shape, webhook_response } = run.of(
    "job-complete",
    "a",
  );
  assert.deepEqual(
    [redacted, body, shape, webhook_response],
    [true, undefined, "object", { status: 200 }],
  );
  assert.equal(
    size,
    Buffer.byteLength(
      JSON.stringify({
        data: "x".repeat(MB),
        webhookResponse: { status: 200 },
      }),
    ),
  );
  const next = run.of("job-complete", "b");
  assert.deepEqual([next.redacted, next.body], [false, { data: MB }]);
});

test("a final state over the limit is sent with its data replaced", async () => {
  const run = await inChild(
    job(`return { data: ${BIG}, references: [1] };`, {
      options: { payload_limit_mb: 1 },
    }),
  );
  const { redacted, body, shape } = run.of("workflow-complete");
  assert.deepEqual([redacted, shape], [true, "object"]);
  assert.deepEqual(body, { data: "[REDACTED]", references: [1] });
});

test("a failed step's state is withheld the same way", async () => {
  const run = await inChild(
    job(`state.data = ${BIG}; throw new Error("boo");`, {
      options: { payload_limit_mb: 1 },
    }),
  );
  const { redacted, body, state_error } = run.of("job-error");
  assert.deepEqual([redacted, body], [true, undefined]);
  assert.deepEqual(state_error, { name: "JobError", message: "boo" });
});

test("leaves that are too big together are redacted one by one", async () => {
  const half = `({ data: 'x'.repeat(${MB / 2}) })`;
  const run = await inChild(
    execute(
      [
        step("a", "s => s", { next: { b: true, c: true } }),
        step("b", `s => ${half}`),
        step("c", `s => ${half}`),
      ],
      { options: { payload_limit_mb: 1 } },
    ),
  );
  assert.equal(run.of("job-complete", "b").redacted, false);
  const { redacted, body } = run.of("workflow-complete");
  assert.equal(redacted, true);
  assert.deepEqual(body, {
    b: { data: "[REDACTED]" },
    c: { data: "[REDACTED]" },
  });
});

test("without dataclips steps carry no body, but size and final state stay", async () => {
  const run = await inChild(
    job("return { data: 1 };", { options: { output_dataclips: false } }),
  );
  const complete = run.of("job-complete");
  assert.deepEqual(
    [complete.body, complete.size, complete.redacted],
    [undefined, 10, false],
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: 1 });
});

test("a state over the state limit kills the run without completing the step", async () => {
  const run = await inChild(
    job(`return { data: 'x'.repeat(2 * ${MB}) };`, {
      options: { state_limit_mb: 1 },
    }),
  );
  assert.deepEqual(run.of("workflow-error").error, {
    type: "StateTooLargeError",
    message: "State exceeds the limit of 1mb",
    severity: "kill",
  });
  assert.equal(run.of("job-complete") ?? run.of("job-error"), undefined);
  assert.ok(
    run.lines.includes(
      "R/T error Critical error processing state:  State exceeds the limit of 1mb",
    ),
  );
  assert.equal(run.of("exit").cause, "done");
});

test("a run that outgrows its heap takes its process with it, which says so", async () => {
  const child = await Child.ready({ memoryLimitMb: 64 });
  const greedy = job("const all = []; for (;;) all.push({ list: [1, 2, 3] });");
  child.send(greedy);
  child.send({ type: "go", run: greedy.run });
  assert.deepEqual(await child.exited, { code: null, signal: "SIGABRT" });
  assert.match(child.stderr, /heap out of memory/);
  assert.ok(!child.events.some(({ type }) => /^exit|^workflow-(?!start)/.test(type)));
});

test("the heap limit of the process holds exactly for its run", async () => {
  const read = `
    const host = console.log.constructor("return process")();
    const v8 = host.getBuiltinModule?.("v8") ?? host.mainModule.require("v8");
    state.data = v8.getHeapStatistics().heap_size_limit;
    return state;`;
  const beyond = [];
  for (const memoryLimitMb of [100, 300, 600]) {
    const run = await inChild(job(read), undefined, { memoryLimitMb });
    beyond.push(run.of("workflow-complete").body.data / MB - memoryLimitMb);
  }
  // What lies above the limit is V8's young generation, the same for each.
  assert.equal(new Set(beyond).size, 1, beyond.join());
});

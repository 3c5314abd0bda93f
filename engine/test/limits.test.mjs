import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Child } from "./support/child.mjs";
import { execute, job, step } from "./support/plans.mjs";

let child;

before(async () => {
  child = await Child.ready();
});

after(() => child.kill());

const MB = 1024 * 1024;
const BIG = `'x'.repeat(${MB})`;

test("a state over the payload limit is withheld, and the next step still sees it", async () => {
  const run = await child.run(
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
  const run = await child.run(
    job(`return { data: ${BIG}, references: [1] };`, {
      options: { payload_limit_mb: 1 },
    }),
  );
  const { redacted, body, shape } = run.of("workflow-complete");
  assert.deepEqual([redacted, shape], [true, "object"]);
  assert.deepEqual(body, { data: "[REDACTED]", references: [1] });
});

test("a failed step's state is withheld the same way", async () => {
  const run = await child.run(
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
  const run = await child.run(
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
  const run = await child.run(
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
  const run = await child.run(
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

test("a run that outgrows its heap ends as oom, and the child serves the next run", async () => {
  const greedy = job(
    "const all = []; for (;;) all.push({ list: [1, 2, 3] });",
    {
      options: { memory_limit_mb: 64 },
    },
  );
  const run = await child.run(greedy);
  assert.equal(run.of("exit").cause, "oom");
  assert.equal(run.of("workflow-error"), undefined);
  const next = await child.run(job("return state;"));
  assert.equal(next.of("exit").cause, "done");
});

test("a run's heap limit holds exactly, also when the process has another", async () => {
  const strict = await Child.ready({
    flags: [
      "--experimental-vm-modules",
      "--no-warnings",
      "--max-old-space-size=300",
    ],
  });
  const read = `
    const host = console.log.constructor("return process")();
    state.data = host.getBuiltinModule
      ? host.getBuiltinModule("worker_threads").resourceLimits.maxOldGenerationSizeMb
      : null;
    const v8 = host.getBuiltinModule?.("v8") ?? host.binding("v8");
    state.limit = v8.getHeapStatistics?.().heap_size_limit;
    return state;`;
  const limits = [];
  for (const memory_limit_mb of [300, 100, 600]) {
    const run = await strict.run(job(read, { options: { memory_limit_mb } }));
    const { data, limit } = run.of("workflow-complete").body;
    limits.push(limit === undefined ? undefined : limit / MB - data);
    assert.equal(run.of("exit").cause, "done");
  }
  // What lies above the limit is V8's young generation, the same for each.
  assert.equal(new Set(limits).size, 1);
  await strict.kill();
});

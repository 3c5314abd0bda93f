import assert from "node:assert/strict";
import { before, test } from "node:test";

import { Child, inChild } from "./support/child.mjs";
import { commonStep, execute, step } from "./support/plans.mjs";
import { adaptorFolder, ensureRepo, repoDir } from "./support/repo.mjs";

before(ensureRepo);

/** Replaces what differs from run to run. */
function steady(line) {
  return line
    .replaceAll(repoDir, "<repo>")
    .replace(/\d+(\.\d+)?ms$/, "<n>ms")
    .replace(/\[step \d+mb\] \[system \d+mb\]/, "[step <n>mb] [system <n>mb]");
}

/** Log lines and events of a run in one list. */
function story(run) {
  const lines = [...run.lines];
  return run.all.map((event) =>
    event.type === "log"
      ? steady(lines.shift())
      : `[${[event.type, event.job].filter(Boolean).join(" ")}]`,
  );
}

const LINKER = [
  "R/T debug [linker] loading module @openfn/language-common",
  "R/T debug [linker] Loading module @openfn/language-common from <repo>/node_modules/@openfn/language-common_3.3.4/dist/index.js",
  "R/T info Resolved adaptor @openfn/language-common to version 3.3.4",
];

test("a workflow of two steps tells its story in the reference's order", async () => {
  const run = await inChild(
    execute(
      [
        { id: "t", next: { a: true } },
        commonStep(
          "a",
          "fn(s => { console.log('hi', { a: 1 }); return s; }), fn(s => s)",
          {
            name: "Step A",
            configuration: { user: "u" },
            next: {
              b: { condition: "state.data.n==1" },
              c: { condition: "false" },
            },
          },
        ),
        commonStep("b", "fn(s => { console.warn('careful'); return s; })"),
        commonStep("c", "fn(s => s)"),
      ],
      { workflow: { name: "My WF" } },
    ),
    { data: { n: 1 } },
  );
  assert.deepEqual(story(run), [
    "[workflow-start]",
    "R/T info Executing My WF",
    "R/T debug Starting execution from step t",
    "R/T info Starting step Step A",
    "[job-start a]",
    ...LINKER,
    "R/T debug Executing expression (2 operations)",
    "R/T debug Starting operation 1",
    'JOB info hi {"a":1}',
    "R/T debug Operation 1 complete in <n>ms",
    "R/T debug Starting operation 2",
    "R/T debug Operation 2 complete in <n>ms",
    "R/T debug Expression complete!",
    "R/T success Step A completed in <n>ms",
    "R/T debug State object serializes to less than 1mb",
    "R/T debug Cleaning up state. Removing keys: configuration",
    "R/T debug Step memory usage: [step <n>mb] [system <n>mb]",
    "R/T debug Edge condition returned true; b will be executed next",
    "R/T debug Edge condition returned false; c will NOT be executed",
    "[job-complete a]",
    "R/T info Starting step b",
    "[job-start b]",
    ...LINKER,
    "R/T debug Executing expression (1 operations)",
    "R/T debug Starting operation 1",
    "JOB warn careful",
    "R/T debug Operation 1 complete in <n>ms",
    "R/T debug Expression complete!",
    "R/T success b completed in <n>ms",
    "R/T debug State object serializes to less than 1mb",
    "R/T debug Cleaning up state. Removing keys: configuration",
    "R/T debug Step memory usage: [step <n>mb] [system <n>mb]",
    "[job-complete b]",
    "[workflow-complete]",
    "[exit]",
  ]);
});

test("each event carries what the parent reports", async () => {
  const run = await inChild(
    execute([
      step(
        "a",
        "s => ({ ...s, webhookResponse: { status: 201 }, response: 'gone' })",
        { next: { b: true } },
      ),
      step("b", "s => s"),
    ]),
    { data: { text: "ž" } },
  );
  const start = run.of("workflow-start");
  assert.equal(typeof start.thread_id, "number");
  const complete = run.of("job-complete", "a");
  const state = { data: { text: "ž" }, webhookResponse: { status: 201 } };
  assert.deepEqual(complete.body, state);
  assert.equal(complete.size, Buffer.byteLength(JSON.stringify(state)));
  assert.equal(complete.shape, "object");
  assert.equal(complete.redacted, false);
  assert.deepEqual(complete.next, ["b"]);
  assert.deepEqual(complete.webhook_response, { status: 201 });
  assert.deepEqual(Object.keys(complete.mem), ["job", "system"]);
  assert.ok(complete.mem.system > complete.mem.job);
  assert.equal(typeof complete.duration, "number");
  const final = run.of("workflow-complete");
  assert.deepEqual(
    [final.body, final.shape, final.redacted],
    [state, "object", false],
  );
  assert.equal(final.size, complete.size);
  assert.deepEqual(run.of("exit"), {
    type: "exit",
    run: start.run,
    cause: "done",
    code: 0,
    later: 0,
  });
});

test("timestamps have 16 digits and rise from event to event", async () => {
  const before = Date.now();
  const run = await inChild(
    execute([
      step(
        "a",
        "s => { for (let i = 0; i < 2000; i++) console.log(i); return s; }",
      ),
    ]),
  );
  const times = run.all
    .filter(({ time }) => time !== undefined)
    .map(({ time }) => time);
  assert.ok(times.every((time) => /^\d{16}$/.test(time)));
  assert.ok(times.every((time, i) => i === 0 || time > times[i - 1]));
  assert.ok(Number(times[0]) / 1000 >= before - 1);
  assert.ok(Number(times.at(-1)) / 1000 <= Date.now() + 1);
});

test("siblings get their own copy of the upstream state, and two leaves are keyed by step", async () => {
  const run = await inChild(
    execute([
      step("a", "s => s", { next: { b: true, c: true } }),
      step("b", "s => { s.data.by = 'b'; return s; }"),
      step("c", "s => { s.data.seen = s.data.by ?? null; return s; }"),
    ]),
    { data: {} },
  );
  const final = run.of("workflow-complete");
  assert.deepEqual(final.body, {
    b: { data: { by: "b" } },
    c: { data: { seen: null } },
  });
  assert.equal(final.size, Buffer.byteLength(final.text));
});

test("a step reached by two paths runs twice under one job id", async () => {
  const run = await inChild(
    execute([
      step("a", "s => s", { next: { b: true, c: true } }),
      step("b", "s => ({ data: 'b' })", { next: { d: true } }),
      step("c", "s => ({ data: 'c' })", { next: { d: true } }),
      step("d", "s => s"),
    ]),
  );
  assert.deepEqual(
    run.all.filter(({ type }) => type === "job-start").map(({ job }) => job),
    ["a", "b", "c", "d", "d"],
  );
  assert.deepEqual(run.of("workflow-complete").body, {
    d: { data: "b" },
    "d-1": { data: "c" },
  });
});

test("conditions by name and by expression choose the path", async () => {
  const run = await inChild(
    execute([
      step("a", "s => s", {
        next: {
          ok: { condition: "on_job_success" },
          failed: { condition: "on_job_failure" },
          always: { condition: "always" },
          off: { condition: "true", disabled: true },
        },
      }),
      ...["ok", "failed", "always", "off"].map((id) => step(id, "s => s")),
    ]),
  );
  assert.deepEqual(run.of("job-complete", "a").next, ["ok", "always"]);
});

test("a plan may start and end anywhere", async () => {
  const run = await inChild(
    execute(
      [
        step("a", "s => s", { next: { b: true } }),
        step("b", "s => s", { next: { c: true } }),
        step("c", "s => s"),
      ],
      { planOptions: { start: "b", end: "b" } },
    ),
    { data: 7 },
  );
  assert.deepEqual(
    run.types.filter((type) => type.startsWith("job-")),
    ["job-start", "job-complete"],
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: 7 });
});

test("a plan with only a trigger returns its input", async () => {
  const run = await inChild(execute([{ id: "t" }]), {
    data: { n: 1 },
    extra: [1],
  });
  assert.deepEqual(run.of("workflow-complete").body, {
    data: { n: 1 },
    extra: [1],
  });
});

test("no input means an empty state, and null the runtime's default", async () => {
  const empty = await inChild(
    execute([step("a", "s => ({ data: Object.keys(s) })")]),
  );
  assert.deepEqual(empty.of("workflow-complete").body, {
    data: ["configuration", "data"],
  });
  const nothing = await inChild(execute([step("a", "s => s")]), null);
  assert.deepEqual(nothing.of("workflow-complete").body, { data: {} });
});

test("an input that is not JSON is the platform's fault", async () => {
  const child = await Child.ready();
  const command = execute([step("a", "s => s")]);
  child.send(command, "{not json");
  child.send({ type: "go", run: command.run });
  const { error } = await child.event(
    (event) => event.run === command.run && event.type === "workflow-error",
  );
  assert.equal(error.type, "ExecutionError");
  assert.equal(error.severity, "exception");
  assert.match(error.message, /^input dataclip cannot be read: /);
  await child.event(
    (event) => event.run === command.run && event.type === "exit",
  );
});

test("steps that return nothing, a text or a list are told apart", async () => {
  const shapes = {};
  for (const [name, source] of Object.entries({
    none: "() => {}",
    text: "() => 'x'",
    list: "() => [1]",
  })) {
    const run = await inChild(execute([step("a", source)]));
    const { shape, body } = run.of("job-complete");
    shapes[name] = [shape, body];
    assert.equal(run.of("workflow-complete").shape, shape);
  }
  assert.deepEqual(shapes, {
    none: ["none", undefined],
    text: ["other", "x"],
    list: ["other", [1]],
  });
});

test("two versions of an adaptor serve one run", async () => {
  const run = await inChild(
    execute([
      commonStep("a", "fn(s => s)", { version: "3.2.3", next: { b: true } }),
      commonStep("b", "fn(s => s)", { version: "3.3.4" }),
    ]),
  );
  assert.deepEqual(
    run.lines.filter((line) => line.includes("Resolved adaptor")),
    ["3.2.3", "3.3.4"].map(
      (v) =>
        `R/T info Resolved adaptor @openfn/language-common to version ${v}`,
    ),
  );
  assert.equal(run.of("exit").cause, "done");
});

test("several adaptors and the runtime serve one step", async () => {
  const linker = Object.fromEntries(
    [
      ["@openfn/language-common", "3.3.4"],
      ["@openfn/language-http", "7.2.10"],
    ].map(([name, version]) => [
      name,
      { path: adaptorFolder(name, version), version },
    ]),
  );
  const run = await inChild(
    execute([
      {
        id: "a",
        linker,
        expression: `import { fn } from "@openfn/language-common";
          import { get } from "@openfn/language-http";
          import { defer } from "@openfn/runtime";
          export default [fn(s => ({ data: typeof get })), defer(s => s, p => p.then(s => s))];`,
      },
    ]),
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: "function" });
  assert.ok(
    run.lines.includes(
      "R/T debug [linker] Importing whitelisted module: @openfn/runtime",
    ),
  );
});

test("a step may import an installed adaptor that it does not list", async () => {
  const run = await inChild(
    execute([
      {
        id: "a",
        expression:
          'import { fn } from "@openfn/language-common"; export default [fn(s => s)];',
      },
    ]),
  );
  assert.ok(
    run.lines.includes(
      "R/T debug Using latest installed version of @openfn/language-common: 3.3.4",
    ),
    run.lines.join("\n"),
  );
});

test("configuration is made of credentials, the input and the step, and is taken off afterwards", async () => {
  const show =
    "s => { console.log(JSON.stringify(s.configuration)); return s; }";
  const run = await inChild(
    execute(
      [
        step("a", show, {
          configuration: { password: "p" },
          next: { b: true },
        }),
        step("b", show),
      ],
      {
        workflow: {
          credentials: { collections_token: "t", collections_endpoint: "e" },
        },
      },
    ),
    { configuration: { user: "u" }, data: {} },
  );
  assert.deepEqual(
    run.jobLogs.map(([text]) => JSON.parse(text)),
    [
      {
        collections_token: "t",
        collections_endpoint: "e",
        user: "u",
        password: "p",
      },
      { collections_token: "t", collections_endpoint: "e" },
    ],
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: {} });
});

test("globals of the workflow and of the options reach every step", async () => {
  const run = await inChild(
    execute(
      [
        step("a", "s => { console.log(twice(meta.n)); return s; }", {
          next: { b: true },
        }),
        step(
          "b",
          "s => { console.log(twice(meta.n), Object.isFrozen(meta)); return s; }",
        ),
      ],
      {
        workflow: { globals: "export const twice = n => n * 2;" },
        options: { globals: { meta: { n: 21 } } },
      },
    ),
  );
  assert.deepEqual(run.jobLogs, [[42], [42, true]]);
});

test("profiling adds the peak", async () => {
  const run = await inChild(
    execute([step("a", "s => s")], {
      options: { profile: true, profile_poll_interval_ms: 5 },
    }),
  );
  assert.equal(typeof run.of("job-complete").mem.peak, "number");
  assert.ok(
    run.lines.some((line) =>
      /^R\/T debug Workflow complete: peak memory [\d.]+mb$/.test(line),
    ),
  );
});

test("the runtime id of a workflow without name is the plan's", async () => {
  const command = execute([step("a", "s => s")]);
  const run = await inChild(command);
  assert.ok(run.lines.includes(`R/T info Executing ${command.run}`));
});

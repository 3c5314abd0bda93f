import assert from "node:assert/strict";
import { before, test } from "node:test";

import { inChild } from "./support/child.mjs";
import { execute, job, step } from "./support/plans.mjs";
import { ensureRepo } from "./support/repo.mjs";

before(ensureRepo);

/** What stops the run: job-error, if any, and workflow-error. */
const CRASHES = [
  [
    "a ReferenceError",
    step("a", "s => wibble"),
    "RuntimeCrash",
    "ReferenceError",
    "ReferenceError: wibble is not defined",
  ],
  [
    "JSON that does not parse",
    step("a", "s => JSON.parse('{')"),
    "RuntimeCrash",
    "SyntaxError",
    /^SyntaxError: /,
  ],
  [
    "an error with severity crash",
    step(
      "a",
      "s => { throw Object.assign(new Error('x'), { severity: 'crash' }); }",
    ),
    "RuntimeCrash",
    "Error",
    "Error: x",
  ],
  [
    "a default export that is not a list",
    { id: "a", expression: "export default 1" },
    "RuntimeCrash",
    "InvalidExportsError",
    "InvalidExportsError: Invalid exports in job expression: exports must be an array",
  ],
  [
    "an element that is not a function",
    step("a", "1"),
    "RuntimeCrash",
    "InvalidOperationError",
    "InvalidOperationError: Invalid operation at statement 0",
  ],
  [
    "an import outside the whitelist",
    { id: "a", expression: "import fs from 'fs'; export default [];" },
    "ImportError",
    undefined,
    "module blacklisted: fs",
  ],
  [
    "an adaptor that is not installed",
    {
      id: "a",
      expression:
        "import { x } from '@openfn/language-none'; export default [];",
    },
    "ImportError",
    undefined,
    'Failed to import module "@openfn/language-none"',
  ],
  [
    "globals that do not parse",
    step("a", "s => s"),
    "RuntimeCrash",
    "SyntaxError",
    /^SyntaxError: \[globals\] /,
    { globals: "const = 1" },
  ],
  [
    "globals that import a file",
    step("a", "s => s"),
    "ImportError",
    undefined,
    '[globals] Failed to import module "/etc/passwd.js"',
    { globals: "import x from '/etc/passwd.js'; export const y = x;" },
  ],
  [
    "globals that import a package",
    step("a", "s => s"),
    "ImportError",
    undefined,
    '[globals] Failed to import module "lodash"',
    { globals: "import x from 'lodash'; export const y = x;" },
  ],
];

for (const [what, first, name, subtype, message, workflow] of CRASHES) {
  test(`${what} crashes the run`, async () => {
    const run = await inChild(
      execute([{ ...first, next: { b: true } }, step("b", "s => s")], {
        workflow,
      }),
    );
    const { error, state_error, shape } = run.of("job-error");
    const { message: text, ...rest } = error;
    if (message instanceof RegExp) assert.match(text, message);
    else assert.equal(text, message);
    assert.deepEqual(rest, {
      name,
      ...(subtype && { subtype }),
      source: "runtime",
      severity: "crash",
    });
    assert.deepEqual([state_error, shape], [null, "object"]);
    assert.deepEqual(run.of("workflow-error").error, {
      type: name,
      message: text,
      severity: "crash",
      source: "runtime",
    });
    assert.equal(run.of("job-start", "b"), undefined);
    assert.equal(run.of("workflow-complete"), undefined);
    assert.equal(run.of("exit").cause, "done");
    assert.ok(
      run.lines.includes("R/T error CRITICAL ERROR! Aborting execution"),
    );
  });
}

test("globals may import the runtime", async () => {
  const run = await inChild(
    execute([step("a", "s => ({ data: typeof later })")], {
      workflow: {
        globals:
          "import { defer } from '@openfn/runtime'; export const later = defer;",
      },
    }),
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: "function" });
});

test("eval kills the run", async () => {
  const run = await inChild(job("eval('1');"));
  const expected = {
    message: "Illegal eval statement detected",
    severity: "kill",
    source: "runtime",
  };
  assert.deepEqual(run.of("job-error").error, {
    ...expected,
    name: "SecurityError",
  });
  assert.deepEqual(run.of("workflow-error").error, {
    ...expected,
    type: "SecurityError",
  });
});

test("invalid plans crash before any step", async () => {
  const cases = [
    [
      execute([step("a", "s => s")], { planOptions: { start: "x" } }),
      "ValidationError",
      "Could not find start job: x",
    ],
    [
      execute([step("a", "s => s", { next: { x: true } })]),
      "ValidationError",
      "Cannot find job: x",
    ],
    [
      execute([
        step("a", "s => s", { next: { b: true } }),
        step("b", "s => s", { next: { a: true } }),
      ]),
      "ValidationError",
      "Circular dependency: b <-> a",
    ],
    [
      execute([]),
      "TypeError",
      "Cannot read properties of undefined (reading 'id')",
    ],
    [
      execute([
        step("a", "s => s", { next: { b: { condition: "&&" } } }),
        step("b", "s => s"),
      ]),
      "Error",
      "Failed to compile edge condition a->b (Unexpected token '&&')",
    ],
  ];
  for (const [command, type, message] of cases) {
    const run = await inChild(command);
    const { error } = run.of("workflow-error");
    assert.deepEqual(
      [error.type, error.message, error.severity],
      [type, message, "crash"],
    );
    assert.equal(run.of("job-start"), undefined);
  }
});

test("a condition that throws replaces the end of its step", async () => {
  const run = await inChild(
    execute([
      step("a", "s => s", { next: { b: { condition: "wibble" } } }),
      step("b", "s => s"),
    ]),
  );
  assert.deepEqual(run.of("workflow-error").error, {
    type: "EdgeConditionError",
    message: "wibble is not defined",
    severity: "crash",
    source: "runtime",
  });
  assert.equal(run.of("job-complete") ?? run.of("job-error"), undefined);
});

test("a credential that nobody has resolved crashes the run", async () => {
  const run = await inChild(
    execute([step("a", "s => s", { configuration: "some-id" })]),
  );
  assert.deepEqual(run.of("workflow-error").error, {
    type: "TypeError",
    message: "resolver is not a function",
    severity: "crash",
  });
});

const UNCAUGHT = {
  "a timer that throws":
    "setTimeout(() => { throw new Error('late'); }, 1); await new Promise(() => {});",
  "a promise that nobody waits for":
    "Promise.reject(new Error('late')); await new Promise(() => {});",
};

for (const [what, body] of Object.entries(UNCAUGHT)) {
  test(`${what} ends the run, which is reported as ADA first`, async () => {
    const command = job(body);
    const run = await inChild(command);
    const at = run.lines.indexOf(
      `ADA error Uncaught exception in worker thread (workflow ${command.run} )`,
    );
    assert.ok(at > 0, run.lines.join("\n"));
    assert.equal(
      run.lines[at + 1],
      'ADA error {"name":"Error","message":"late"}',
    );
    assert.deepEqual(run.of("workflow-error").error, {
      type: "ExecutionError",
      message: "late",
      severity: "crash",
      source: "engine",
    });
    assert.deepEqual(run.types.slice(-2), ["workflow-error", "exit"]);
    assert.equal(run.of("exit").cause, "done");
  });
}

test("an error left behind by one step ends the run in the next", async () => {
  const run = await inChild(
    execute([
      step(
        "a",
        "s => { setTimeout(() => { throw new Error('late'); }, 1); return s; }",
        { next: { b: true } },
      ),
      step("b", "s => new Promise(() => {})"),
    ]),
  );
  assert.ok(run.of("job-complete", "a"));
  assert.ok(run.of("job-start", "b"));
  assert.equal(run.of("workflow-error").error.message, "late");
});

test("an error that would come after the run's end is not heard of", async () => {
  const run = await inChild(
    job("setTimeout(() => { throw new Error('late'); }, 0); return state;"),
  );
  assert.deepEqual(run.types.slice(-2), ["workflow-complete", "exit"]);
});

test("values that are no errors can be thrown late", async () => {
  for (const [thrown, message] of [
    ["null", ""],
    ["'text'", "text"],
    ["{ message: 5 }", "5"],
    ["7n", "7"],
  ]) {
    const run = await inChild(
      job(
        `setTimeout(() => { throw ${thrown}; }, 1); await new Promise(() => {});`,
      ),
    );
    assert.equal(run.of("workflow-error").error.message, message, thrown);
  }
});

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Child } from "./support/child.mjs";
import {
  adaptorStep,
  commonStep,
  execute,
  job,
  step,
} from "./support/plans.mjs";
import { ensureRepo, repoDir, scratchRepo } from "./support/repo.mjs";

let child;

before(async () => {
  ensureRepo();
  child = await Child.ready();
});

after(() => child.kill());

/** One thrown thing per row: the body of a job, and what job-error says. */
const FAILS = [
  [
    "a TypeError",
    "state.x.y;",
    "RuntimeError",
    "TypeError",
    "TypeError: Cannot read properties of undefined (reading 'y')",
  ],
  [
    "a RangeError",
    "new Array(-1);",
    "RuntimeError",
    "RangeError",
    "RangeError: Invalid array length",
  ],
  ["an Error", "throw new Error('boo');", "JobError", undefined, "boo"],
  ["a text", "throw 'boo';", "JobError", undefined, "boo"],
  [
    "an object with a message",
    "throw { message: 'boo' };",
    "JobError",
    undefined,
    "boo",
  ],
  [
    "an object with severity kill",
    "throw { message: 'boo', severity: 'kill' };",
    "JobError",
    undefined,
    "boo",
  ],
  [
    "a rejected promise",
    "await Promise.reject(new Error('boo'));",
    "JobError",
    undefined,
    "boo",
  ],
  ["an object without a message", "throw {};", "JobError", undefined, ""],
  [
    "null",
    "throw null;",
    "RuntimeError",
    "TypeError",
    "TypeError: Cannot read properties of null (reading 'stack')",
  ],
  [
    "a dynamic import",
    "await import('fs');",
    "RuntimeError",
    "TypeError",
    "TypeError: A dynamic import callback was not specified.",
  ],
];

for (const [what, body, name, subtype, message] of FAILS) {
  test(`${what} fails the step, and the workflow goes on`, async () => {
    const run = await child.run(
      execute([
        step("a", `async (state) => { ${body} }`, { next: { b: true } }),
        step("b", "s => s"),
      ]),
    );
    const { error, state_error, next, body: state } = run.of("job-error");
    assert.deepEqual(error, {
      message,
      name,
      ...(subtype && { subtype }),
      source: "runtime",
      severity: "fail",
    });
    assert.deepEqual(state_error, { name, message });
    assert.equal(state.errors.a.message, message);
    assert.deepEqual(next, ["b"]);
    assert.ok(run.of("job-complete", "b"));
    assert.deepEqual(run.of("workflow-complete").body.errors.a.name, name);
    assert.ok(run.lines.includes("R/T error Check state.errors.a for details"));
  });
}

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
    const run = await child.run(
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
  const run = await child.run(
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
  const run = await child.run(job("eval('1');"));
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

test("an error named AdaptorError by a job is shown as a crash, and the run goes on", async () => {
  const run = await child.run(
    execute([
      step(
        "a",
        "s => { throw Object.assign(new Error('x'), { name: 'AdaptorError' }); }",
        { next: { b: true } },
      ),
      step("b", "s => s"),
    ]),
  );
  const { error, state_error } = run.of("job-error");
  assert.deepEqual(error, {
    message: "x",
    name: "AdaptorError",
    severity: "crash",
  });
  assert.equal(state_error, null);
  assert.ok(run.of("job-complete", "b"));
});

test("an error from an adaptor carries its operation and its details", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-boom",
    "export const boom = () => () => { throw Object.assign(new Error('bad'), { code: 'E1' }); };",
  );
  const command = execute([
    adaptorStep("a", "@openfn/language-boom", folder, "boom", "boom()", {
      name: "A",
      sourceMap: {
        version: 3,
        sources: ["A.js"],
        names: [],
        mappings: "AAAA",
        sourcesContent: ["boom();"],
        operations: [{ name: "boom", line: 1, order: 1 }],
      },
    }),
  ]);
  const run = await child.run(command);
  const { error, state_error, body } = run.of("job-error");
  assert.deepEqual(error, {
    message: "bad",
    name: "AdaptorError",
    source: "runtime",
    severity: "fail",
  });
  assert.deepEqual(state_error, { name: "AdaptorError", message: "bad" });
  assert.deepEqual(body.errors.a.details, { message: "bad", code: "E1" });
  assert.ok(
    run.lines.includes(
      'R/T error Error reported by "boom()" operation line 1:',
    ),
  );
  const stack = run.lines.find((line) =>
    line.startsWith("R/T error Error: bad\n"),
  );
  assert.match(
    stack,
    new RegExp(`language-boom_1.0.0/index.js\\?cache=${command.run}:1:`),
  );
});

test("an adaptor that cannot be loaded is named with the run's id, as in the reference", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-broken",
    "throw new Error('not today');",
  );
  const command = execute([
    adaptorStep("a", "@openfn/language-broken", folder, "x", "s => s"),
  ]);
  const run = await child.run(command);
  const from = `@openfn/language-broken from ${folder}/index.js?cache=${command.run}`;
  const message = `Failed to import module ${from} (not today)`;
  assert.equal(run.of("job-error").error.message, message);
  assert.equal(run.of("workflow-error").error.message, message);
  assert.ok(
    run.lines.includes(`R/T debug [linker] Failed to import module ${from}`),
  );
  assert.ok(run.lines.includes(`R/T error ${message}`));
});

test("relative imports without extension work in adaptors", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-lazy",
    "import { n } from './number'; export const put = () => (s) => ({ data: n });",
    { "number.js": "export const n = 5;" },
  );
  const run = await child.run(
    execute([
      adaptorStep("a", "@openfn/language-lazy", folder, "put", "put()"),
    ]),
  );
  assert.deepEqual(run.of("workflow-complete")?.body, { data: 5 });
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
    const run = await child.run(command);
    const { error } = run.of("workflow-error");
    assert.deepEqual(
      [error.type, error.message, error.severity],
      [type, message, "crash"],
    );
    assert.equal(run.of("job-start"), undefined);
  }
});

test("a condition that throws replaces the end of its step", async () => {
  const run = await child.run(
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
  const run = await child.run(
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
    const run = await child.run(command);
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
  const run = await child.run(
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
  const run = await child.run(
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
    const run = await child.run(
      job(
        `setTimeout(() => { throw ${thrown}; }, 1); await new Promise(() => {});`,
      ),
    );
    assert.equal(run.of("workflow-error").error.message, message, thrown);
  }
});

test("messages that are no text become text, huge ones are cut", async () => {
  const object = await child.run(job("throw { message: { code: 1 } };"));
  assert.equal(object.of("job-error").error.message, '{"code":1}');
  assert.equal(object.of("job-error").state_error.message, '{"code":1}');
  const huge = await child.run(job("throw new Error('x'.repeat(10_000_000));"));
  const { error, state_error } = huge.of("job-error");
  assert.equal(error.message.length, 256 * 1024);
  assert.equal(state_error.message, error.message);
});

test("the position of an error in job code comes from its source map", async () => {
  const run = await child.run(
    execute([
      {
        ...step("a", "s => s.x.y", { name: "My Job" }),
        // Line 1 of the generated code is line 1 of the source, character by character.
        sourceMap: {
          version: 3,
          file: "My Job.map.js",
          sources: ["My Job.js"],
          names: [],
          mappings: Array.from({ length: 40 }, (_, i) =>
            i === 0 ? "AAAA" : "CAAC",
          ).join(","),
          sourcesContent: ["export default [s => s.x.y];"],
        },
      },
    ]),
  );
  const { pos } = run.of("job-error").body.errors.a;
  assert.deepEqual(pos, {
    line: 1,
    column: 26,
    src: "export default [s => s.x.y];",
  });
  assert.ok(run.lines.includes("R/T error Error occurred at: My Job"));
  assert.ok(run.lines.includes("R/T error 1: export default [s => s.x.y];"));
});

test("an error inside an installed adaptor is the adaptor's", async () => {
  const run = await child.run(
    execute([commonStep("a", "validate(1, 2)", { imports: "validate" })]),
  );
  assert.equal(run.of("job-error").error.name, "AdaptorError");
  assert.ok(
    run.lines.every(
      (line) => !line.includes(repoDir) || !line.includes("engine-thread"),
    ),
  );
});

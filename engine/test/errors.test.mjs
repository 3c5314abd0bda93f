import assert from "node:assert/strict";
import { before, test } from "node:test";

import { inChild } from "./support/child.mjs";
import {
  adaptorStep,
  commonStep,
  execute,
  job,
  step,
} from "./support/plans.mjs";
import { ensureRepo, repoDir, scratchRepo } from "./support/repo.mjs";

before(ensureRepo);

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
    const run = await inChild(
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

test("an error named AdaptorError by a job is shown as a crash, and the run goes on", async () => {
  const run = await inChild(
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
  const run = await inChild(command);
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
  const run = await inChild(command);
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
  const run = await inChild(
    execute([
      adaptorStep("a", "@openfn/language-lazy", folder, "put", "put()"),
    ]),
  );
  assert.deepEqual(run.of("workflow-complete")?.body, { data: 5 });
});

test("messages that are no text become text, huge ones are cut", async () => {
  const object = await inChild(job("throw { message: { code: 1 } };"));
  assert.equal(object.of("job-error").error.message, '{"code":1}');
  assert.equal(object.of("job-error").state_error.message, '{"code":1}');
  const huge = await inChild(job("throw new Error('x'.repeat(10_000_000));"));
  const { error, state_error } = huge.of("job-error");
  assert.equal(error.message.length, 256 * 1024);
  assert.equal(state_error.message, error.message);
});

test("the position of an error in job code comes from its source map", async () => {
  const run = await inChild(
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
  const run = await inChild(
    execute([commonStep("a", "validate(1, 2)", { imports: "validate" })]),
  );
  assert.equal(run.of("job-error").error.name, "AdaptorError");
  assert.ok(
    run.lines.every(
      (line) => !line.includes(repoDir) || !line.includes("engine-child"),
    ),
  );
});

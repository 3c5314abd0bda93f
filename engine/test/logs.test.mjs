import assert from "node:assert/strict";
import { test } from "node:test";

import { Child, RunEvents, inChild, isExitOf } from "./support/child.mjs";
import { adaptorStep, execute, job, step } from "./support/plans.mjs";
import { scratchRepo } from "./support/repo.mjs";


const REDACTED = ["[REDACTED: Message length exceeds payload limit]"];

test("a line logged right before an endless loop arrives", async () => {
  const child = await Child.ready();
  const command = job("console.log('last words'); while (true) {}");
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event(
    (event) => event.run === command.run && event.body?.[0] === "last words",
  );
  await child.kill();
});

test("a line logged right before process.exit arrives, and the exit names the code", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-quit",
    "export const quit = () => () => { console.log('bye'); process.exit(7); };",
  );
  const run = await inChild(
    execute([
      adaptorStep("a", "@openfn/language-quit", folder, "quit", "quit()"),
    ]),
  );
  assert.equal(run.lines.at(-1), "ADA info bye");
  const { cause, code } = run.of("exit");
  assert.deepEqual([cause, code], ["exit", 7]);
  assert.equal(run.of("workflow-error"), undefined);
});

test("adaptors log as ADA, but their debug goes to stdout", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-chatty",
    `const { warn } = console;
     export const chat = () => (state) => {
       console.log("from the adaptor", { n: 1 });
       warn("kept reference");
       console.debug("only for the operator");
       if (typeof console.table !== "undefined") throw new Error("table exists");
       return state;
     };`,
  );
  const child = await Child.ready();
  const run = await child.run(
    execute([
      adaptorStep("a", "@openfn/language-chatty", folder, "chat", "chat()"),
    ]),
  );
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    ['ADA info from the adaptor {"n":1}', "ADA warn kept reference"],
  );
  assert.equal(run.of("exit").cause, "done");
  await child.printed("only for the operator");
});

test("edge conditions log as ADA", async () => {
  const run = await inChild(
    execute([
      step("a", "s => s", {
        next: { b: { condition: "console.log('on the edge') || true" } },
      }),
      step("b", "s => s"),
    ]),
  );
  assert.ok(run.lines.includes("ADA info on the edge"));
});

test("the job's log level leaves the other sources alone", async () => {
  const run = await inChild(
    job(
      "console.debug('d'); console.log('i'); console.error('e'); return state;",
      {
        options: { job_log_level: "none" },
      },
    ),
  );
  assert.deepEqual(run.jobLogs, [["e"]]);
  assert.ok(run.lines.some((line) => line.startsWith("R/T debug ")));
});

test("the run's sanitize policy holds for what jobs and adaptors log", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-leak",
    "export const leak = () => (state) => { console.log(state); return state; };",
  );
  const run = await inChild(
    execute(
      [
        adaptorStep("a", "@openfn/language-leak", folder, "leak", "leak()", {
          next: { b: true },
        }),
        step("b", "s => { console.log(s, [1]); return s; }"),
      ],
      { options: { sanitize: "obfuscate" } },
    ),
  );
  assert.deepEqual(
    run.lines.filter((line) => !line.startsWith("R/T")),
    ["ADA info [object]", "JOB info [object] [array]"],
  );
});

test("console.print has no level, and a missing method fails the step", async () => {
  const run = await inChild(
    job("console.print('plain', 1); console.table([]); return state;"),
  );
  const [printed] = run.all.filter(({ name }) => name === "JOB");
  assert.equal(printed.level, undefined);
  assert.deepEqual(printed.body, ["plain", 1]);
  assert.equal(
    run.of("job-error").error.message,
    "TypeError: console.table is not a function",
  );
});

test("a log entry is redacted when its JSON is one byte over the limit", async () => {
  // The entry as the limit sees it: the message is JSON within JSON.
  const overhead = Buffer.byteLength(
    JSON.stringify({
      level: "info",
      name: "JOB",
      message: '[""]',
      time: "1795486331595746934",
    }),
  );
  const fits = 1024 * 1024 - overhead;
  const run = await inChild(
    job(
      `console.log('x'.repeat(${fits})); console.log('x'.repeat(${fits + 1})); return state;`,
    ),
  );
  const [whole, over] = run.all.filter(({ name }) => name === "JOB");
  assert.equal(whole.body[0].length, fits);
  assert.equal(whole.redacted, undefined);
  assert.deepEqual([over.body, over.redacted], [REDACTED, true]);
});

test("quotes count twice, and bytes count, not characters", async () => {
  const run = await inChild(
    job(
      `console.log('"'.repeat(300_000)); console.log('é'.repeat(600_000)); console.log('"'.repeat(200_000)); return state;`,
    ),
  );
  assert.deepEqual(
    run.all
      .filter(({ name }) => name === "JOB")
      .map(({ redacted }) => redacted),
    [true, true, undefined],
  );
});

test("without a log limit the payload limit holds, and a limit of 0 redacts everything", async () => {
  const fallback = await inChild(
    job("console.log('x'.repeat(2 * 1024 * 1024)); return state;", {
      options: { log_payload_limit_mb: null },
    }),
  );
  assert.equal(fallback.jobLogs[0][0].length, 2 * 1024 * 1024);
  const nothing = await inChild(
    job("console.log('x'); return state;", {
      options: { log_payload_limit_mb: 0 },
    }),
  );
  assert.deepEqual(nothing.jobLogs, [REDACTED]);
});

test("a parent that does not read makes the job wait, and nothing is lost", async () => {
  const child = await Child.ready();
  const command = job(
    "for (let i = 0; i < 20_000; i++) console.log(i, 'x'.repeat(100)); return state;",
  );
  child.send(command);
  await child.event(
    ({ type, run }) => type === "workflow-start" && run === command.run,
  );
  child.pauseEvents();
  child.send({ type: "go", run: command.run });
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  child.resumeEvents();
  await child.event(isExitOf(command.run));
  const run = new RunEvents(
    child.events.filter((event) => event.run === command.run),
  );
  assert.deepEqual(
    run.jobLogs.map(([i]) => i),
    Array.from({ length: 20_000 }, (_, i) => i),
  );
});

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { Child, RunEvents, isExitOf } from "./support/child.mjs";
import {
  adaptorStep,
  commonStep,
  execute,
  job,
  step,
} from "./support/plans.mjs";
import { adaptorFolder, ensureRepo, scratchRepo } from "./support/repo.mjs";

before(ensureRepo);

const COMMON = adaptorFolder("@openfn/language-common", "3.3.4");

/** A made-up adaptor that prints when it is loaded, so that a test can wait for it. */
function announced(repo, name, source = "") {
  return repo.write(
    name,
    `console.log("loaded ${name}"); export const nothing = () => (s) => s;\n${source}`,
  );
}

test("a spare thread has its adaptors loaded before the run comes", async (t) => {
  const repo = scratchRepo(t);
  const folder = announced(repo, "@openfn/language-seen");
  const child = await Child.ready();
  child.send({ type: "warm", threads: 1, adaptors: [COMMON, folder] });
  await child.printed("loaded @openfn/language-seen");
  const run = await child.run(
    execute([
      adaptorStep("a", "@openfn/language-seen", folder, "nothing", "nothing()"),
    ]),
  );
  assert.equal(run.of("workflow-start").warm, true);
  // The run uses the instance of the spare: it is not loaded a second time.
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    [],
  );
  assert.equal(child.stdout.split("loaded @openfn/language-seen").length, 2);
  // After the run a new spare is made.
  await child.printed("loaded @openfn/language-seen", 2);
  await child.kill();
});

test("the child says between runs that a thread is warm", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-told");
  const child = await Child.ready();
  child.send({ type: "warm", threads: 1, adaptors: [folder] });
  await child.event("warmed");
  assert.match(child.stdout, /loaded @openfn.language-told/);
  const command = job("return state;");
  await child.run(command);
  const after = await child.warmedAfter(command.run);
  assert.equal(after.run, undefined);
  await child.kill();
});

test("a spare is made beside a run that lasts, when the child is warmed during it", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-beside");
  const child = await Child.ready();
  const long = job("return state;");
  child.send(long);
  child.send({ type: "warm", threads: 1, adaptors: [folder] });
  await child.printed("loaded @openfn/language-beside");
  assert.equal(child.events.filter(isExitOf(long.run)).length, 0);
  child.send({ type: "go", run: long.run });
  await child.event(isExitOf(long.run));
  const next = await child.run(job("return state;"));
  assert.equal(next.of("workflow-start").warm, true);
  await child.kill();
});

test("an adaptor of the plan is loaded before go", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-early");
  const child = await Child.ready();
  const command = execute([
    adaptorStep("a", "@openfn/language-early", folder, "nothing", "nothing()"),
  ]);
  child.send(command);
  await child.event(
    ({ body }) => body?.[0] === "loaded @openfn/language-early",
  );
  assert.deepEqual(
    child.events.map(({ type }) => type),
    ["ready", "workflow-start", "log"],
  );
  child.send({ type: "go", run: command.run });
  await child.event(isExitOf(command.run));
  await child.kill();
});

test("nothing of the plan runs before go", async () => {
  const child = await Child.ready();
  const command = job("console.log('ran'); return state;");
  child.send(command);
  await child.event("workflow-start");
  child.send({ type: "cancel", run: command.run });
  const exit = await child.event("exit");
  assert.deepEqual([exit.cause, exit.code], ["cancelled", 1]);
  assert.deepEqual(
    child.events.map(({ type }) => type),
    ["ready", "workflow-start", "exit"],
  );
  await child.kill();
});

test("go right behind execute works without any spare", async () => {
  const child = await Child.ready();
  for (const n of [1, 2]) {
    const run = await child.run(job(`return { data: ${n} };`));
    assert.deepEqual(run.of("workflow-complete").body, { data: n });
    assert.deepEqual(run.types.slice(0, 2), ["workflow-start", "log"]);
  }
  await child.kill();
});

test("a thread is never used twice: modules, globals and ids are fresh", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-count",
    "let n = 0; export const count = () => (s) => { globalThis.left = (globalThis.left ?? 0) + 1; return { data: [++n, globalThis.left] }; };",
  );
  const child = await Child.ready();
  const threads = new Set();
  for (let i = 0; i < 3; i++) {
    const run = await child.run(
      execute([
        adaptorStep("a", "@openfn/language-count", folder, "count", "count()"),
      ]),
    );
    assert.deepEqual(run.of("workflow-complete").body, { data: [1, 1] });
    threads.add(run.of("workflow-start").thread_id);
  }
  assert.equal(threads.size, 3);
  await child.kill();
});

test("missing and broken adaptors do not hurt a spare", async (t) => {
  const repo = scratchRepo(t);
  const broken = repo.write(
    "@openfn/language-broken",
    "throw new Error('not yet');",
  );
  const good = announced(repo, "@openfn/language-good");
  const child = await Child.ready();
  child.send({
    type: "warm",
    threads: 1,
    adaptors: [repo.folder("@openfn/language-missing"), broken, good],
  });
  await child.printed("loaded @openfn/language-good");
  // The adaptor has been repaired meanwhile, e.g. its installation is complete.
  repo.write(
    "@openfn/language-broken",
    "export const fixed = () => () => ({ data: 'fixed' });",
  );
  const run = await child.run(
    execute([
      adaptorStep("a", "@openfn/language-broken", broken, "fixed", "fixed()"),
    ]),
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: "fixed" });
  await child.kill();
});

test("an adaptor that ends its thread when loaded does not stop the child from working", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-deadly",
    "import fs from 'node:fs'; fs.writeSync(1, 'dying'); process.exit(3);",
  );
  const child = await Child.ready();
  child.send({ type: "warm", threads: 1, adaptors: [folder] });
  await child.printed("dying");
  // This run may still be given to the dying thread; its spare's successor has
  // no adaptors.
  const first = await child.run(job("return state;"));
  assert.ok(["done", "exit"].includes(first.of("exit").cause));
  const next = job("return { data: 1 };");
  const second = await child.run(next);
  assert.deepEqual(second.of("workflow-complete").body, { data: 1 });
  // From now on spares do without it, and are there.
  await child.warmedAfter(next.run);
  const third = await child.run(job("return state;"));
  assert.equal(third.of("workflow-start").warm, true);
  await child.kill();
});

test("what an adaptor kept of the spare's console obeys the run", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-keeper",
    "console.log('kept'); const { log } = console; export const tell = () => (s) => { log(s); return s; };",
  );
  const child = await Child.ready();
  child.send({ type: "warm", threads: 1, adaptors: [folder] });
  await child.printed("kept");
  const run = await child.run(
    execute(
      [adaptorStep("a", "@openfn/language-keeper", folder, "tell", "tell()")],
      {
        options: { sanitize: "summarize" },
      },
    ),
  );
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    ["ADA info (object with keys configuration, data)"],
  );
  await child.kill();
});

test("cancel ends a busy loop, a job that waits for ever, and one in a native wait", async () => {
  const child = await Child.ready();
  const bodies = [
    "console.log('here'); while (true) {}",
    "console.log('here'); await new Promise(() => {});",
    "console.log('here'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
  ];
  for (const body of bodies) {
    const command = job(body);
    child.send(command);
    child.send({ type: "go", run: command.run });
    await child.event(
      (event) => event.run === command.run && event.body?.[0] === "here",
    );
    child.send({ type: "cancel", run: command.run });
    const { cause } = await child.event(isExitOf(command.run));
    assert.equal(cause, "cancelled", body);
  }
  const next = await child.run(job("return state;"));
  assert.equal(next.of("exit").cause, "done");
  await child.kill();
});

test("cancel reaches a job that floods the parent with lines, and no event is cut", async () => {
  const child = await Child.ready();
  const command = job(
    "for (let i = 0; ; i++) console.log(i, 'x'.repeat(50_000));",
  );
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event(({ name }) => name === "JOB");
  child.send({ type: "cancel", run: command.run });
  await child.event(isExitOf(command.run));
  const run = new RunEvents(
    child.events.filter((event) => event.run === command.run),
  );
  assert.equal(run.of("exit").cause, "cancelled");
  assert.deepEqual(
    run.jobLogs.map(([i]) => i),
    run.jobLogs.map((_, i) => i),
  );
  await child.kill();
});

test("a run with another memory limit than the spare gets a thread of its own", async () => {
  const child = await Child.ready();
  child.send({ type: "warm", threads: 1, adaptors: [] });
  const run = await child.run(
    job("return state;", { options: { memory_limit_mb: 123 } }),
  );
  assert.equal(run.of("workflow-start").warm, false);
  assert.equal(run.of("exit").cause, "done");
  await child.kill();
});

test("what exit listeners log does not follow the last event", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-last",
    "process.on('exit', () => console.log('too late')); export const nothing = () => (s) => s;",
  );
  const child = await Child.ready();
  const run = await child.run(
    execute([
      adaptorStep("a", "@openfn/language-last", folder, "nothing", "nothing()"),
    ]),
  );
  assert.deepEqual(run.types.slice(-2), ["workflow-complete", "exit"]);
  await child.kill();
});

test("a job that has left its sandbox finds no channel to the main thread", async () => {
  const child = await Child.ready();
  const run = await child.run(
    job(`const host = console.log.constructor("return process")();
         const threads = host.getBuiltinModule?.("worker_threads");
         state.data = threads ? [threads.parentPort, threads.workerData] : [null, null];
         return state;`),
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: [null, null] });
  await child.kill();
});

test("a run of many steps of one adaptor loads it once", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-once");
  const child = await Child.ready();
  const name = "@openfn/language-once";
  const run = await child.run(
    execute([
      adaptorStep("a", name, folder, "nothing", "nothing()", {
        next: { b: true },
      }),
      adaptorStep("b", name, folder, "nothing", "nothing()", {
        next: { c: true },
      }),
      step("c", "s => s"),
    ]),
  );
  assert.equal(
    run.lines.filter((line) => line === "ADA info loaded @openfn/language-once")
      .length,
    1,
  );
  await child.kill();
});

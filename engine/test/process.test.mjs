import assert from "node:assert/strict";
import { test } from "node:test";

import { Child, frame, nonBlockingPair } from "./support/child.mjs";
import { execute, job, step } from "./support/plans.mjs";

test("a child says what it is once the runtime is loaded", async () => {
  const child = await Child.ready();
  assert.deepEqual(child.events, [
    {
      type: "ready",
      protocol: 1,
      node: process.versions.node,
      runtime: "1.9.5",
      pid: child.pid,
    },
  ]);
  await child.kill();
});

test("a child without the vm modules flag names it and exits with 2", async () => {
  const child = new Child({ flags: ["--no-warnings"] });
  const { message } = await child.event("protocol-error");
  assert.match(message, /--experimental-vm-modules/);
  assert.deepEqual(await child.exited, { code: 2, signal: null });
});

test("shutdown ends the process with 0", async () => {
  const child = await Child.ready();
  child.send({ type: "shutdown" });
  assert.deepEqual(await child.exited, { code: 0, signal: null });
});

test("an idle child ends when its parent is gone", async () => {
  const child = await Child.ready();
  child.closeCommands();
  assert.deepEqual(await child.exited, { code: null, signal: "SIGKILL" });
});

test("a child in a busy loop ends when its parent is gone", async () => {
  const child = await Child.ready();
  const command = job('console.log("busy"); while (true) {}');
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event(({ body }) => body?.[0] === "busy");
  child.closeCommands();
  assert.deepEqual(await child.exited, { code: null, signal: "SIGKILL" });
});

const CANNOT_BE_UNDERSTOOD = {
  "an unknown command": frame('{"type":"dance"}'),
  "a header that is not JSON": frame("{"),
  "a header that is not an object": frame("[]"),
  "a length beyond every limit": Buffer.alloc(8, 0xff),
  "go for a run that does not exist": frame('{"type":"go","run":"r"}'),
  "cancel for a run that does not exist": frame('{"type":"cancel","run":"r"}'),
  "execute without a plan": frame('{"type":"execute","run":"r","options":{}}'),
  "warm with a bad count": frame('{"type":"warm","threads":-1}'),
};

for (const [what, bytes] of Object.entries(CANNOT_BE_UNDERSTOOD)) {
  test(`${what} is a protocol error`, async () => {
    const child = await Child.ready();
    child.sendRaw(bytes);
    const { message } = await child.event("protocol-error");
    assert.notEqual(message, "");
    assert.deepEqual(await child.exited, { code: 2, signal: null });
  });
}

test("a second run while one is in work is a protocol error, and no event is cut", async () => {
  const child = await Child.ready();
  const command = job("for (;;) console.log('line', 'x'.repeat(1000));");
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event(({ name }) => name === "JOB");
  child.send(execute([step("a", "s => s")]));
  const { message } = await child.event("protocol-error");
  assert.match(message, /while run .* is in work/);
  assert.deepEqual(await child.exited, { code: 2, signal: null });
});

test("cancel and go that cross the end of their run are ignored", async () => {
  const child = await Child.ready();
  const first = job("return state;");
  await child.run(first);
  child.send({ type: "cancel", run: first.run });
  child.send({ type: "go", run: first.run });
  const second = await child.run(job("return state;"));
  assert.equal(second.of("exit").cause, "done");
  await child.kill();
});

test("a job sees no environment", async () => {
  const child = await Child.ready();
  const run = await child.run(
    job(`const host = console.log.constructor("return process")();
         state.data = { env: { ...host.env } };
         return state;`),
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: { env: {} } });
  await child.kill();
});

test("a job without an environment still finds its temporary folder", async () => {
  const child = await Child.ready({ env: { TMPDIR: "/private" } });
  const run = await child.run(
    job(`const os = console.log.constructor("return process")().getBuiltinModule("os");
         state.data = { folder: os.tmpdir() };
         return state;`),
  );
  assert.deepEqual(run.of("workflow-complete").body, {
    data: { folder: "/private" },
  });
  await child.kill();
});

test("an event descriptor that does not block loses no line", async () => {
  const child = await Child.ready({ events: await nonBlockingPair() });
  const command = job(
    "for (let i = 0; i < 100; i++) console.log(i, 'x'.repeat(100_000)); return state;",
  );
  child.send(command);
  await child.event("workflow-start");
  child.pauseEvents();
  child.send({ type: "go", run: command.run });
  setImmediate(() => child.resumeEvents());
  await child.event("exit");
  const lines = child.events
    .filter(({ name }) => name === "JOB")
    .map(({ body }) => body[0]);
  assert.deepEqual(
    lines,
    Array.from({ length: 100 }, (_, i) => i),
  );
  await child.kill();
});

test("a thread that ends inside an event takes the child with it", async () => {
  const child = await Child.ready({ events: await nonBlockingPair() });
  const bytes = 20_000_000;
  const command = job(`console.log("x".repeat(${bytes})); return state;`, {
    options: { log_payload_limit_mb: 100 },
  });
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.pausedInside(bytes);
  child.send({ type: "cancel", run: command.run });
  await child.reported("ended inside an event");
  child.resumeEvents();
  assert.deepEqual(await child.exited, { code: 70, signal: null });
  assert.equal(
    child.events.some(({ type }) => type === "exit"),
    false,
  );
});

test("a system that hides /proc does not stop steps from completing", async () => {
  const hide = "process.memoryUsage = () => { throw new Error('EACCES'); };";
  const child = await Child.ready({
    flags: [
      "--experimental-vm-modules",
      "--no-warnings",
      `--import=data:text/javascript,${encodeURIComponent(hide)}`,
    ],
  });
  const run = await child.run(job("return state;"));
  const { mem } = run.of("job-complete");
  assert.ok(mem.job > 0 && mem.system > mem.job);
  await child.kill();
});

test("what comes before ready waits for it", async () => {
  const child = new Child();
  const run = await child.run(
    job("return state;", { options: { memory_limit_mb: 123 } }),
  );
  assert.equal(child.events[0].type, "ready");
  assert.equal(run.of("exit").cause, "done");
  await child.kill();
});

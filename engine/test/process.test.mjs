import assert from "node:assert/strict";
import { test } from "node:test";

import { Child, frame, inChild, nonBlockingPair } from "./support/child.mjs";
import { job } from "./support/plans.mjs";

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

test("a child whose run waits ends when its parent is gone", async () => {
  const child = await Child.ready();
  const command = job('console.log("waits"); await new Promise(() => {});');
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event(({ body }) => body?.[0] === "waits");
  child.closeCommands();
  assert.deepEqual(await child.exited, { code: null, signal: "SIGKILL" });
});

test("a child is gone when its run has ended", async () => {
  const child = await Child.ready();
  await child.run(job("setInterval(() => {}, 1000); return state;"));
  assert.deepEqual(await child.exited, { code: null, signal: "SIGKILL" });
  assert.equal(child.events.at(-1).type, "exit");
});

const CANNOT_BE_UNDERSTOOD = {
  "an unknown command": frame('{"type":"dance"}'),
  "a header that is not JSON": frame("{"),
  "a header that is not an object": frame("[]"),
  "a length beyond every limit": Buffer.alloc(8, 0xff),
  "go for a run that does not exist": frame('{"type":"go","run":"r"}'),
  "execute without a plan": frame('{"type":"execute","run":"r","options":{}}'),
  "preload without a list": frame('{"type":"preload"}'),
  "preload of what is no folder": frame('{"type":"preload","adaptors":[1]}'),
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

for (const [what, second] of [
  ["a second run", job("return state;")],
  ["go of another run", { type: "go", run: "another" }],
  ["preload", { type: "preload", adaptors: [] }],
]) {
  test(`${what} is a protocol error when there is a run`, async () => {
    const child = await Child.ready();
    child.send(job("return state;"));
    child.send(second);
    const { message } = await child.event("protocol-error");
    assert.match(message, /while run .* is in work/);
    assert.deepEqual(await child.exited, { code: 2, signal: null });
    assert.equal(child.events.at(-1).type, "protocol-error");
  });
}

test("what comes during a run is heard while it waits", async () => {
  const child = await Child.ready();
  const command = job("await new Promise(() => {});");
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event("job-start");
  child.send({ type: "go", run: command.run });
  const { message } = await child.event("protocol-error");
  assert.match(message, /while run .* is in work/);
  assert.deepEqual(await child.exited, { code: 2, signal: null });
});

test("shutdown during a run ends it without a word", async () => {
  const child = await Child.ready();
  const command = job("await new Promise(() => {});");
  child.send(command);
  child.send({ type: "go", run: command.run });
  await child.event("job-start");
  child.send({ type: "shutdown" });
  assert.deepEqual(await child.exited, { code: 0, signal: null });
  assert.ok(!child.events.some(({ type }) => type === "exit"));
});

test("commands are read from a descriptor that does not block", async () => {
  const child = await Child.ready({ commands: await nonBlockingPair() });
  child.send({ type: "preload", adaptors: [] });
  await child.event("preloaded");
  const run = await child.run(job("return state;"));
  assert.equal(run.of("exit").cause, "done");
});

test("a job sees no environment", async () => {
  const run = await inChild(
    job(`const host = console.log.constructor("return process")();
         state.data = { env: { ...host.env } };
         return state;`),
    undefined,
    { env: { MALLOC_ARENA_MAX: "2", TMPDIR: "/private" } },
  );
  assert.deepEqual(run.of("workflow-complete").body, { data: { env: {} } });
});

test("a job without an environment still finds its temporary folder", async () => {
  const run = await inChild(
    job(`const os = console.log.constructor("return process")().getBuiltinModule("os");
         state.data = { folder: os.tmpdir() };
         return state;`),
    undefined,
    { env: { TMPDIR: "/private" } },
  );
  assert.deepEqual(run.of("workflow-complete").body, {
    data: { folder: "/private" },
  });
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
  const run = await child.run(job("return state;"));
  assert.equal(child.events[0].type, "ready");
  assert.equal(run.of("exit").cause, "done");
  await child.kill();
});

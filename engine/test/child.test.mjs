import assert from "node:assert/strict";
import { before, test } from "node:test";

import { Child, inChild, isExitOf } from "./support/child.mjs";
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

/** A made-up adaptor that prints when it is loaded. */
function announced(repo, name, source = "") {
  return repo.write(
    name,
    `console.log("loaded ${name}"); export const nothing = () => (s) => s;\n${source}`,
  );
}

/** A child that has preloaded these adaptors, a list for each command. */
async function preloaded(...lists) {
  const child = await Child.ready();
  for (const adaptors of lists) child.send({ type: "preload", adaptors });
  await child.event(
    () =>
      child.events.filter(({ type }) => type === "preloaded").length ===
      lists.length,
  );
  return child;
}

test("a child has its adaptors loaded before the run comes", async (t) => {
  const name = "@openfn/language-seen";
  const folder = announced(scratchRepo(t), name);
  const child = await preloaded([COMMON, folder]);
  assert.match(child.stdout, /loaded @openfn.language-seen/);
  const run = await child.run(
    execute([adaptorStep("a", name, folder, "nothing", "nothing()")]),
  );
  const { warm, thread_id } = run.of("workflow-start");
  assert.deepEqual([warm, thread_id], [true, 1]);
  // The run uses the instance that is there: it is not loaded a second time.
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    [],
  );
});

test("preloads add up, and each is answered", async (t) => {
  const repo = scratchRepo(t);
  const names = ["@openfn/language-one", "@openfn/language-two"];
  const folders = names.map((name) => announced(repo, name));
  const child = await preloaded(...folders.map((folder) => [folder]), []);
  const steps = names.map((name, at) =>
    adaptorStep(`s${at}`, name, folders[at], "nothing", "nothing()", {
      next: at === 0 ? { s1: true } : undefined,
    }),
  );
  const run = await child.run(execute(steps));
  assert.equal(run.of("workflow-start").warm, true);
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    [],
  );
});

test("a run is warm only if all of its adaptors were preloaded", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-other");
  const plan = () => execute([commonStep("a", "fn(s => s)")]);
  for (const [lists, warm] of [
    [[[COMMON]], true],
    [[[folder]], false],
    [[], false],
  ]) {
    const child = await preloaded(...lists);
    const run = await child.run(plan());
    assert.equal(run.of("workflow-start").warm, warm);
  }
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
});

test("nothing of the plan runs before go", async () => {
  const child = await Child.ready();
  const command = job("console.log('ran'); return state;");
  child.send(command);
  await child.event("workflow-start");
  child.closeCommands();
  await child.exited;
  assert.deepEqual(
    child.events.map(({ type }) => type),
    ["ready", "workflow-start"],
  );
});

test("go right behind execute works without any preload", async () => {
  const run = await inChild(job("return { data: 1 };"));
  assert.deepEqual(run.of("workflow-complete").body, { data: 1 });
  assert.deepEqual(run.types.slice(0, 2), ["workflow-start", "log"]);
  const { cause, code, later } = run.of("exit");
  assert.deepEqual([cause, code, later], ["done", 0, 0]);
});

test("missing and broken adaptors do not hurt a run", async (t) => {
  const repo = scratchRepo(t);
  const name = "@openfn/language-broken";
  const broken = repo.write(name, "throw new Error('not yet');");
  const good = announced(repo, "@openfn/language-good");
  const missing = repo.folder("@openfn/language-missing");
  const child = await preloaded([missing, broken, good]);
  assert.match(child.stdout, /loaded @openfn.language-good/);
  // The adaptor has been repaired meanwhile, e.g. its installation is complete.
  repo.write(name, "export const fixed = () => () => ({ data: 'fixed' });");
  const run = await child.run(
    execute([adaptorStep("a", name, broken, "fixed", "fixed()")]),
  );
  assert.equal(run.of("workflow-start").warm, false);
  assert.deepEqual(run.of("workflow-complete").body, { data: "fixed" });
});

test("an adaptor that ends its process when preloaded does so with its code", async (t) => {
  const folder = scratchRepo(t).write(
    "@openfn/language-deadly",
    "process.exit(3);",
  );
  const child = await Child.ready();
  child.send({ type: "preload", adaptors: [folder] });
  assert.deepEqual(await child.exited, { code: 3, signal: null });
  assert.deepEqual(
    child.events.map(({ type }) => type),
    ["ready"],
  );
});

test("what an adaptor kept of the console before the run obeys the run", async (t) => {
  const name = "@openfn/language-keeper";
  const folder = scratchRepo(t).write(
    name,
    "console.log('kept'); const { log } = console; export const tell = () => (s) => { log(s); return s; };",
  );
  const child = await preloaded([folder]);
  assert.match(child.stdout, /kept/);
  const run = await child.run(
    execute([adaptorStep("a", name, folder, "tell", "tell()")], {
      options: { sanitize: "summarize" },
    }),
  );
  assert.deepEqual(
    run.lines.filter((line) => line.startsWith("ADA")),
    ["ADA info (object with keys configuration, data)"],
  );
});

for (const [what, end] of [
  ["the last event", "(s) => s"],
  ["an exit by the adaptor", "() => process.exit(5)"],
]) {
  test(`what exit listeners log does not follow ${what}`, async (t) => {
    const folder = scratchRepo(t).write(
      "@openfn/language-last",
      `process.on('exit', () => console.log('too late')); export const last = () => ${end};`,
    );
    const run = await inChild(
      execute([
        adaptorStep("a", "@openfn/language-last", folder, "last", "last()"),
      ]),
    );
    assert.equal(run.types.at(-1), "exit");
    assert.ok(!run.lines.some((line) => line.includes("too late")));
  });
}

test("a run of many steps of one adaptor loads it once", async (t) => {
  const folder = announced(scratchRepo(t), "@openfn/language-once");
  const name = "@openfn/language-once";
  const run = await inChild(
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
});

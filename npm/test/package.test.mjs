// The packages as a user has them: installed from their tarballs, without a registry, and driven from Node.js.

import assert from "node:assert/strict";
import { execFileSync, fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { version } from "../pack.mjs";
import { SECRET, install, isAlive, lightning, until } from "./support.mjs";

const source = new URL("..", import.meta.url);
let installed;
let mock;
let api;
/** Workers that a failed test may leave behind. */
const started = [];

before(async () => {
  installed = install();
  mock = await lightning();
  const entry = createRequire(join(installed.home, "index.js")).resolve("ws-worker");
  api = await import(pathToFileURL(entry));
});

after(async () => {
  await Promise.all(started.map((worker) => worker.destroy({ timeoutMs: 0, killMs: 0 })));
  await mock?.stop();
  installed?.remove();
});

/** Where the package's script is. */
const script = () => join(installed.home, "node_modules/ws-worker/bin/ws-worker.mjs");

/** Starts a worker against the mock Lightning. */
async function worker(settings = {}) {
  const worker = await api.createWorker({ lightning: mock.socket, secret: SECRET, mock: true, loop: false, ...settings });
  started.push(worker);
  return worker;
}

/** The first moment of a worker for which this holds. */
async function moment(worker, holds) {
  for (;;) {
    const [now] = await once(worker, "event");
    if (holds(now)) return now;
  }
}

const isConnected = ({ connection }) => connection.queue_joined;

/** Waits for the end of a run in Lightning. */
const ended = (id) =>
  until(async () => {
    const run = await mock.run(id);
    return run.reason ? run : undefined;
  });

test("the packages have the version of the workspace, and nothing to run at their installation", () => {
  const own = JSON.parse(readFileSync(new URL("package.json", source), "utf8"));
  assert.equal(own.version, version());
  for (const name of ["ws-worker", `ws-worker-${process.platform}-${process.arch}`]) {
    const manifest = JSON.parse(readFileSync(join(installed.home, "node_modules", name, "package.json"), "utf8"));
    assert.equal(manifest.version, version());
    assert.equal(manifest.scripts, undefined);
    assert.equal(manifest.dependencies, undefined);
  }
  assert.deepEqual(own.optionalDependencies, { "ws-worker-linux-arm64": version(), "ws-worker-linux-x64": version() });
});

test("the program comes with the licences of what is linked into it", () => {
  const name = `ws-worker-${process.platform}-${process.arch}`;
  const texts = readFileSync(join(installed.home, "node_modules", name, "third-party/ws-worker-licenses.txt"), "utf8");
  // The second is a part of the mock engine, which the image does not have.
  for (const crate of ["actix", "rquickjs"]) assert.match(texts, new RegExp(`^  ${crate} [0-9.]+ \\(`, "m"));
});

test("npx runs the program", () => {
  const npx = (...args) =>
    spawnSync("npx", ["--offline", "ws-worker", ...args], { cwd: installed.home, encoding: "utf8" });
  assert.equal(npx("--version").stdout, `ws-worker ${version()}\n`);
  const wrong = npx("start", "--no-such-flag");
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /--no-such-flag/);
});

test("a run is claimed, told of and finished before the worker ends", async () => {
  const lines = [];
  const at = await worker({ onLog: (line) => lines.push(line) });
  await moment(at, isConnected);
  assert.equal(await at.claim(), false);
  const id = await mock.enqueue("fn(s => ({ ...s, done: true }))");
  assert.equal(await at.claim(), true);
  const { history } = await moment(at, ({ ended }) => ended.success === 1);
  assert.ok(Array.isArray(history));
  assert.equal((await mock.run(id)).reason, "success");
  const status = await at.status();
  assert.deepEqual([status.state, status.version, status.runs], ["running", version(), []]);
  assert.ok(lines.length > 3 && lines.every((line) => line.text === undefined), JSON.stringify(lines));
  assert.deepEqual(await at.destroy(), { code: 0, signal: null });
  assert.equal(isAlive(at.pid), false);
  await assert.rejects(at.claim(), { name: "WorkerError", code: "ENDED", message: /exit code 0/ });
});

test("a worker that is destroyed finishes the runs in hand, and gives them up after the time-out", async () => {
  const patient = await worker();
  await moment(patient, isConnected);
  const short = await mock.enqueue("wait(200)");
  assert.equal(await patient.claim(), true);
  assert.deepEqual(await patient.destroy(), { code: 0, signal: null });
  assert.equal((await mock.run(short)).reason, "success");

  const hasty = await worker();
  await moment(hasty, isConnected);
  const long = await mock.enqueue("wait(600000)");
  assert.equal(await hasty.claim(), true);
  await moment(hasty, ({ runs }) => runs.some(({ phase }) => phase === "executing"));
  assert.deepEqual(await hasty.destroy({ timeoutMs: 1 }), { code: 143, signal: null });
  const run = await ended(long);
  assert.deepEqual([run.reason, run.error_type], ["exception", "WorkerShutdown"]);
});

test("a run is cancelled", async () => {
  const at = await worker();
  await moment(at, isConnected);
  const id = await mock.enqueue("wait(600000)");
  assert.equal(await at.claim(), true);
  assert.equal(await at.cancel(id), true);
  assert.equal(await at.cancel("no such run"), false);
  assert.equal((await ended(id)).reason, "cancel");
  await at.destroy();
});

test("a process that does not end is killed", async () => {
  const deaf = join(installed.folder, "deaf.mjs");
  writeFileSync(deaf, `#!${process.execPath}
    process.on("SIGTERM", () => process.stdout.write("deaf\\n"));
    process.send({ listening: "0.0.0.0:9" });
    setInterval(() => {}, 1000);
  `);
  chmodSync(deaf, 0o755);
  const at = await api.createWorker({ binary: deaf });
  assert.equal(at.url, "http://127.0.0.1:9");
  assert.deepEqual(await at.destroy({ timeoutMs: 1, killMs: 1 }), { code: null, signal: "SIGKILL" });
});

test("a worker that does not start says why", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await assert.rejects(worker({ port }), {
    code: "START_FAILED",
    message: new RegExp(`exit code 1.*cannot listen on 127\\.0\\.0\\.1:${port} .*in use`, "s"),
  });
  server.close();
  await assert.rejects(worker({ backoff: "5/1" }), { code: "START_FAILED", message: /exit code 1.*5\/1/s });
  await assert.rejects(worker({ capacitty: 3 }), { code: "START_FAILED", message: /exit code 2.*--capacitty/s });
  await assert.rejects(worker({ binary: "/no/such/program" }), { code: "BINARY_UNUSABLE", message: /\/no\/such\/program/ });
  await assert.rejects(worker({ env: { WS_WORKER_BINARY: "/no/such/program" } }), { code: "BINARY_MISSING" });
});

test("no secret is on the command line, and requests bear the token", async () => {
  const at = await worker({ httpToken: "a token" });
  const line = readFileSync(`/proc/${at.pid}/cmdline`, "utf8");
  assert.ok(!line.includes(SECRET) && !line.includes("a token"), line);
  assert.equal((await fetch(`${at.url}/status`)).status, 401);
  assert.equal((await at.status()).state, "running");
  await at.destroy();
});

test("a parent that forks the script waits for READY, and its signals reach the worker", async () => {
  const child = fork(script(), ["start", "--mock", "--port", "0", "--host", "127.0.0.1", "-l", mock.socket], {
    env: { ...process.env, WORKER_SECRET: SECRET },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const messages = [];
  child.on("message", (message) => messages.push(message));
  await once(child, "message");
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "exit"), [0, null]);
  assert.deepEqual(messages, ["READY"]);
});

test("a worker ends when its Node.js process is killed, by createWorker and by the script", async () => {
  const program = `
    import { createWorker } from "ws-worker";
    const worker = await createWorker({ lightning: ${JSON.stringify(mock.socket)}, secret: "x", mock: true });
    console.log(worker.pid);
  `;
  const parent = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: installed.home,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [pid] = await once(createInterface({ input: parent.stdout }), "line");
  assert.ok(isAlive(pid));
  parent.kill("SIGKILL");
  await until(() => !isAlive(pid));

  const between = fork(script(), ["--mock", "--port", "0", "--host", "127.0.0.1", "-l", mock.socket], {
    env: { ...process.env, WORKER_SECRET: SECRET },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(between, "message");
  const [worked] = execFileSync("cat", [`/proc/${between.pid}/task/${between.pid}/children`], { encoding: "utf8" }).trim().split(" ");
  assert.ok(isAlive(worked));
  between.kill("SIGKILL");
  await until(() => !isAlive(worked));
});

test("the example of the README runs", async () => {
  const readme = readFileSync(join(installed.home, "node_modules/ws-worker/README.md"), "utf8");
  const [, example] = readme.match(/```js example\n(.*?)```/s);
  writeFileSync(join(installed.home, "example.mjs"), example.replace("the secret that Lightning has as well", SECRET));
  const id = await mock.enqueue("fn(s => s)");
  const output = execFileSync(process.execPath, ["example.mjs"], {
    cwd: installed.home,
    encoding: "utf8",
    env: { ...process.env, LIGHTNING: mock.socket },
  });
  assert.match(output, /a run was claimed/);
  assert.equal((await mock.run(id)).reason, "success");
});

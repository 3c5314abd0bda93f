// Looks at what modules export by importing them, in a process that may do
// little more than read: adaptors are installed without running their scripts,
// so loading one must not become the way around that.

import { execFile } from "node:child_process";
import { EventEmitter } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import workerThreads from "node:worker_threads";

import { setFlags } from "./flags.mjs";

const SELF = fileURLToPath(import.meta.url);

// A second of CPU, which at the bundler's low priority may take minutes.
const PATIENCE_MS = 300_000;

const exit = process.exit.bind(process);

/** A run that succeeds and one that does not. */
const TRIAL = {
  workflow: {
    steps: [
      {
        id: "a",
        name: "a",
        expression:
          "export default [(state) => { console.log('line', state); return { ...state, data: {} }; }];",
        next: { b: true },
      },
      {
        id: "b",
        name: "b",
        expression: "export default [() => { throw new Error('no'); }];",
      },
    ],
  },
};

/**
 * Imports the `file` of each query and gives its exports by `key`: a sorted Map
 * of their names and kinds, which are `constructor` or what `typeof` says. They may
 * read the packages beside the files `others`, too.
 */
export async function probe(queries, others = []) {
  const files = [...queries, ...others.map((file) => ({ file }))];
  const found = await ask({ queries }, readable(files));
  return Object.fromEntries(
    Object.entries(found).map(([key, exports]) => [key, new Map(exports)]),
  );
}

/**
 * The code caches of a bundle's scripts by their names; `loader` is its common.mjs.
 * They hold what was in use: of an engine's, where the `program` of its threads has
 * that index, all that a run needs.
 */
export async function codeOf(loader, program) {
  const question = { loader, program };
  const caches = await ask(question, readable([{ file: loader }]));
  return Object.entries(caches).map(([name, code]) => [
    name,
    Buffer.from(code, "base64"),
  ]);
}

/** The scripts of a bundle with this loader that importing `entry` uses, though they are for later. */
export async function lateScriptsOf(entry, loader) {
  return ask({ entry, loader }, readable([{ file: entry }, { file: loader }]));
}

async function ask(question, folders) {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      permissionFlag(),
      ...folders.map((folder) => `--allow-fs-read=${folder}/*`),
      "--experimental-vm-modules",
      "--no-warnings",
      SELF,
      JSON.stringify(question),
    ],
    { env: {}, timeout: PATIENCE_MS, maxBuffer: 64 * 1024 * 1024 },
  );
  return JSON.parse(stdout.slice(stdout.lastIndexOf("\n") + 1));
}

/** The folders that hold the `node_modules` of these files, and this program. */
function readable(queries) {
  const roots = queries.map(
    ({ file }) => file.split(`${path.sep}node_modules${path.sep}`, 1)[0],
  );
  return [...new Set([...roots, path.dirname(SELF)])];
}

function permissionFlag() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const isStable = major > 23 || (major === 23 && minor >= 5);
  return isStable || (major === 22 && minor >= 13)
    ? "--permission"
    : "--experimental-permission";
}

const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

async function answer(question) {
  const found = await answerTo(question);
  process.stdout.write(`\n${JSON.stringify(found)}`, () => process.exit(0));
}

async function answerTo({ queries, entry, loader, program }) {
  if (queries !== undefined) return exportsOf(queries);
  if (entry === undefined) return cacheOf(loader, program);
  await import(entry);
  return (await import(loader)).usedLater();
}

async function exportsOf(queries) {
  const exports = {};
  for (const { key, file } of queries) {
    const namespace = await import(file);
    exports[key] = Object.keys(namespace)
      .filter((name) => IDENTIFIER.test(name))
      .sort()
      .map((name) => [name, kindOf(namespace[name])]);
  }
  return exports;
}

function kindOf(value) {
  if (typeof value !== "function") return value === null ? "null" : typeof value;
  return Object.hasOwn(value, "prototype") ? "constructor" : "function";
}

async function cacheOf(loader, program) {
  setFlags();
  const { default: packages, loadAll, codeCaches } = await import(loader);
  if (program !== undefined) await runOnce(() => packages[program]);
  // Reading one loads it; only what has run is in the cache.
  for (const index of Object.keys(packages)) void packages[index];
  loadAll();
  return Object.fromEntries(
    [...codeCaches()].map(([name, code]) => [name, code.toString("base64")]),
  );
}

// Lets the program of a thread execute a run here, in the thread that can tell of
// its code: with a channel of our own, and its events going nowhere.
async function runOnce(load) {
  const channel = new EventEmitter();
  const warm = new Promise((resolve) => {
    channel.postMessage = (message) => message === "warm" && resolve();
  });
  workerThreads.parentPort = channel;
  workerThreads.workerData = {
    control: new Int32Array(new SharedArrayBuffer(12)),
    isSpare: true,
  };
  const ended = new Promise((resolve) => {
    process.exit = resolve;
  });
  const { writeSync } = fs;
  fs.writeSync = (fd, buffer, offset, length) => length;
  await load().live();
  channel.emit("message", { type: "preload", adaptors: [] });
  await warm;
  const command = { run: "trial", plan: TRIAL, options: {} };
  channel.emit("message", {
    type: "execute",
    header: Buffer.from(JSON.stringify(command)),
    body: Buffer.from("{}"),
  });
  channel.emit("message", { type: "go" });
  await ended;
  fs.writeSync = writeSync;
  process.exit = exit;
}

if (process.argv[1] === SELF) await answer(JSON.parse(process.argv[2]));

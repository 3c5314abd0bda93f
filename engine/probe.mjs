// Looks at what modules export by importing them, in a process that may do
// little more than read: adaptors are installed without running their scripts,
// so loading one must not become the way around that.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { codeCachesOf, importKnown } from "./modules.mjs";
import { COMMAND_FD, EVENT_FD } from "./wire.mjs";

const { FOLDER, load } = createRequire(import.meta.url)("./start.cjs");

const SELF = fileURLToPath(import.meta.url);

// A second of CPU, which at the bundler's low priority may take minutes.
const PATIENCE_MS = 300_000;

/** A step that succeeds and one that does not. */
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

/** The code caches of a bundle's scripts by their names; `loader` is its common.mjs. */
export async function codeOf(loader) {
  return asBuffers(await ask({ loader }, readable([{ file: loader }])));
}

/**
 * Of an adaptor whose files are described in `modules`, a bundle's `node_modules`, the
 * `exports` of its entry as modules.mjs loads it, and the `codes` of the files.
 */
export async function modulesOf(entry, modules) {
  const folders = readable([{ file: entry }]);
  const { exports, codes } = await ask({ entry, modules }, folders);
  return { exports: new Map(exports), codes: asBuffers(codes) };
}

function asBuffers(codes) {
  return Object.entries(codes).map(([name, code]) => [
    name,
    Buffer.from(code, "base64"),
  ]);
}

/**
 * Of the engine's bundle in this folder the `exports` of its runtime, as of a probe,
 * and the `code` that a run needs, by having it execute one.
 */
export async function engineOf(bundle) {
  const file = path.join(bundle, FOLDER);
  const { exports, code } = await ask({ bundle }, readable([{ file }]), [
    { type: "preload", adaptors: [] },
    { type: "execute", run: "trial", plan: TRIAL, options: {} },
    { type: "go", run: "trial" },
  ]);
  return { exports: new Map(exports), code: Buffer.from(code, "base64") };
}

/** The scripts of a bundle with this loader that importing `entry` uses, though they are for later. */
export async function lateScriptsOf(entry, loader) {
  return ask({ entry, loader }, readable([{ file: entry }, { file: loader }]));
}

/** What a confined process answers, which is told these commands as if it were a child. */
async function ask(question, folders, commands = []) {
  const args = [
    permissionFlag(),
    ...folders.map((folder) => `--allow-fs-read=${folder}/*`),
    "--experimental-vm-modules",
    "--no-warnings",
    SELF,
    JSON.stringify(question),
  ];
  const stdio = ["ignore", "pipe", "pipe"];
  stdio[COMMAND_FD] = stdio[EVENT_FD] = "pipe";
  const probe_ = spawn(process.execPath, args, {
    env: {},
    stdio,
    timeout: PATIENCE_MS,
  });
  const { [COMMAND_FD]: orders, [EVENT_FD]: events } = probe_.stdio;
  orders.on("error", () => {});
  for (const command of commands) orders.write(frame(JSON.stringify(command)));
  events.resume();
  const [stdout, stderr, [status, signal]] = await Promise.all([
    text(probe_.stdout),
    text(probe_.stderr),
    once(probe_, "close"),
  ]);
  if (status !== 0) throw new Error(stderr.trim() || `the probe ended by ${signal ?? status}`);
  return JSON.parse(stdout.slice(stdout.lastIndexOf("\n") + 1));
}

function frame(header) {
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32BE(Buffer.byteLength(header), 0);
  return Buffer.concat([prefix, Buffer.from(header)]);
}

/** The folders that hold the `node_modules` of these files, and this program. */
function readable(queries) {
  const roots = queries.map(
    ({ file }) => file.split(`${path.sep}node_modules${path.sep}`, 1)[0],
  );
  return [...new Set([...roots, path.dirname(SELF)])];
}

/** The flag by which this Node confines itself. */
export function permissionFlag() {
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

async function answerTo({ queries, entry, loader, bundle, modules }) {
  if (modules !== undefined) return tryModules(entry, modules);
  if (queries !== undefined) return exportsOf(queries);
  if (bundle !== undefined) return tryEngine(bundle);
  if (entry === undefined) return cacheOf(loader);
  await import(entry);
  return (await import(loader)).scripts.usedLater();
}

async function exportsOf(queries) {
  const exports = {};
  for (const { key, file } of queries) {
    exports[key] = kindsOf(await import(file));
  }
  return exports;
}

function kindsOf(exports) {
  return Object.keys(exports)
    .filter((name) => IDENTIFIER.test(name))
    .sort()
    .map((name) => [name, kindOf(exports[name])]);
}

function kindOf(value) {
  if (typeof value !== "function") return value === null ? "null" : typeof value;
  return Object.hasOwn(value, "prototype") ? "constructor" : "function";
}

async function cacheOf(loader) {
  const { scripts } = await import(loader);
  // Reading one loads it; only what has run is in the cache.
  for (const index of Object.keys(scripts.packages)) void scripts.packages[index];
  scripts.loadAll();
  return asTexts(scripts.codeCaches());
}

function asTexts(codes) {
  return Object.fromEntries(
    [...codes].map(([name, code]) => [name, code.toString("base64")]),
  );
}

async function tryModules(entry, modules) {
  const exports = kindsOf(await importKnown(`${entry}?cache=probe`));
  return { exports, codes: asTexts(codeCachesOf(modules)) };
}

// The program executes its run here, in the process that can tell of its code, and
// is kept from ending that.
async function tryEngine(bundle) {
  const { script, runtime, program } = load(bundle);
  const ended = new Promise((resolve) => {
    process.kill = resolve;
  });
  void program().live();
  await ended;
  const code = script.createCachedData().toString("base64");
  return { exports: kindsOf(runtime()), code };
}

if (process.argv[1] === SELF) await answer(JSON.parse(process.argv[2]));

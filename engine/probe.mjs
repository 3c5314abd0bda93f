// Looks at what modules export by importing them, in a process that may do
// little more than read: adaptors are installed without running their scripts,
// so loading one must not become the way around that.

import { execFile } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { setFlags } from "./flags.mjs";
import { rehearse } from "./rehearsal.mjs";

const SELF = fileURLToPath(import.meta.url);

const PATIENCE_MS = 60_000;

/**
 * Imports the `file` of each query and gives its export names by `key`, sorted;
 * with `kinds` each with the type of its value.
 */
export function probe(queries) {
  return ask({ queries }, readable(queries));
}

/**
 * The code cache of a bundle's script, of which `loader` is the common.mjs. It
 * holds what was in use: with `rehearsed`, the runtime's file, also what a run is.
 */
export async function codeOf(loader, rehearsed) {
  const question = { loader, rehearsed };
  const { cache } = await ask(question, readable([{ file: loader }]));
  return Buffer.from(cache, "base64");
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
  return JSON.parse(stdout.slice(stdout.lastIndexOf("\n{") + 1));
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

async function answer({ queries, loader, rehearsed }) {
  const found =
    loader === undefined ? await exportsOf(queries) : await cacheOf(loader, rehearsed);
  process.stdout.write(`\n${JSON.stringify(found)}`, () => process.exit(0));
}

async function exportsOf(queries) {
  const exports = {};
  for (const { key, file, kinds } of queries) {
    const namespace = await import(file);
    exports[key] = Object.keys(namespace)
      .filter((name) => IDENTIFIER.test(name))
      .map((name) => (kinds ? `${name}:${typeof namespace[name]}` : name))
      .sort();
  }
  return exports;
}

async function cacheOf(loader, rehearsed) {
  setFlags();
  const { default: packages, codeCache } = await import(loader);
  // Reading one loads it; only what has run is in the cache.
  for (const index of Object.keys(packages)) void packages[index];
  if (rehearsed !== undefined) {
    const { default: run } = await import(rehearsed);
    await rehearse(run);
  }
  return { cache: codeCache().toString("base64") };
}

if (process.argv[1] === SELF) await answer(JSON.parse(process.argv[2]));

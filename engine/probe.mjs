// Looks at what modules export by importing them, in a process that may do
// little more than read: adaptors are installed without running their scripts,
// so loading one must not become the way around that.

import { execFile } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SELF = fileURLToPath(import.meta.url);

const PATIENCE_MS = 60_000;

/**
 * Imports the `file` of each query and gives its export names by `key`, sorted;
 * with `kinds` each with the type of its value.
 */
export async function probe(queries) {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      permissionFlag(),
      ...readable(queries).map((folder) => `--allow-fs-read=${folder}/*`),
      "--no-warnings",
      SELF,
      JSON.stringify(queries),
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

async function answer(queries) {
  const exports = {};
  for (const { key, file, kinds } of queries) {
    const namespace = await import(file);
    exports[key] = Object.keys(namespace)
      .filter((name) => IDENTIFIER.test(name))
      .map((name) => (kinds ? `${name}:${typeof namespace[name]}` : name))
      .sort();
  }
  process.stdout.write(`\n${JSON.stringify(exports)}`, () => process.exit(0));
}

if (process.argv[1] === SELF) await answer(JSON.parse(process.argv[2]));

// Copied into a bundle beside `common.js`: packages as one script. V8 takes its
// code from `common.cache`, which bundle.mjs made when all of them had been
// loaded, and compiles it anew where Node is another one. ES modules cannot be
// given a cache on every Node.

import fs from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const here = import.meta.url;
const pathOf = (name) => fileURLToPath(new URL(name, here));

function readCache() {
  try {
    return fs.readFileSync(pathOf("common.cache"));
  } catch {
    return undefined;
  }
}

const script = new vm.Script(fs.readFileSync(pathOf("common.js"), "utf8"), {
  filename: pathOf("common.js"),
  cachedData: readCache(),
});

/** The packages' exports by their index in the bundle; one is loaded when it is read. */
const packages = script.runInThisContext()(
  createRequire(here),
  pathOf,
  (specifier, options) => import(specifier, options),
  import.meta,
);
export default packages;

/** The code of everything that was compiled so far, as a Buffer. */
export function codeCache() {
  return script.createCachedData();
}

/** Whether the code came from the cache. */
export const isCached = script.cachedDataRejected === false;

// Importing adaptors before a step needs them, in such a way that the runtime's
// own import finds the very same module instance.

import fs from "node:fs";
import module from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { getModuleEntryPoint, registerEsmHook } from "@openfn/runtime";

import { BUNDLES, importKnown, scriptsOf } from "./modules.mjs";

// Part of each adaptor's URL. The reference uses the run's id, but a child imports
// adaptors before there is a run.
const KEY = "engine-child";
const KEY_PATTERN = /\?cache=engine-child-\d+/g;

/** In the folder of a whole bundle, beside its `node_modules`; see bundle.mjs. */
export const BUNDLE_MARKER = "bundle.json";

/**
 * Packages that bundles load when they are first used, see bundle.mjs. Which of them
 * are meant is told by a number, whose bits stand for them.
 */
export const LATER = ["cheerio", "undici"];

const BUNDLE_PATTERN = /\/bundles\/(?:[^/\s]+\/){1,2}(?=node_modules\/@openfn\/)/g;

// Where the program is one script: it tells what else its `import` knows.
import.meta.answerImports?.(importKnown);

/** The scripts of the bundles that were imported. */
const scripts = new Set();

let generation = 1;
let imports = new Map();
const loaded = new Set();
let hasFailedImport = false;
let hasHook = false;

/** The `linker.cacheKey` under which adaptors are imported. */
export function cacheKey() {
  return `${KEY}-${generation}`;
}

/**
 * A message with adaptors' URLs as the reference shows them: the run's id for our
 * cache key, and the place of the plain files for that of a bundle.
 */
export function withReferenceUrls(text, run) {
  const plain = text.includes("/bundles/")
    ? text.replace(BUNDLE_PATTERN, "/")
    : text;
  return plain.includes(KEY)
    ? plain.replace(KEY_PATTERN, () => `?cache=${run}`)
    : plain;
}

/**
 * Makes extension-less relative imports work in adaptors. Once; the
 * runtime would do it again for each run. Bundled adaptors have none, and on
 * Node 20 the hook costs a thread and makes each import slower.
 */
function installResolveHook() {
  if (hasHook) return;
  hasHook = true;
  if (typeof module.registerHooks !== "function") {
    registerEsmHook();
    return;
  }
  // The runtime's own hook lives in a thread of its own, which costs memory and
  // a round trip for each import. Node 22.15 and later can do without.
  module.registerHooks({
    resolve(specifier, context, nextResolve) {
      try {
        return nextResolve(specifier, context);
      } catch (error) {
        const mayLackExtension =
          error?.code === "ERR_MODULE_NOT_FOUND" &&
          !/\.[a-z]+$/.test(specifier);
        if (!mayLackExtension) throw error;
        return nextResolve(`${specifier}.js`, context);
      }
    },
  });
}

/**
 * Imports the entry modules of these adaptor folders. Failures are not reported
 * here: the step that needs the adaptor meets them again.
 */
export async function preload(folders) {
  await Promise.all(folders.map(importOnce));
}

/**
 * Call before the run's own adaptors are preloaded. Node remembers a failed
 * import for ever; after one ahead of the run, e.g. of an adaptor that was just
 * being installed, the run imports everything under a new key.
 */
export function forgetFailedImports() {
  if (!hasFailedImport) return;
  hasFailedImport = false;
  generation += 1;
  imports = new Map();
}

function importOnce(folder) {
  let loading = imports.get(folder);
  if (loading === undefined) {
    loading = importFolder(folder);
    imports.set(folder, loading);
  }
  return loading;
}

async function importFolder(folder) {
  let entry;
  try {
    entry = await getModuleEntryPoint(folder, folder);
  } catch {
    imports.delete(folder);
    return;
  }
  const root = path.join(folder, "..", "..", "..");
  const isBundled = fs.existsSync(path.join(root, BUNDLE_MARKER));
  if (!isBundled) installResolveHook();
  try {
    await import(`${entry.path}?cache=${cacheKey()}`);
    loaded.add(folder);
    if (isBundled) await rememberScripts(path.join(root, "node_modules"));
  } catch {
    hasFailedImport = true;
  }
}

async function rememberScripts(modules) {
  const known = scriptsOf(modules);
  if (known !== undefined) {
    scripts.add(known);
    return;
  }
  const loader = path.join(modules, BUNDLES, "common.mjs");
  // Packages that could not become a script are modules.
  if (fs.existsSync(loader))
    scripts.add((await import(pathToFileURL(loader))).scripts);
}

/** Loads these of LATER for the imported bundles that have them. Failures are met again when they are used. */
export function loadLater(bits) {
  for (const its of scripts) {
    for (const [at, name] of LATER.entries()) {
      if ((bits & (1 << at)) === 0) continue;
      try {
        its.loadLate(`later-${name}`);
      } catch {
        // E.g. this bundle has none.
      }
    }
  }
}

/** Those of LATER of which something was used. */
export function usedLater() {
  const names = [...scripts].flatMap((its) => its.usedLater());
  return LATER.reduce(
    (bits, name, at) => (names.includes(`later-${name}`) ? bits | (1 << at) : bits),
    0,
  );
}

/** Whether a run that uses these adaptors finds them loaded. */
export function areLoaded(folders) {
  return !hasFailedImport && folders.every((folder) => loaded.has(folder));
}

/** The adaptor folders that the steps of a plan link to. */
export function adaptorFolders(plan) {
  const steps = Array.isArray(plan?.workflow?.steps) ? plan.workflow.steps : [];
  const paths = steps
    .flatMap((step) => Object.values(step?.linker ?? {}))
    .map((link) => link?.path)
    .filter((path) => typeof path === "string");
  return [...new Set(paths)];
}

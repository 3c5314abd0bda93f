// Starts the engine program: from one script whose code V8 has kept, where bundle.mjs
// has made it, else from the plain files. CommonJS, so that Node's loader of ES
// modules, which costs more than the script, is only used where something needs it.

"use strict";

// Before all others: see the function.
takeBackFlags();

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const vm = require("node:vm");

const BUNDLE = path.join(__dirname, "bundled");
const RUNTIME = "@openfn/runtime";

/** Where a whole bundle of the engine has its script and the code of it. */
const MARKER = "bundle.json";
const FOLDER = path.join("node_modules", RUNTIME, "dist");
const SCRIPT = "engine.js";
const CODE = "engine.cache";

/** What the script has, by its index. */
const RUNTIME_INDEX = 0;
const PROGRAM_INDEX = 1;

/**
 * V8 takes kept code only under the flags under which it was made, and that of Node's
 * own modules was made under none: with the heap limit as a flag each of them costs
 * twice as much. The limit was fixed when the process began, and stays what it is when
 * the flag is taken back.
 */
function takeBackFlags() {
  const { setFlagsFromString } = require("node:v8");
  setFlagsFromString("--max-old-space-size=0");
  setFlagsFromString("--min-semi-space-size=0");
  setFlagsFromString("--max-semi-space-size=0");
}

async function start() {
  const program = fs.existsSync(path.join(BUNDLE, MARKER))
    ? load(BUNDLE).program()
    : await import("./child.mjs");
  await program.live();
}

/** The `script` of the engine's bundle in this folder, and what gives its parts: they are loaded when that is called. */
function load(bundle) {
  const folder = path.join(bundle, FOLDER);
  const filename = path.join(folder, SCRIPT);
  const script = new vm.Script(fs.readFileSync(filename, "utf8"), {
    filename,
    cachedData: readCode(folder),
  });
  const runtime = pathToFileURL(path.join(folder, "index.js")).href;
  let importKnown = () => undefined;
  const parts = script.runInThisContext()(
    createRequire(filename),
    (to) => path.join(folder, to),
    async (specifier, options) => {
      // The script is the runtime, which Node would load a second time.
      if (specifier === RUNTIME) return asNamespace(parts[RUNTIME_INDEX]);
      return importKnown(String(specifier)) ?? import(specifier, options);
    },
    {
      url: pathToFileURL(filename).href,
      resolve: () => runtime,
      answerImports: (answer) => {
        importKnown = answer;
      },
    },
  );
  return {
    script,
    runtime: () => parts[RUNTIME_INDEX],
    program: () => parts[PROGRAM_INDEX],
  };
}

function readCode(folder) {
  try {
    return fs.readFileSync(path.join(folder, CODE));
  } catch {
    return undefined;
  }
}

/** What `import` would give of an ES module with these exports. */
function asNamespace(exports) {
  const namespace = Object.create(null);
  for (const name of Object.keys(exports).sort()) {
    const get = () => exports[name];
    Object.defineProperty(namespace, name, { get, enumerable: true });
  }
  Object.defineProperty(namespace, Symbol.toStringTag, { value: "Module" });
  return Object.preventExtensions(namespace);
}

module.exports = {
  CODE,
  FOLDER,
  PROGRAM_INDEX,
  RUNTIME_INDEX,
  SCRIPT,
  load,
  start,
};

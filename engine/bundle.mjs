// Makes packages load fast: dependencies, hundreds of files, become one file
// each. Started by the worker when it has installed something, never by an
// engine child:
//
//     node bundle.mjs adaptor <package folder> <target folder>
//     node bundle.mjs engine <target folder>
//
// Adaptors are copied whole, and only what they import is bundled, so that
// positions in their stack frames and files that they read stay what they were.
// Where a bundle could behave otherwise than the plain files, there is none:
// the program says why and ends with 1.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

import { BUNDLE_MARKER, LATER } from "./adaptors.mjs";
import { BUNDLES, MODULES } from "./modules.mjs";
import {
  commonFiles,
  confineTo,
  moduleOf,
  packImportingScript,
  packModuleScript,
  packModules,
  packScript,
  quote,
  writeCode,
  writeScript,
  writeWhole,
} from "./packing.mjs";
import { engineOf, lateScriptsOf, modulesOf, probe } from "./probe.mjs";
import { nameOf, packageFolder, packagesOf, trace } from "./tracing.mjs";

const { COMMON, MODERN } = createRequire(import.meta.url)("./scripts.cjs");
const { CODE, FOLDER, PROGRAM_INDEX, RUNTIME_INDEX, SCRIPT } = createRequire(
  import.meta.url,
)("./start.cjs");

const RUNTIME = "@openfn/runtime";

// Packages that many adaptors import and few runs use, and that cost more than the
// rest of an adaptor, LATER, are loaded when one of their exports is first used. Only
// such whose loading nobody else can notice.
const STANDING_IN = new Set(["constructor", "function", "object"]);

// In a bundle's `node_modules`, as BUNDLES is; no package has a name like that.
const SCRATCH = ".entries";

// In a bundle while it is made.
const PLAIN = ".plain";

// What the runtime imports and no run uses: questions at a terminal, and npm.
const UNUSED = {
  "@inquirer/confirm": `
    export default async (...args) =>
      (await import("@inquirer/confirm")).default(...args);`,
  child_process: `
    import { promisify } from "node:util";
    const load = () => require("node:child_process");
    export const exec = (...args) => load().exec(...args);
    exec[promisify.custom] = (...args) => promisify(load().exec)(...args);`,
};

/** Bundles the adaptor in `folder` into `target`, which is empty if it exists. */
export async function bundleAdaptor(...paths) {
  const [folder, target] = paths.map((each) => path.resolve(each));
  const entry = await entryOf(folder);
  fs.mkdirSync(target, { recursive: true });
  confineTo([packagesOf(entry), target]);
  const { imports, packages, files, builtins } = await trace(entry);
  const modules = path.join(target, "node_modules");
  for (const each of packages) copyPackage(each, modules);
  const exports = await probe(queries(imports));
  let entries = await bundleImports(imports, exports, modules, LATER);
  const bundled = await entryOf(path.join(modules, nameOf(folder)));
  const used = await usedAtOnce(bundled, modules);
  if (used.length > 0) {
    // To pretend that they are loaded later would only cost.
    fs.rmSync(path.join(modules, BUNDLES), { recursive: true });
    const later = LATER.filter((name) => !used.includes(name));
    entries = await bundleImports(imports, exports, modules, later);
  }
  const lacking = [...imports].filter(lacksExtension);
  if (lacking.length === 0) await compare(entry, bundled);
  else await compareExact(folder, { imports, exports, packages }, bundled, target);
  if (files !== null && entries !== null)
    await describeModules({ files, builtins }, entries, bundled, modules);
  mark(target);
}

/**
 * Lets the bundle's adaptor be loaded without Node's loader of ES modules, where that
 * gives the same.
 */
async function describeModules({ files, builtins }, entries, bundled, modules) {
  const place = (file) => {
    const folder = packageFolder(file);
    return path.join(nameOf(folder), path.relative(folder, file));
  };
  const meaningOf = ({ file, specifier, builtin }) => {
    if (file !== undefined) return { file: place(file) };
    if (specifier === undefined) return { builtin };
    return { at: entries.findIndex((entry) => entry.specifier === specifier) };
  };
  const description = {
    entry: path.relative(fs.realpathSync(modules), bundled),
    files: Object.fromEntries(
      [...files].map(([file, meanings]) => [
        place(file),
        Object.fromEntries(
          [...meanings].map(([name, meaning]) => [name, meaningOf(meaning)]),
        ),
      ]),
    ),
    packages: entries.map(({ index, late, kinds }) => ({
      index,
      late,
      kinds: [...kinds],
    })),
    builtins: Object.fromEntries(
      [...builtins].map(([name, names]) => [name, names && [...names]]),
    ),
  };
  const folder = path.join(modules, BUNDLES);
  fs.writeFileSync(path.join(folder, MODULES), quote(description));
  try {
    await writeModuleCode(bundled, modules);
  } catch {
    fs.rmSync(path.join(folder, MODULES));
  }
}

async function writeModuleCode(bundled, modules) {
  const { exports, codes } = await modulesOf(bundled, modules);
  const { entry } = await probe([{ key: "entry", file: bundled }]);
  if (quote([...exports]) !== quote([...entry]))
    throw new Error("the modules' exports differ");
  for (const [name, code] of codes)
    writeWhole(path.join(modules, BUNDLES, `${name}.cache`), code);
}

/** Whether Node finds an import's file only with the runtime's hook, which adds `.js`. */
function lacksExtension([specifier, file]) {
  const name = packageOf(specifier);
  const inside = specifier.slice(name.length);
  if (inside === "" || path.extname(inside) !== "") return false;
  return file.endsWith(`${path.sep}node_modules${path.sep}${specifier}.js`);
}

// The hook takes a thread, which would not be as confined as the probe, so that the
// plain files are looked at through packages that name them exactly.
async function compareExact(folder, { imports, exports, packages }, bundled, target) {
  const plain = path.join(target, PLAIN);
  const modules = path.join(plain, "node_modules");
  for (const each of packages) copyPackage(each, modules);
  writePackages(
    [...imports].map(([specifier, file], index) => ({ specifier, file, index })),
    modules,
    ({ specifier, file }) =>
      `export ${listOf(exports[specifier])} from ${quote(pathToFileURL(file))};`,
  );
  await compare(await entryOf(path.join(modules, nameOf(folder))), bundled, [folder]);
  fs.rmSync(plain, { recursive: true });
}

/** Bundles the program of this engine into `target`: it and the runtime become one script. */
export async function bundleEngine(to) {
  const target = path.resolve(to);
  const folder = path.dirname(fileURLToPath(import.meta.url));
  const plain = path.join(folder, "node_modules", RUNTIME);
  copyPackage(plain, path.join(target, "node_modules"));
  const entry = fileURLToPath(import.meta.resolve(RUNTIME));
  confineTo([folder, path.join(folder, "node_modules")]);
  const parts = [
    { index: RUNTIME_INDEX, source: entry },
    { index: PROGRAM_INDEX, source: path.join(folder, "child.mjs") },
  ];
  // There, so that the frames of a stack are known for the runtime's.
  const scripts = path.join(target, FOLDER);
  const { text } = await packImportingScript(parts, scripts, UNUSED);
  fs.writeFileSync(path.join(scripts, SCRIPT), text);
  const { exports, code } = await engineOf(target);
  const { runtime } = await probe([{ key: "runtime", file: entry }]);
  if (quote([...exports]) !== quote([...runtime]))
    throw new Error("the bundle's exports differ");
  writeWhole(path.join(scripts, CODE), code);
  mark(target);
}

/** Written last: tells that everything else is there. */
function mark(target) {
  fs.writeFileSync(path.join(target, BUNDLE_MARKER), "{}");
}

async function entryOf(folder) {
  const { getModuleEntryPoint } = await import("@openfn/runtime");
  const { path: entry } = await getModuleEntryPoint(folder, folder);
  return fs.realpathSync(entry);
}

function copyPackage(folder, modules) {
  fs.cpSync(folder, path.join(modules, nameOf(folder)), {
    recursive: true,
    dereference: true,
    filter: (source) => path.relative(folder, source) !== "node_modules",
  });
}

// Gives the packages with the scripts that they are in, null where some are in none.
// All imports of a kind in one build, so that a module that two of them share is
// one. CommonJS packages go into a script, whose code V8 keeps; where both kinds
// share a module, or the script would behave otherwise, all become ES modules.
async function bundleImports(imports, exports, modules, names) {
  const scratch = path.join(modules, SCRATCH);
  const bundles = path.join(modules, BUNDLES);
  fs.mkdirSync(scratch, { recursive: true });
  fs.mkdirSync(bundles);
  const entries = [...imports].map(([specifier, file], index) => {
    const source = path.join(scratch, `${index}.mjs`);
    const kinds = exports[specifier];
    fs.writeFileSync(source, `export ${listOf(kinds)} from ${quote(file)};`);
    return { specifier, index, file, source, kinds };
  });
  const isCommon = await commonFiles([...imports.values()]);
  const common = entries.filter(({ file }) => isCommon(file));
  const others = entries.filter((entry) => !common.includes(entry));
  const later = entries.filter((entry) => isLater(entry, names));
  const packed =
    (await packAll(common, later, others, bundles).catch(() => null)) ??
    (await packAll(common, [], others, bundles).catch(() => null));
  const { outputs } = packed?.modules ?? (await packModules(entries, bundles));
  for (const { path: file, text } of outputs) fs.writeFileSync(file, text);
  if (packed !== null) {
    for (const { name, text } of packed.scripts)
      writeScript(name, text, bundles);
    await writeCode(bundles);
  }
  fs.rmSync(scratch, { recursive: true });
  const scripts = packed?.scripts ?? [];
  writePackages(entries, modules, (entry, bundles) => {
    const script = scripts.find(({ entries }) => entries.includes(entry));
    return script === undefined
      ? `export ${listOf(entry.kinds)} from ${quote(`${bundles}/${entry.index}.mjs`)};`
      : moduleOf(entry, bundles, script.isLate ? script.name : undefined);
  });
  const scripted = entries.map((entry) => {
    const script = scripts.find(({ entries }) => entries.includes(entry));
    return script && { ...entry, late: script.isLate ? script.name : undefined };
  });
  return scripted.includes(undefined) ? null : scripted;
}

function listOf(kinds) {
  return `{ ${[...kinds.keys()].join(", ")} }`;
}

function isLater({ specifier, kinds }, names) {
  const canStandIn = (kind) => STANDING_IN.has(kind);
  return names.includes(specifier) && [...kinds.values()].every(canStandIn);
}

/** The packages that are to be loaded later and yet are when the adaptor is imported. */
async function usedAtOnce(entry, modules) {
  const loader = path.join(modules, BUNDLES, "common.mjs");
  if (!fs.existsSync(loader)) return [];
  const scripts = await lateScriptsOf(entry, loader);
  return LATER.filter((name) => scripts.includes(`later-${name}`));
}

/**
 * Each of `later` in a script of its own, the rest of `common` in one, and the rest of
 * `others` in one, or where that could behave otherwise, in modules.
 */
async function packAll(common, later, others, bundles) {
  const isAtFirst = (entry) => !later.includes(entry);
  const scripts = [
    { name: COMMON, entries: common.filter(isAtFirst), isLate: false },
    ...later.map((entry) => ({
      name: `later-${entry.specifier}`,
      entries: [entry],
      isLate: true,
    })),
  ];
  for (const script of scripts) {
    const isOfModules = others.includes(script.entries[0]);
    const pack = isOfModules ? packModuleScript : packScript;
    Object.assign(script, await pack(script.entries, bundles));
  }
  const entries = others.filter(isAtFirst);
  const modern = await packModuleScript(entries, bundles).catch(() => null);
  if (modern !== null && entries.length > 0)
    scripts.push({ name: MODERN, entries, isLate: false, ...modern });
  const modules = await packModules(modern === null ? entries : [], bundles);
  const inputs = [...scripts, modules].flatMap(({ inputs }) => inputs);
  if (new Set(inputs).size < inputs.length) throw new Error("a module is shared");
  return { scripts, modules };
}

/**
 * Packages of the imports' names, that Node finds as it found the plain ones, each
 * module with what `sourceOf` gives for its entry and the way to the bundles.
 */
function writePackages(entries, modules, sourceOf) {
  const packages = new Map();
  for (const entry of entries) {
    const { specifier, index } = entry;
    const name = packageOf(specifier);
    const folder = path.join(modules, name);
    const manifest = packages.get(name) ?? { name, exports: {} };
    manifest.exports[`.${specifier.slice(name.length)}`] = `./${index}.mjs`;
    packages.set(name, manifest);
    const bundles = path.relative(folder, path.join(modules, BUNDLES));
    fs.mkdirSync(folder, { recursive: true });
    const source = sourceOf(entry, bundles);
    fs.writeFileSync(path.join(folder, `${index}.mjs`), source);
    fs.writeFileSync(path.join(folder, "package.json"), quote(manifest));
  }
}

function packageOf(specifier) {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function queries(imports) {
  return [...imports].map(([key, file]) => ({ key, file }));
}

/**
 * Both forms must export the same names, and values of the same kinds. They may also
 * read the packages beside `others`.
 */
async function compare(plain, bundled, others = []) {
  const [before, after] = await Promise.all(
    [plain, bundled].map(async (file) => {
      const { entry } = await probe([{ key: "entry", file }], others);
      return quote([...entry]);
    }),
  );
  if (before !== after) throw new Error("the bundle's exports differ");
}

const BUNDLERS = { adaptor: bundleAdaptor, engine: bundleEngine };

if (fileURLToPath(import.meta.url) === fs.realpathSync(process.argv[1])) {
  const [what, ...args] = process.argv.slice(2);
  // Whoever waits for a run comes first.
  try {
    os.setPriority(os.constants.priority.PRIORITY_LOW);
  } catch {
    // Not everywhere is that allowed.
  }
  try {
    await BUNDLERS[what](...args);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

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
import { isBuiltin } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

import { BUNDLES, BUNDLE_MARKER, LATER } from "./adaptors.mjs";
import {
  NODE_OPTIONS,
  build,
  commonFiles,
  confineTo,
  moduleOf,
  packImportingScript,
  packModuleScript,
  packModules,
  packScript,
  quote,
  refuse,
  writeCode,
  writeScript,
} from "./packing.mjs";
import { lateScriptsOf, probe } from "./probe.mjs";

// Names of packages that are kept as they are: other adaptors, which adaptors
// build on, are told from other dependencies by the frames of a stack.
const KEPT = "@openfn/language-";

const RUNTIME = "@openfn/runtime";

// Packages that many adaptors import and few runs use, and that cost more than the
// rest of an adaptor, LATER, are loaded when one of their exports is first used. Only
// such whose loading nobody else can notice.
const STANDING_IN = new Set(["constructor", "function", "object"]);

// In a bundle's `node_modules`, as BUNDLES is; no package has a name like that.
const SCRATCH = ".entries";

// In a bundle while it is made.
const PLAIN = ".plain";

// Tells our own question for a file from those of a build.
const RESOLVING = Symbol("resolving");
const IMPORTS = new Set(["import-statement", "dynamic-import"]);

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

// How a kept file may load packages that we do not hear of.
const LOADS_ON_DEMAND =
  /\bimport\((?!")|\bcreateRequire\b|\bimport\.meta\.resolve\b/;

/** Bundles the adaptor in `folder` into `target`, which is empty if it exists. */
export async function bundleAdaptor(folder, target) {
  const entry = await entryOf(folder);
  fs.mkdirSync(target, { recursive: true });
  confineTo([packagesOf(entry), target]);
  const { imports, packages } = await trace(entry);
  const modules = path.join(target, "node_modules");
  for (const each of packages) copyPackage(each, modules);
  const exports = await probe(queries(imports));
  await bundleImports(imports, exports, modules, LATER);
  const bundled = await entryOf(path.join(modules, nameOf(folder)));
  const used = await usedAtOnce(bundled, modules);
  if (used.length > 0) {
    // To pretend that they are loaded later would only cost.
    fs.rmSync(path.join(modules, BUNDLES), { recursive: true });
    const later = LATER.filter((name) => !used.includes(name));
    await bundleImports(imports, exports, modules, later);
  }
  const lacking = [...imports].filter(lacksExtension);
  if (lacking.length === 0) await compare(entry, bundled);
  else await compareExact(folder, { imports, exports, packages }, bundled, target);
  mark(target);
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

/**
 * Bundles the program of this engine's threads into `target`: it and the runtime
 * become one script, which takes the runtime's place.
 */
export async function bundleEngine(target) {
  const folder = path.dirname(fileURLToPath(import.meta.url));
  const plain = path.join(folder, "node_modules", RUNTIME);
  copyPackage(plain, path.join(target, "node_modules"));
  const entry = fileURLToPath(import.meta.resolve(RUNTIME));
  confineTo([folder, path.join(folder, "node_modules")]);
  const relative = path.relative(folder, entry);
  const bundled = path.join(target, relative);
  const { runtime: kinds } = await probe([{ key: "runtime", file: entry }]);
  const runtime = { index: 0, source: entry, kinds };
  const program = { index: 1, source: path.join(folder, "run_thread.mjs") };
  const scripts = path.dirname(bundled);
  const { text } = await packImportingScript([runtime, program], scripts, UNUSED);
  writeScript("common", text, scripts);
  fs.writeFileSync(bundled, moduleOf(runtime, "."));
  const loader = quote(`./${path.dirname(relative)}/common.mjs`);
  fs.writeFileSync(
    path.join(target, "thread.mjs"),
    `import scripts from ${loader}; await scripts[${program.index}].live();`,
  );
  await writeCode(scripts, program.index);
  await compare(entry, bundled);
  mark(target);
}

/** Written last: tells that everything else is there. */
function mark(target) {
  fs.writeFileSync(path.join(target, BUNDLE_MARKER), "{}");
}

/**
 * What an adaptor's entry file reaches: `imports` of packages that are not kept,
 * specifier to file, and the folders of those that are.
 */
async function trace(entry) {
  const imports = new Map();
  const packages = new Set([packageFolder(entry)]);
  const onResolve = async (build, args) => {
    if (args.pluginData === RESOLVING || args.kind === "entry-point")
      return undefined;
    if (isBuiltin(args.path)) return { path: args.path, external: true };
    if (!IMPORTS.has(args.kind)) throw new Error(`it has a ${args.kind}`);
    const { resolveDir, kind } = args;
    const options = { resolveDir, kind, pluginData: RESOLVING };
    const { path: file, errors } = await build.resolve(args.path, options);
    if (errors.length > 0) throw new Error(`${args.path} is not there`);
    if (args.path.startsWith(KEPT)) {
      packages.add(packageFolder(file));
      return { path: file };
    }
    if ((imports.get(args.path) ?? file) !== file)
      throw new Error(`${args.path} means two things`);
    imports.set(args.path, file);
    return { path: args.path, external: true };
  };
  const { metafile, outputFiles } = await build({
    ...NODE_OPTIONS,
    minifyWhitespace: true,
    entryPoints: [entry],
    write: false,
    outdir: "/unused",
    plugins: [
      {
        name: "trace",
        setup: (build) =>
          build.onResolve({ filter: /^[^./]/ }, (args) =>
            onResolve(build, args),
          ),
      },
    ],
  });
  refuse(LOADS_ON_DEMAND, outputFiles[0].text);
  for (const [file, input] of Object.entries(metafile.inputs)) {
    if (input.format === "cjs") throw new Error("it is no ES module");
    for (const each of input.imports) checkImport(file, each);
  }
  return { imports, packages };
}

/** Of a file that is kept: there Node itself will look for what is imported. */
function checkImport(importer, { path: file, kind, original, external }) {
  if (!IMPORTS.has(kind)) throw new Error(`it has a ${kind}`);
  if (external || !/^[./]/.test(original ?? "")) return;
  const named = path.resolve(path.dirname(importer), original);
  if (named !== path.resolve(file))
    throw new Error(`${original} does not name a file exactly`);
}

async function entryOf(folder) {
  const { getModuleEntryPoint } = await import("@openfn/runtime");
  const { path: entry } = await getModuleEntryPoint(folder, folder);
  return fs.realpathSync(entry);
}

/** The outermost `node_modules` that a file is in: an adaptor finds nothing elsewhere. */
function packagesOf(file) {
  const [root, rest] = file.split(/(?<=\/node_modules)\//, 2);
  if (rest === undefined) throw new Error(`${file} belongs to no package`);
  return root;
}

/** The folder's name below `node_modules`, which for an adaptor is its alias. */
function nameOf(folder) {
  const [scope, base] = folder.split(path.sep).slice(-2);
  return scope.startsWith("@") ? `${scope}/${base}` : base;
}

/** The nearest folder up from a file that is a package in `node_modules`. */
function packageFolder(file) {
  let folder = path.dirname(file);
  while (folder !== path.dirname(folder)) {
    const parent = path.basename(path.dirname(folder));
    const scope = path.basename(path.dirname(path.dirname(folder)));
    if (parent === "node_modules" && !path.basename(folder).startsWith("@"))
      return folder;
    if (parent.startsWith("@") && scope === "node_modules") return folder;
    folder = path.dirname(folder);
  }
  throw new Error(`${file} belongs to no package`);
}

function copyPackage(folder, modules) {
  fs.cpSync(folder, path.join(modules, nameOf(folder)), {
    recursive: true,
    dereference: true,
    filter: (source) => path.relative(folder, source) !== "node_modules",
  });
}

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

/** Each of `later` in a script of its own, the rest of `common` in one. */
async function packAll(common, later, others, bundles) {
  const isAtFirst = (entry) => !later.includes(entry);
  const scripts = [
    { name: "common", entries: common.filter(isAtFirst), isLate: false },
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
  const modules = await packModules(others.filter(isAtFirst), bundles);
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
  const [what, ...folders] = process.argv.slice(2);
  // Whoever waits for a run comes first.
  try {
    os.setPriority(os.constants.priority.PRIORITY_LOW);
  } catch {
    // Not everywhere is that allowed.
  }
  try {
    await BUNDLERS[what](...folders.map((folder) => path.resolve(folder)));
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

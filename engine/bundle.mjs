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
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { BUNDLE_MARKER } from "./adaptors.mjs";
import {
  NODE_OPTIONS,
  commonFiles,
  packImportingScript,
  packModules,
  packScript,
  quote,
  refuse,
  writeCode,
  writeScript,
} from "./packing.mjs";
import { probe } from "./probe.mjs";

// Names of packages that are kept as they are: other adaptors, which adaptors
// build on, are told from other dependencies by the frames of a stack.
const KEPT = "@openfn/language-";

const RUNTIME = "@openfn/runtime";

// Folders in a bundle's `node_modules`; no package has a name like that.
const BUNDLES = ".bundles";
const SCRATCH = ".entries";

// Tells our own question for a file from those of a build.
const RESOLVING = Symbol("resolving");
const IMPORTS = new Set(["import-statement", "dynamic-import"]);

// How a kept file may load packages that we do not hear of.
const LOADS_ON_DEMAND =
  /\bimport\((?!")|\bcreateRequire\b|\bimport\.meta\.resolve\b/;

/** Bundles the adaptor in `folder` into `target`, which must not exist. */
export async function bundleAdaptor(folder, target) {
  const entry = await entryOf(folder);
  const { imports, packages } = await trace(entry);
  const modules = path.join(target, "node_modules");
  for (const each of packages) copyPackage(each, modules);
  await bundleImports(imports, await probe(queries(imports)), modules);
  const bundled = path.join(modules, nameOf(folder));
  await compare(entry, await entryOf(bundled));
  mark(target);
}

/**
 * Bundles the runtime of this engine program into `target`, and puts the files
 * of the program beside it.
 */
export async function bundleEngine(target) {
  const folder = path.dirname(fileURLToPath(import.meta.url));
  const plain = path.join(folder, "node_modules", RUNTIME);
  const modules = path.join(target, "node_modules");
  copyPackage(plain, modules);
  const entry = fileURLToPath(import.meta.resolve(RUNTIME));
  const bundled = path.join(modules, RUNTIME, path.relative(plain, entry));
  await packRuntime(entry, bundled);
  for (const file of fs.readdirSync(folder)) {
    if (file.endsWith(".mjs"))
      fs.copyFileSync(path.join(folder, file), path.join(target, file));
  }
  await compare(entry, bundled);
  mark(target);
}

async function packRuntime(entry, bundled) {
  const folder = path.dirname(bundled);
  const { runtime: names } = await probe([{ key: "runtime", file: entry }]);
  const target = path.basename(bundled);
  const entries = [{ index: 0, source: entry, target, names }];
  const { text } = await packImportingScript(entries, folder);
  writeScript(text, entries, folder);
  await writeCode(folder, bundled);
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
    metafile: true,
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
async function bundleImports(imports, names, modules) {
  const scratch = path.join(modules, SCRATCH);
  const bundles = path.join(modules, BUNDLES);
  fs.mkdirSync(scratch, { recursive: true });
  fs.mkdirSync(bundles);
  const entries = [...imports].map(([specifier, file], index) => {
    const source = path.join(scratch, `${index}.mjs`);
    const list = names[specifier].join(", ");
    fs.writeFileSync(source, `export { ${list} } from ${quote(file)};`);
    const target = `${index}.mjs`;
    return { index, file, source, target, names: names[specifier] };
  });
  const isCommon = await commonFiles([...imports.values()]);
  const common = entries.filter(({ file }) => isCommon(file));
  const others = entries.filter((entry) => !common.includes(entry));
  const packed = await packBoth(common, others, bundles).catch(() => null);
  const { outputs } = packed?.modules ?? (await packModules(entries, bundles));
  for (const { path: file, text } of outputs) fs.writeFileSync(file, text);
  if (packed !== null) {
    writeScript(packed.script.text, common, bundles);
    await writeCode(bundles);
  }
  fs.rmSync(scratch, { recursive: true });
  writePackages([...imports.keys()], names, modules);
}

async function packBoth(common, others, bundles) {
  const script = await packScript(common, bundles);
  const modules = await packModules(others, bundles);
  if (script.inputs.some((file) => modules.inputs.includes(file)))
    throw new Error("both kinds share a module");
  return { script, modules };
}

/** Packages of the imports' names, that Node finds as it found the plain ones. */
function writePackages(specifiers, names, modules) {
  const packages = new Map();
  for (const [index, specifier] of specifiers.entries()) {
    const name = packageOf(specifier);
    const folder = path.join(modules, name);
    const manifest = packages.get(name) ?? { name, exports: {} };
    manifest.exports[`.${specifier.slice(name.length)}`] = `./${index}.mjs`;
    packages.set(name, manifest);
    const bundle = path.join(modules, BUNDLES, `${index}.mjs`);
    const from = quote(path.relative(folder, bundle));
    const list = names[specifier].join(", ");
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(
      path.join(folder, `${index}.mjs`),
      `export { ${list} } from ${from};`,
    );
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

/** Both forms must export the same names, and values of the same kinds. */
async function compare(plain, bundled) {
  const [before, after] = await Promise.all(
    [plain, bundled].map(async (file) => {
      const query = [{ key: "entry", file, kinds: true }];
      return (await probe(query)).entry.join();
    }),
  );
  if (before !== after) throw new Error("the bundle's exports differ");
}

const BUNDLERS = { adaptor: bundleAdaptor, engine: bundleEngine };

if (fileURLToPath(import.meta.url) === fs.realpathSync(process.argv[1])) {
  const [what, ...folders] = process.argv.slice(2);
  // Whoever waits for a run comes first.
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  try {
    await BUNDLERS[what](...folders.map((folder) => path.resolve(folder)));
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

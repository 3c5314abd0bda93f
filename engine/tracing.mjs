// Finds out what an adaptor consists of: its own files, which a bundle keeps, and
// the packages that these import.

import path from "node:path";
import { isBuiltin } from "node:module";

import { NODE_OPTIONS, build, refuse } from "./packing.mjs";

// Names of packages that are kept as they are: other adaptors, which adaptors
// build on, are told from other dependencies by the frames of a stack.
const KEPT = "@openfn/language-";

// Tells our own question for a file from those of a build.
const RESOLVING = Symbol("resolving");
const IMPORTS = new Set(["import-statement", "dynamic-import"]);

// How a kept file may load packages that we do not hear of.
const LOADS_ON_DEMAND =
  /\bimport\((?!")|\bcreateRequire\b|\bimport\.meta\.resolve\b/;

// In what esbuild writes, `import x,{a,b as c}from"name"` or `import("name")`, which is for everything.
const IMPORTED =
  /\b(?:im|ex)port(?!\w)([\w$\s,*]*(?:\{[^{}]*\})?)\s*from\s*("[^"]+")/g;

// What a module of `vm` does not find as one of Node's does.
const MORE_THAN_IMPORTS = /\bimport\.meta\b/;

/**
 * What an adaptor's entry file reaches: `imports` of packages that are not kept,
 * specifier to file, and the folders of those that are; the `files` that are kept
 * with what they import, or null where they do more than that; and of Node's modules,
 * `builtins`, the names that they import, null for all.
 */
export async function trace(entry) {
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
  const isPlain = !MORE_THAN_IMPORTS.test(outputFiles[0].text);
  const files = isPlain ? filesOf(metafile, entry) : null;
  return { imports, packages, files, builtins: namesOf(outputFiles[0].text) };
}

/** Of a file that is kept: there Node itself will look for what is imported. */
function checkImport(importer, { path: file, kind, original, external }) {
  if (!IMPORTS.has(kind)) throw new Error(`it has a ${kind}`);
  if (external || !/^[./]/.test(original ?? "")) return;
  const named = path.resolve(path.dirname(importer), original);
  if (named !== path.resolve(file))
    throw new Error(`${original} does not name a file exactly`);
}

/** Kept files with the meanings of their imports: a `file`, a `specifier` of a package, a `builtin`. */
function filesOf({ inputs }, entry) {
  const files = new Map();
  for (const [name, { format, imports }] of Object.entries(inputs)) {
    if (format !== "esm" || !/\.m?js$/.test(name)) return null;
    const meanings = new Map();
    for (const { path: to, original, external } of imports) {
      // As Node has it, which would load it twice: the adaptor's URL is another one.
      if (!external && path.resolve(to) === entry) return null;
      meanings.set(original ?? to, meaningOf(to, external));
    }
    files.set(path.resolve(name), meanings);
  }
  return files;
}

/** Of the modules of Node that esbuild's text imports. */
function namesOf(text) {
  const found = new Map();
  for (const [, list, quoted] of text.matchAll(IMPORTED)) {
    if (!isBuiltin(JSON.parse(quoted))) continue;
    const name = JSON.parse(quoted).replace(/^node:/, "");
    const names = list.includes("*") ? null : namedIn(list);
    const before = found.has(name) ? found.get(name) : new Set();
    found.set(name, names && before && new Set([...before, ...names]));
  }
  return found;
}

/** `a`, `b` and `default` in `x,{a,b as c}`. */
function namedIn(list) {
  const inBraces = /\{(.*)\}/.exec(list)?.[1] ?? "";
  const names = inBraces.split(",").map((each) => each.trim().split(/\s/, 1)[0]);
  return names.filter((name) => /^[\w$]+$/.test(name));
}

function meaningOf(to, isExternal) {
  if (!isExternal) return { file: path.resolve(to) };
  return isBuiltin(to)
    ? { builtin: to.replace(/^node:/, "") }
    : { specifier: to };
}

/** The outermost `node_modules` that a file is in: an adaptor finds nothing elsewhere. */
export function packagesOf(file) {
  const [root, rest] = file.split(/(?<=\/node_modules)\//, 2);
  if (rest === undefined) throw new Error(`${file} belongs to no package`);
  return root;
}

/** The folder's name below `node_modules`, which for an adaptor is its alias. */
export function nameOf(folder) {
  const [scope, base] = folder.split(path.sep).slice(-2);
  return scope.startsWith("@") ? `${scope}/${base}` : base;
}

/** The nearest folder up from a file that is a package in `node_modules`. */
export function packageFolder(file) {
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


// What bundle.mjs packs files with: ES modules, or a script whose code V8 keeps.

import fs from "node:fs";
import path from "node:path";

import esbuild from "esbuild";

import { codeOf } from "./probe.mjs";

/** How Node itself finds and reads files. */
export const NODE_OPTIONS = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "esnext",
  // What Node does: without this, esbuild prefers packages' "module" files.
  conditions: [],
  mainFields: ["main"],
  logLevel: "silent",
  legalComments: "none",
};

// The folders that bundled files may come from.
let confines = [];

/** Every file of the builds from now on has to be in one of these folders. */
export function confineTo(folders) {
  confines = folders.map((folder) => fs.realpathSync(folder));
}

/**
 * esbuild's build, of files within the confines only. It inlines whatever a package
 * asks for by its path, and all jobs can read what comes out.
 */
export async function build(options) {
  const built = await esbuild.build({ ...options, metafile: true });
  for (const file of inputsOf(built.metafile)) {
    const outside = (folder) =>
      path.relative(folder, path.resolve(file)).split(path.sep, 1)[0] === "..";
    if (confines.every(outside))
      throw new Error(`it has ${file}, which is not in its packages`);
  }
  return built;
}

/** The module that has the scripts beside it. */
const LOADER = "common.mjs";

// What a bundled file may use to find others: it would look in the wrong place.
const PLACE_DEPENDENT =
  /\bimport\.meta\b(?!\.url, require)|(?<!function )\b__require\((?!")|\b__require\.|\bimport\((?!")/;

// What a script cannot do as a module can, or would do in the wrong place.
const SCRIPT_DEPENDENT =
  /\bimport\(|\bimport_meta\b|(?<![\w$.])require(?:\.|\((?!"))/;

// A directive counts only in front of everything but comments.
const STRICT = /^(?:\s|\/\/.*|\/\*(?:[^*]|\*(?!\/))*\*\/|#!.*)*(['"])use strict\1/;

/** For output files in `folder`. */
function outputOptions(folder) {
  return {
    ...NODE_OPTIONS,
    // A class's name is what the type of an error is told by.
    keepNames: true,
    // Leaves no comments either, which would speak of imports and paths.
    minifyWhitespace: true,
    plugins: [placePlugin(folder)],
    banner: { js: BANNER },
  };
}

const BANNER = `import { createRequire as __createRequire } from "node:module";
import { fileURLToPath as __toPath } from "node:url";
const __here = import.meta.url, require = __createRequire(__here);
const __place = (to) => __toPath(new URL(to, __here));`;

// undici asks of every value of a cookie's headers whether it is of Node's own class,
// and reading that class loads the undici inside Node, as large as the one that is
// being loaded. What stands for it reads it when the question is asked.
const READS_GLOBAL = /[\\/]undici[\\/]lib[\\/]web[\\/]cookies[\\/]index\.js$/;
const GLOBAL_HEADERS = /(?<=\[Headers, )globalThis\.Headers(?=\]\.filter\(Boolean\))/;
const READ_LATER =
  "new Proxy(function () {}, { get: (_, key) => Reflect.get(globalThis.Headers, key) })";

// Bundled files that ask where they are hear of their old place, where all that
// they could be looking for still is. From the new place, since both may be moved.
function placePlugin(folder) {
  const place = (file) => `__place(${quote(path.relative(folder, file))})`;
  const onLoad = async ({ path: file }) => {
    const source = await fs.promises.readFile(file, "utf8");
    if (READS_GLOBAL.test(file))
      return { contents: source.replace(GLOBAL_HEADERS, READ_LATER), loader: "js" };
    if (!/\b__(?:dir|file)name\b/.test(source)) return undefined;
    const names = `var __filename = ${place(file)}, __dirname = ${place(path.dirname(file))};`;
    const mode = STRICT.test(source) ? '"use strict";' : "";
    return { contents: `${mode}${names} ${source}`, loader: "js" };
  };
  return {
    name: "place",
    setup: (build) => build.onLoad({ filter: /\.c?js$/ }, onLoad),
  };
}

/** Tells of the files which of them are CommonJS. */
export async function commonFiles(files) {
  const { metafile } = await build({
    ...NODE_OPTIONS,
    entryPoints: [...new Set(files)],
    write: false,
    outdir: "/unused",
  });
  const common = Object.entries(metafile.inputs)
    .filter(([, { format }]) => format === "cjs")
    .map(([file]) => path.resolve(file));
  return (file) => common.includes(path.resolve(file));
}

/**
 * Packs `entries`, files of `index` and `source`, into ES modules for `folder`,
 * one each and what they share; gives `outputs` and the files that they are of.
 */
export async function packModules(entries, folder) {
  if (entries.length === 0) return { outputs: [], inputs: [] };
  const { outputFiles, metafile } = await build({
    ...outputOptions(folder),
    entryPoints: entries.map(({ source }) => source),
    outdir: folder,
    chunkNames: "[hash]",
    outExtension: { ".js": ".mjs" },
    splitting: true,
    write: false,
  });
  for (const { text } of outputFiles) refuse(PLACE_DEPENDENT, text);
  return { outputs: outputFiles, inputs: inputsOf(metafile) };
}

/**
 * Packs `entries` into one script for `folder`, which scripts.cjs evaluates; gives
 * its `text` and the files that it is of. Rejects what would behave otherwise.
 */
export async function packScript(entries, folder) {
  const { text, inputs } = await script(entries, folder, {});
  refuse(SCRIPT_DEPENDENT, text);
  return { text, inputs };
}

/**
 * The same of ES modules. They stay strict, and the CommonJS files that they import
 * stay as strict as they are: those are a script within.
 */
export async function packModuleScript(entries, folder) {
  const plugins = [placePlugin(folder)];
  const { inner, outer } = await packWithin(entries, folder, {}, plugins);
  refuse(SCRIPT_DEPENDENT, inner.text);
  refuse(SCRIPT_DEPENDENT, outer.text);
  return scriptWithin(inner, outer);
}

/**
 * The same of ES modules that are known to import by file name and to ask where
 * they are, which their loader does for them.
 */
export async function packImportingScript(entries, folder, replaced) {
  const define = { "import.meta": "__meta" };
  const plugins = [placePlugin(folder), replacePlugin(replaced)];
  const { inner, outer } = await packWithin(entries, folder, define, plugins);
  const { text, inputs } = scriptWithin(inner, outer);
  return { text: text.replace(/\bimport\(/g, "__import("), inputs };
}

/** The scripts of the ES modules, `outer`, and of the CommonJS files that they import, `inner`. */
async function packWithin(entries, folder, define, plugins) {
  const common = await commonImports(entries, folder, { define, plugins });
  const inner = await script(
    [...common].map(([name, source]) => ({ index: quote(name), source })),
    folder,
    { define, plugins },
  );
  const outer = await script(
    entries,
    folder,
    { define, plugins: [outsidePlugin(common), ...plugins] },
    '"use strict"; ',
  );
  return { inner, outer };
}

function scriptWithin(inner, outer) {
  const text = `(function (require, __place, __import, __meta) {
const inner = ${inner.text}(require, __place, __import, __meta);
const find = (name) => Object.hasOwn(inner, name) ? inner[name] : require(name);
return ${outer.text}(find, __place, __import, __meta); })`;
  return { text, inputs: [...inner.inputs, ...outer.inputs] };
}

/** The CommonJS files that ES modules among `entries` and their imports import, by the names used. */
async function commonImports(entries, folder, options) {
  const { metafile } = await buildScript(entries, folder, options);
  const found = new Map();
  for (const { format, imports } of Object.values(metafile.inputs)) {
    if (format !== "esm") continue;
    for (const { path: file, original } of imports) {
      if (metafile.inputs[file]?.format !== "cjs") continue;
      const source = path.resolve(file);
      if ((found.get(original) ?? source) !== source)
        throw new Error(`${original} means two things`);
      found.set(original, source);
    }
  }
  return found;
}

/** Leaves the imports of these names to the script's `require`. */
function outsidePlugin(names) {
  const setup = (build) =>
    build.onResolve({ filter: /./ }, ({ path: name }) =>
      names.has(name) ? { path: name, external: true } : undefined,
    );
  return { name: "outside", setup };
}

/** Packs the given sources in place of the packages of these names. */
function replacePlugin(sources) {
  const namespace = "replaced";
  const setup = (build) => {
    build.onResolve({ filter: /./ }, ({ path: name, namespace: importer }) => {
      if (importer === namespace) return { path: name, external: true };
      return Object.hasOwn(sources, name) ? { path: name, namespace } : undefined;
    });
    build.onLoad({ filter: /./, namespace }, ({ path: name }) => ({
      contents: sources[name],
    }));
  };
  return { name: "replace", setup };
}

/** `mode` is a directive, or nothing. */
async function script(entries, folder, options, mode = "") {
  const { outputFiles, metafile } = await buildScript(entries, folder, options);
  const text = `(function (require, __place, __import, __meta) { ${mode}const module = { exports: {} }; ${outputFiles[0].text}
return module.exports; })`;
  return { text, inputs: inputsOf(metafile) };
}

function buildScript(entries, folder, options) {
  const getters = entries.map(
    ({ index, source }) =>
      `get ${index}() { return require(${quote(source)}); }`,
  );
  return build({
    ...outputOptions(folder),
    ...options,
    format: "cjs",
    banner: {},
    stdin: { contents: `module.exports = {${getters}};`, resolveDir: folder },
    write: false,
  });
}

/** But for what is no file: our own text, and what replaces a package. */
function inputsOf({ inputs }) {
  return Object.keys(inputs).filter((file) => !/^(?:<|replaced:)/.test(file));
}

/** Writes the script `name` into `folder`, and the loader of all scripts there. */
export function writeScript(name, text, folder) {
  fs.writeFileSync(path.join(folder, `${name}.js`), text);
  for (const file of [LOADER, "scripts.cjs"])
    fs.copyFileSync(new URL(file, import.meta.url), path.join(folder, file));
}

/**
 * The source of an ES module that exports an entry of a script in `folder`, which
 * is relative to it: what is there at once, or with `later`, that script's name,
 * what stands for it until one of the exports is used.
 */
export function moduleOf({ index, kinds }, folder, later) {
  const names = [...kinds.keys()];
  const valueOf = (name) =>
    later === undefined
      ? `its[${quote(name)}]`
      : `scripts.standIn(${quote(later)}, ${quote(name)}, ${quote(kinds.get(name))})`;
  return [
    `import { scripts } from ${quote(`${folder}/${LOADER}`)};`,
    later === undefined ? `const its = scripts.packages[${index}];` : "",
    ...names.map((name, at) => `const v${at} = ${valueOf(name)};`),
    `export { ${names.map((name, at) => `v${at} as ${name}`).join(", ")} };`,
  ].join("\n");
}

/** Puts the code of the scripts in `folder` beside them. */
export async function writeCode(folder) {
  const caches = await codeOf(path.join(folder, LOADER));
  for (const [name, code] of caches) writeWhole(path.join(folder, `${name}.cache`), code);
}

/** V8 believes what it reads, so it is on the disk before anybody can find it. */
export function writeWhole(name, code) {
  const file = fs.openSync(name, "w");
  fs.writeFileSync(file, code);
  fs.fsyncSync(file);
  fs.closeSync(file);
}

export function quote(value) {
  return JSON.stringify(value);
}

export function refuse(pattern, text) {
  const found = pattern.exec(text)?.[0];
  if (found !== undefined) throw new Error(`it has ${found}`);
}


// Adaptors of bundles without Node's loader of ES modules, which costs more than what
// it loads: the very same source, as modules of `vm` under the same URLs.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import vm from "node:vm";

import scriptsOfBundles from "./scripts.cjs";

const { Scripts, readCache } = scriptsOfBundles;

/**
 * In a bundle's folder of packages: `entry` and the other `files` of the adaptor, below
 * `node_modules`, with the meanings of what they import; the `packages`; and of Node's
 * modules, `builtins`, the names that are imported.
 */
export const MODULES = "modules.json";

/** The folder of packages in a bundle's `node_modules`. */
export const BUNDLES = ".bundles";

// What the runtime asks for. A character that a URL would have otherwise is for Node.
const ADAPTOR = /^(\/[^%#?\\]*?\/node_modules)\/([^%#?\\]+)\?cache=[\w-]+$/;

// Node 20 does not find out what to do at an `import()` in kept code.
const FORGETS_IMPORTS = Number.parseInt(process.versions.node, 10) < 22;

const imports = new Map();
const bundles = new Map();

/**
 * What `import(specifier)` would give, a promise of it; undefined where that is to be
 * asked. As there, what has failed will fail again.
 */
export function importKnown(specifier) {
  if (!imports.has(specifier)) imports.set(specifier, load(specifier));
  return imports.get(specifier);
}

/** The scripts of a bundle of which something was imported here. */
export function scriptsOf(modules) {
  return bundles.get(modules)?.scripts;
}

function load(specifier) {
  const [, modules, file] = ADAPTOR.exec(specifier) ?? [];
  if (modules === undefined) return undefined;
  const bundle = bundleAt(modules);
  return bundle?.entry === file ? bundle.evaluate(specifier) : undefined;
}

function bundleAt(modules) {
  if (!bundles.has(modules)) bundles.set(modules, openBundle(modules));
  return bundles.get(modules);
}

function openBundle(modules) {
  const folder = path.join(modules, BUNDLES);
  let description;
  try {
    description = JSON.parse(fs.readFileSync(path.join(folder, MODULES), "utf8"));
  } catch {
    return undefined;
  }
  return new Bundle(modules, folder, description);
}

class Bundle {
  #modules;
  #folder;
  #description;
  /** Modules by the file, package or module of Node that they are of. */
  #made = new Map();
  #linked = Promise.resolve();

  constructor(modules, folder, description) {
    this.#modules = modules;
    this.#folder = folder;
    this.#description = description;
    this.scripts = new Scripts(folder);
    this.entry = description.entry;
  }

  /** The namespace of the entry under this specifier. */
  async evaluate(specifier) {
    return this.#namespaceOf(this.#moduleOf(this.entry, specifier));
  }

  async #namespaceOf(module) {
    // One by one: what several import must be linked before one of them is evaluated.
    const linked = this.#linked.then(() => this.#link(module));
    this.#linked = linked.catch(() => {});
    await linked;
    await module.evaluate();
    return module.namespace;
  }

  async #link(module) {
    if (module.status !== "unlinked") return;
    await module.link((name, { identifier }) => this.#find(name, identifier));
  }

  /** The code of the files, as Buffers by the names of their caches. */
  codeCaches() {
    return Object.keys(this.#description.files).map((file, at) => [
      `module-${at}`,
      this.#moduleOf(file, file).createCachedData(),
    ]);
  }

  /** The module that a file's import of this name means. */
  #find(name, importer) {
    const { pathname } = new URL(importer);
    const file = path.relative(this.#modules, decodeURIComponent(pathname));
    const { file: other, at, builtin } = this.#description.files[file][name];
    const key = other ?? at ?? `node:${builtin}`;
    if (!this.#made.has(key)) {
      const made =
        builtin !== undefined
          ? builtinModule(builtin, this.#description.builtins[builtin])
          : at !== undefined
            ? this.#packageModule(at)
            : this.#moduleOf(other, path.join(this.#modules, other));
      this.#made.set(key, made);
    }
    return this.#made.get(key);
  }

  #moduleOf(file, specifier) {
    const source = fs.readFileSync(path.join(this.#modules, file), "utf8");
    const { href: identifier } = new URL(specifier, "file:///");
    const at = Object.keys(this.#description.files).indexOf(file);
    const cachedData =
      FORGETS_IMPORTS && /\bimport\(/.test(source)
        ? undefined
        : readCache(path.join(this.#folder, `module-${at}.cache`));
    const options = {
      identifier,
      importModuleDynamically: (name) =>
        this.#namespaceOf(this.#find(name, identifier)),
    };
    try {
      return new vm.SourceTextModule(source, { ...options, cachedData });
    } catch (error) {
      if (error.code !== "ERR_VM_MODULE_CACHED_DATA_REJECTED") throw error;
      return new vm.SourceTextModule(source, options);
    }
  }

  #packageModule(at) {
    const { index, late, kinds } = this.#description.packages[at];
    const { scripts } = this;
    const names = kinds.map(([name]) => name);
    return new vm.SyntheticModule(names, function evaluate() {
      const its = late === undefined ? scripts.packages[index] : undefined;
      for (const [name, kind] of kinds) {
        const value =
          late === undefined ? its[name] : scripts.standIn(late, name, kind);
        this.setExport(name, value);
      }
    });
  }
}

/** With these names only: to read a member of a module of Node may load another one. */
function builtinModule(builtin, imported) {
  const its = createRequire(import.meta.url)(`node:${builtin}`);
  const names = new Set([...(imported ?? Object.keys(its)), "default"]);
  return new vm.SyntheticModule([...names], function evaluate() {
    for (const name of names)
      this.setExport(name, name === "default" ? its : valueOf(its, name));
  });
}

// Some of Node's modules have members that cannot be read.
function valueOf(its, key) {
  try {
    return its[key];
  } catch {
    return undefined;
  }
}

/** The code of an adaptor's files in a bundle, see `Bundle`. */
export function codeCachesOf(modules) {
  return bundleAt(modules)?.codeCaches() ?? [];
}

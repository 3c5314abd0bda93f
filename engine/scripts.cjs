// Copied into a bundle beside its scripts: `common.js` with the CommonJS packages that
// are loaded at once, `modern.js` with those of ES modules, and a `later-N.js` for each
// that is loaded when it is first used.
// V8 takes their code from the `.cache` beside them, which bundle.mjs made when
// everything had been loaded, and compiles it anew where Node is another one. ES
// modules cannot be given a cache on every Node.

"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const vm = require("node:vm");

const COMMON = "common";
const MODERN = "modern";

/** The scripts of one bundle. */
class Scripts {
  #folder;
  /** Those in use, by their names. */
  #scripts = new Map();
  #late = new Map();
  #used = new Set();

  /** `folder` is where they are. */
  constructor(folder) {
    this.#folder = folder;
    /** The packages that are loaded at once by their index in the bundle; one is loaded when it is read. */
    this.packages = {};
    for (const name of [COMMON, MODERN]) {
      if (!fs.existsSync(path.join(folder, `${name}.js`))) continue;
      const packages = Object.getOwnPropertyDescriptors(this.#load(name));
      Object.defineProperties(this.packages, packages);
    }
  }

  /** The one package of a `later` script. */
  loadLate(name) {
    if (!this.#late.has(name)) {
      const [packageOfScript] = Object.values(this.#load(name));
      this.#late.set(name, packageOfScript);
    }
    return this.#late.get(name);
  }

  /** Loads what would be loaded later. */
  loadAll() {
    const isLate = /^(later-[\w-]+)\.js$/;
    for (const file of fs.readdirSync(this.#folder)) {
      const name = isLate.exec(file)?.[1];
      if (name !== undefined) this.loadLate(name);
    }
  }

  /** The names of the `later` scripts of which something has been used. */
  usedLater() {
    return [...this.#used];
  }

  /**
   * Stands for an export of a `later` script until that is loaded, and then passes
   * everything on to it. Its `kind` is that of the export, see probe.mjs.
   */
  standIn(name, key, kind) {
    let its;
    return standFor(kind, () => {
      this.#used.add(name);
      return (its ??= this.loadLate(name))[key];
    });
  }

  /** The code of everything that was compiled so far, as Buffers by their script. */
  codeCaches() {
    return new Map(
      [...this.#scripts].map(([name, script]) => [
        name,
        script.createCachedData(),
      ]),
    );
  }

  /** Whether all code came from the caches. */
  isCached() {
    return [...this.#scripts.values()].every(
      ({ cachedDataRejected }) => cachedDataRejected === false,
    );
  }

  #load(name) {
    const filename = path.join(this.#folder, `${name}.js`);
    const script = new vm.Script(fs.readFileSync(filename, "utf8"), {
      filename,
      cachedData: readCache(path.join(this.#folder, `${name}.cache`)),
    });
    this.#scripts.set(name, script);
    return script.runInThisContext()(
      createRequire(filename),
      (to) => path.join(this.#folder, to),
      (specifier, options) => import(specifier, options),
      { url: pathToFileURL(filename).href },
    );
  }
}

function readCache(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

function standFor(kind, real) {
  const target = STAND_INS[kind]();
  const itself = (value) => (value === stand ? real() : value);
  const handler = {
    apply: (_, self, args) => Reflect.apply(real(), self, args),
    construct: (_, args, from) =>
      Reflect.construct(real(), args, itself(from)),
    get: (_, property, self) => Reflect.get(real(), property, itself(self)),
    set: (_, property, value, self) =>
      Reflect.set(real(), property, value, itself(self)),
    has: (_, property) => Reflect.has(real(), property),
    ownKeys: () => {
      adopt(target, real());
      return Reflect.ownKeys(real());
    },
    getOwnPropertyDescriptor: (_, property) => {
      adopt(target, real());
      return Reflect.getOwnPropertyDescriptor(real(), property);
    },
    defineProperty: (_, property, descriptor) =>
      Reflect.defineProperty(real(), property, descriptor),
    deleteProperty: (_, property) => Reflect.deleteProperty(real(), property),
    getPrototypeOf: () => Reflect.getPrototypeOf(real()),
    setPrototypeOf: (_, prototype) =>
      Reflect.setPrototypeOf(real(), prototype),
  };
  const stand = new Proxy(target, handler);
  return stand;
}

const STAND_INS = {
  constructor: () => function () {},
  function: () => () => {},
  object: () => ({}),
};

// A proxy must tell of its target's fixed properties what they are: those of the
// real value become the target's.
function adopt(target, real) {
  for (const property of Reflect.ownKeys(real)) {
    const descriptor = Reflect.getOwnPropertyDescriptor(real, property);
    if (!descriptor.configurable)
      Reflect.defineProperty(target, property, descriptor);
  }
}

module.exports = { COMMON, MODERN, Scripts, readCache };

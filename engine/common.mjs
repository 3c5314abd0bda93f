// Copied into a bundle beside its scripts: `common.js` with the packages that are
// loaded at once, and a `later-N.js` for each that is loaded when it is first used.
// V8 takes their code from the `.cache` beside them, which bundle.mjs made when
// everything had been loaded, and compiles it anew where Node is another one. ES
// modules cannot be given a cache on every Node.

import fs from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const here = import.meta.url;
const pathOf = (name) => fileURLToPath(new URL(name, here));

/** The scripts in use, by their names. */
const scripts = new Map();

/** The packages of one script by their index in the bundle; one is loaded when it is read. */
function load(name) {
  const filename = pathOf(`${name}.js`);
  const script = new vm.Script(fs.readFileSync(filename, "utf8"), {
    filename,
    cachedData: readCache(name),
  });
  scripts.set(name, script);
  return script.runInThisContext()(
    createRequire(here),
    pathOf,
    (specifier, options) => import(specifier, options),
    import.meta,
  );
}

function readCache(name) {
  try {
    return fs.readFileSync(pathOf(`${name}.cache`));
  } catch {
    return undefined;
  }
}

export default load("common");

const late = new Map();

/** The one package of a `later` script. */
export function loadLate(name) {
  if (!late.has(name)) {
    const [packageOfScript] = Object.values(load(name));
    late.set(name, packageOfScript);
  }
  return late.get(name);
}

/** Loads what would be loaded later. */
export function loadAll() {
  const isLate = /^(later-[\w-]+)\.js$/;
  for (const file of fs.readdirSync(pathOf("."))) {
    const name = isLate.exec(file)?.[1];
    if (name !== undefined) loadLate(name);
  }
}

const used = new Set();

/** The names of the `later` scripts of which something has been used. */
export function usedLater() {
  return [...used];
}

function use(name) {
  used.add(name);
  return loadLate(name);
}

/**
 * Stands for an export of a `later` script until that is loaded, and then passes
 * everything on to it. Its `kind` is that of the export, see probe.mjs.
 */
export function standIn(name, key, kind) {
  let its;
  const real = () => (its ??= use(name))[key];
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

/** The code of everything that was compiled so far, as Buffers by their script. */
export function codeCaches() {
  return new Map(
    [...scripts].map(([name, script]) => [name, script.createCachedData()]),
  );
}

/** Whether all code came from the caches. */
export function isCached() {
  return [...scripts.values()].every(
    ({ cachedDataRejected }) => cachedDataRejected === false,
  );
}

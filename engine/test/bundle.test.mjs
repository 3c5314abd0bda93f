import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child } from "./support/child.mjs";
import { execute } from "./support/plans.mjs";
import { adaptorFolder, ensureRepo, scratchRepo } from "./support/repo.mjs";

const PROGRAM = fileURLToPath(new URL("../bundle.mjs", import.meta.url));
const HTTP = ["@openfn/language-http", "7.2.10"];

before(ensureRepo);

/** Bundles an adaptor into the scratch repository, and gives the bundle's adaptor folder. */
function bundle(folder, repo) {
  const target = path.join(repo, "bundles", path.basename(folder));
  execFileSync(process.execPath, [PROGRAM, "adaptor", folder, target]);
  return path.join(target, "node_modules", "@openfn", path.basename(folder));
}

/** One step of language-http that fails inside it, and one that succeeds. */
function plan(folder) {
  const [name, version] = HTTP;
  const linker = { [name]: { path: folder, version } };
  const step = (id, operation, next) => ({
    id,
    expression: `import * as http from "${name}";\nexport default [${operation}];`,
    linker,
    next,
  });
  return execute([
    step("a", "state => http.get('no url at all')(state)", { b: true }),
    step("b", "state => ({ data: Object.keys(http).sort() })"),
  ]);
}

/** Everything that a run tells but for what differs from run to run. */
async function story(child, folder) {
  const run = await child.run(plan(folder));
  const root = path.join(folder, "..", "..", "..");
  const steady = (text) =>
    text
      .replaceAll(root, "<repo>")
      .replace(/\?cache=[\w-]+/g, "")
      .replace(/run-\d+/, "<run>")
      .replace(/\d+(\.\d+)?ms|\[step.*$/, "<n>");
  return {
    lines: run.lines.map(steady),
    failed: run.of("job-error", "a").body.errors,
    exports: run.of("job-complete", "b").body.data,
  };
}

test("a bundled adaptor tells the very same story as its plain files", async (t) => {
  const plain = adaptorFolder(...HTTP);
  const bundled = bundle(plain, scratchRepo(t).repo);
  const child = await Child.ready();
  try {
    const before = await story(child, plain);
    const after = await story(child, bundled);
    const repo = (lines) =>
      lines.map((line) => line.replace(/ from \S+node_modules/, " from "));
    assert.deepEqual(repo(after.lines), repo(before.lines));
    assert.deepEqual(after.failed, before.failed);
    assert.deepEqual(after.exports, before.exports);
    assert.ok(before.lines.some((line) => line.includes("language-http")));
  } finally {
    child.kill();
  }
});

test("a bundle is a small part of the files", (t) => {
  const bundled = bundle(adaptorFolder(...HTTP), scratchRepo(t).repo);
  const modules = path.join(bundled, "..", "..");
  const scripts = fs
    .readdirSync(modules, { recursive: true })
    .filter((file) => /^(?!@openfn).*js$/.test(file));
  assert.ok(scripts.length < 40, scripts.join());
});

/** Whether the script in each folder takes its code from its cache, in a process with a child's flags. */
function areCached(...folders) {
  const flags = new URL("../flags.mjs", import.meta.url);
  const loaders = folders.map((folder) => path.join(folder, "common.mjs"));
  const source = `
    const { setFlags } = await import(${JSON.stringify(flags)});
    setFlags();
    const cached = [];
    for (const loader of ${JSON.stringify(loaders)}) {
      const { default: packages, isCached } = await import(loader);
      for (const index of Object.keys(packages)) void packages[index];
      cached.push(isCached);
    }
    console.log(JSON.stringify(cached));`;
  const childFlags = [
    "--experimental-vm-modules",
    "--no-warnings",
    "--max-old-space-size=500",
    "--input-type=module",
  ];
  const printed = execFileSync(process.execPath, [...childFlags, "-e", source]);
  return JSON.parse(printed);
}

const packagesOf = (bundled) => path.join(bundled, "..", "..", ".bundles");

test("the code of packages comes from the bundle's cache, if that fits this Node", (t) => {
  const bundles = packagesOf(
    bundle(adaptorFolder(...HTTP), scratchRepo(t).repo),
  );
  assert.deepEqual(areCached(bundles), [true]);
  const cache = path.join(bundles, "common.cache");
  fs.writeFileSync(cache, fs.readFileSync(cache).fill(7, 0, 16));
  assert.deepEqual(areCached(bundles), [false]);
  fs.rmSync(cache);
  assert.deepEqual(areCached(bundles), [false]);
});

test("the code of the runtime comes from a cache", (t) => {
  const engine = path.join(scratchRepo(t).repo, "engine");
  fs.cpSync(path.dirname(PROGRAM), engine, {
    recursive: true,
    filter: (file) => !/bundled|test$/.test(file),
  });
  const bundled = path.join(engine, "bundled");
  execFileSync(process.execPath, [
    path.join(engine, "bundle.mjs"),
    "engine",
    bundled,
  ]);
  const runtime = path.join(bundled, "node_modules", "@openfn", "runtime");
  assert.deepEqual(areCached(path.join(runtime, "dist")), [true]);
});

test("a module that packages of both kinds share is loaded once", async (t) => {
  const scratch = scratchRepo(t);
  const modules = path.join(scratch.repo, "node_modules");
  const write = (name, type, source) => {
    const folder = path.join(modules, name);
    fs.mkdirSync(folder, { recursive: true });
    const manifest = { name, type, main: "index.js" };
    fs.writeFileSync(
      path.join(folder, "package.json"),
      JSON.stringify(manifest),
    );
    fs.writeFileSync(path.join(folder, "index.js"), source);
  };
  write("counted", "commonjs", "exports.count = { loads: {} };");
  write("modern", "module", 'export { count } from "counted";');
  const folder = scratch.write(
    "@openfn/language-both",
    'import { count as a } from "counted"; import { count as b } from "modern"; export const isOne = a === b;',
  );
  const { isOne } = await import(path.join(bundle(folder, scratch.repo), "index.js"));
  assert.equal(isOne, true);
});

test("packages as a script keep their sloppy mode, their names and what they share", async (t) => {
  const scratch = scratchRepo(t);
  const modules = path.join(scratch.repo, "node_modules");
  const write = (name, source) => {
    fs.mkdirSync(path.join(modules, name), { recursive: true });
    const manifest = { name, main: "index.js" };
    fs.writeFileSync(path.join(modules, name, "package.json"), JSON.stringify(manifest));
    fs.writeFileSync(path.join(modules, name, "index.js"), source);
  };
  write(
    "sloppy",
    `exports.self = (function () { return this === globalThis; })();
     exports.Shape = class Shape {};
     exports.file = __filename;`,
  );
  write("other", 'exports.Shape = require("sloppy").Shape;');
  const folder = scratch.write(
    "@openfn/language-sloppy",
    `import sloppy, { self, Shape } from "sloppy"; import { Shape as Other } from "other";
     export const told = [self, Shape.name, Shape === Other, sloppy.self, sloppy.file];`,
  );
  const bundled = bundle(folder, scratch.repo);
  assert.ok(fs.existsSync(path.join(packagesOf(bundled), "common.js")));
  const { told } = await import(path.join(bundled, "index.js"));
  const file = path.join(modules, "sloppy", "index.js");
  assert.deepEqual(told, [true, "Shape", true, true, fs.realpathSync(file)]);
});

for (const [what, source] of [
  ["loads a file by a name that it computes", "export const load = (name) => import(name);"],
  ["is no ES module", "exports.fn = () => {};"],
  ["imports a file without its extension", 'export * from "./other";'],
  ["imports a package that is not there", 'export * from "nobody";'],
  ["requires a package", 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url); export const l = require("lodash");'],
]) {
  test(`no bundle is made of an adaptor that ${what}`, (t) => {
    const scratch = scratchRepo(t);
    const folder = scratch.write("@openfn/language-odd", source);
    fs.writeFileSync(path.join(folder, "other.js"), "export const x = 1;");
    const target = path.join(scratch.repo, "bundles", "odd");
    const { status, stderr } = spawnSync(
      process.execPath,
      [PROGRAM, "adaptor", folder, target],
      { encoding: "utf8" },
    );
    assert.equal(status, 1);
    assert.notEqual(stderr, "");
    assert.ok(!fs.existsSync(path.join(target, "bundle.json")));
  });
}

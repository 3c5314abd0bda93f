import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child, inChild } from "./support/child.mjs";
import { bundledEngine } from "./support/engine.mjs";
import { adaptorStep, execute } from "./support/plans.mjs";
import { adaptorFolder, ensureRepo, repoDir, scratchRepo } from "./support/repo.mjs";

const PROGRAM = fileURLToPath(new URL("../bundle.mjs", import.meta.url));
const HTTP = ["@openfn/language-http", "7.2.10"];

before(ensureRepo);

/** Bundles an adaptor into the scratch repository, and gives the bundle's adaptor folder. */
function bundle(folder, repo) {
  const target = path.join(repo, "bundles", path.basename(folder));
  execFileSync(process.execPath, [PROGRAM, "adaptor", folder, target]);
  return path.join(target, "node_modules", "@openfn", path.basename(folder));
}

/** One step of language-http that fails inside it, one that succeeds, and one that speaks to `url`. */
function plan(folder, url) {
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
    step("b", "state => ({ data: Object.keys(http).sort() })", { c: true }),
    step("c", `http.post("${url}", { n: 1 })`),
  ]);
}

/** The address of a server that answers with what it hears. */
async function echo(t) {
  const server = http.createServer(async (request, response) => {
    const heard = (await request.toArray()).join("");
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, heard }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Everything that a run tells but for what differs from run to run. */
async function story(folder, url, options) {
  const run = await inChild(plan(folder, url), undefined, options);
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
    answer: run.of("job-complete", "c").body.data,
  };
}

test("a bundled adaptor tells the very same story as its plain files", async (t) => {
  const plain = adaptorFolder(...HTTP);
  const bundled = bundle(plain, scratchRepo(t).repo);
  const url = await echo(t);
  const before = await story(plain, url);
  const after = await story(bundled, url);
  const repo = (lines) =>
    lines.map((line) => line.replace(/ from \S+node_modules/, " from "));
  assert.deepEqual(repo(after.lines), repo(before.lines));
  assert.deepEqual(after.failed, before.failed);
  assert.deepEqual(after.exports, before.exports);
  assert.deepEqual(after.answer, before.answer);
  assert.equal(after.answer.heard, '{"n":1}');
  assert.ok(before.lines.some((line) => line.includes("language-http")));
});

/** A bundled adaptor of this source in a repository that has the real undici. */
function bundledWithUndici(t, source) {
  const scratch = scratchRepo(t);
  const undici = path.join("node_modules", "undici");
  fs.cpSync(path.join(repoDir, undici), path.join(scratch.repo, undici), {
    recursive: true,
  });
  return bundle(scratch.write("@openfn/language-later", source), scratch.repo);
}

// Loading undici sets this, and so does Node's own `fetch`.
const IS_LOADED = 'Symbol.for("undici.globalDispatcher.1") in globalThis';

test("undici is not loaded before it is used, and what stands for it until then is like it", (t) => {
  const folder = bundledWithUndici(
    t,
    'import * as all from "undici"; export { all };',
  );
  const plain = path.join(repoDir, "node_modules", "undici", "index.js");
  const source = `
    const { all } = await import(${JSON.stringify(path.join(folder, "index.js"))});
    const early = ${IS_LOADED};
    const { default: real, ...rest } = await import(${JSON.stringify(plain)});
    const keys = (value) => Reflect.ownKeys(value).map(String).sort();
    const shape = (value) => ({
      type: typeof value,
      name: value.name,
      own: keys(value),
      parent: keys(Object.getPrototypeOf(value)),
      prototype: value.prototype && keys(value.prototype),
      writable: Object.getOwnPropertyDescriptor(value, "prototype")?.writable,
    });
    const differing = Object.keys(all).filter((name) => name !== "default").filter(
      (name) => JSON.stringify(shape(all[name])) !== JSON.stringify(shape(rest[name])),
    );
    class Mine extends all.Agent {}
    const mine = new Mine();
    all.setGlobalDispatcher(mine);
    const told = {
      early,
      late: ${IS_LOADED},
      names: keys(all.default).join() === keys(real).join(),
      differing,
      derived: [mine instanceof Mine, mine instanceof all.Agent, mine instanceof all.Dispatcher],
      same: all.getGlobalDispatcher() === mine && all.default.Agent.prototype === all.Agent.prototype,
      error: new all.errors.InvalidArgumentError("x").code,
    };
    console.log(JSON.stringify(told));`;
  const printed = execFileSync(
    process.execPath,
    ["--no-warnings", "--input-type=module", "-e", source],
    { encoding: "utf8" },
  );
  assert.deepEqual(JSON.parse(printed), {
    early: false,
    late: true,
    names: true,
    differing: [],
    derived: [true, true, true],
    same: true,
    error: "UND_ERR_INVALID_ARG",
  });
});

test("undici is loaded at once where an adaptor uses it when it is imported", (t) => {
  const folder = bundledWithUndici(
    t,
    'import { Agent } from "undici"; export const agent = new Agent();',
  );
  assert.deepEqual(
    fs.readdirSync(packagesOf(folder)).filter((file) => file.startsWith("later")),
    [],
  );
});

test("reading Node's own classes of fetch is left to whoever uses them", (t) => {
  const folder = bundledWithUndici(
    t,
    'import * as all from "undici"; export { all };',
  );
  const source = `
    const own = Object.getOwnPropertyDescriptor(globalThis, "Headers");
    let reads = 0;
    Object.defineProperty(globalThis, "Headers", {
      get() { reads += 1; return own.get ? own.get.call(this) : own.value; },
    });
    const { all } = await import(${JSON.stringify(path.join(folder, "index.js"))});
    const its = new all.Headers({ cookie: "a=1" });
    const early = reads;
    const nodes = new Headers({ cookie: "b=2" });
    const cookies = [its, nodes].map((headers) => ({ ...all.getCookies(headers) }));
    let refused;
    try { all.getCookies({}); } catch ({ code }) { refused = code; }
    console.log(JSON.stringify({ early, cookies, refused }));`;
  const printed = execFileSync(
    process.execPath,
    ["--no-warnings", "--input-type=module", "-e", source],
    { encoding: "utf8" },
  );
  assert.deepEqual(JSON.parse(printed), {
    early: 0,
    cookies: [{ a: "1" }, { b: "2" }],
    refused: "ERR_INVALID_THIS",
  });
});

test("a run tells whether it used undici, and a child can have it loaded ahead", async (t) => {
  const folder = bundledWithUndici(
    t,
    `import { Agent } from "undici";
     export const look = () => (state) => ({ isLoaded: ${IS_LOADED} });
     export const use = () => (state) => ({ count: [new Agent()].length });`,
  );
  const told = async (operation, later) => {
    const child = await Child.ready();
    child.send({ type: "preload", adaptors: [folder], later });
    const run = await child.run(
      execute([
        adaptorStep("a", "@openfn/language-later", folder, operation, `${operation}()`),
      ]),
    );
    return [run.of("job-complete").body, run.of("exit").later];
  };
  const [, undici] = await told("use");
  assert.notEqual(undici, 0);
  assert.deepEqual(await told("use"), [{ count: 1 }, undici]);
  assert.deepEqual(await told("look"), [{ isLoaded: false }, 0]);
  assert.deepEqual(await told("look", undici), [{ isLoaded: true }, 0]);
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
  const start = new URL("../start.cjs", import.meta.url);
  const loaders = folders.map((folder) => path.join(folder, "common.mjs"));
  const source = `
    await import(${JSON.stringify(start)});
    const cached = [];
    for (const loader of ${JSON.stringify(loaders)}) {
      const { scripts } = await import(loader);
      for (const index of Object.keys(scripts.packages)) void scripts.packages[index];
      scripts.loadAll();
      cached.push(scripts.isCached());
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

test("the program in a bundle takes its code from the cache and tells the same story", async (t) => {
  const { engine, bundled, program } = bundledEngine(t);
  const source = `
    const start = require(${JSON.stringify(path.join(engine, "start.cjs"))});
    console.log(start.load(${JSON.stringify(bundled)}).script.cachedDataRejected);`;
  const flags = ["--experimental-vm-modules", "--max-old-space-size=500"];
  const printed = execFileSync(process.execPath, [...flags, "-e", source]);
  assert.equal(String(printed).trim(), "false");
  const url = await echo(t);
  const folder = adaptorFolder(...HTTP);
  assert.deepEqual(await story(folder, url, { program }), await story(folder, url));
});

test("the program in a bundle loads a bundle without Node's loader, and tells the same story", async (t) => {
  const { program } = bundledEngine(t);
  const folder = bundle(adaptorFolder(...HTTP), scratchRepo(t).repo);
  const url = await echo(t);
  const plain = await story(folder, url);
  // What Node's loader would need.
  fs.rmSync(path.join(packagesOf(folder), "common.mjs"));
  assert.deepEqual(await story(folder, url, { program }), plain);
});

test("the program in a bundle imports as Node does, also what is imported late, thrown or not there", async (t) => {
  const { program } = bundledEngine(t);
  const scratch = scratchRepo(t);
  const dependency = path.join(scratch.repo, "node_modules", "dependency");
  fs.mkdirSync(dependency, { recursive: true });
  fs.writeFileSync(path.join(dependency, "package.json"), '{"name":"dependency","main":"index.js"}');
  fs.writeFileSync(path.join(dependency, "index.js"), "exports.late = () => new Error('late').stack.split('\\n')[0];");
  const name = "@openfn/language-forms";
  const folder = scratch.write(
    name,
    `import * as fs from "fs"; import os, { EOL as end } from "node:os";
     import { count, add } from "./other.js"; export * from "./other.js"; export { sep } from "path";
     export const tell = () => async (state) => {
       add();
       const { late } = await import("dependency");
       const twice = await Promise.all([import("./more.js"), import("./more.js"), import("./other.js")]);
       const again = twice.map((its) => its.default).join();
       const stack = new Error("x").stack.split("\\n")[1].replace(/.*language-forms_1.0.0/, "").replace(/cache=[^:]*/, "");
       return { data: [typeof fs.readFileSync, os.EOL === end, count, again, late(), stack] };
     };`,
    { "more.js": 'import { count } from "./other.js"; export default `more ${count}`;', "other.js": "export let count = 0; export const add = () => { count += 1; }; export default 'again';" },
  );
  const bundled = bundle(folder, scratch.repo);
  const tell = async (options) => {
    const expression = `import * as all from "${name}"; export default [all.tell(), (s) => ({ ...s, names: Object.keys(all), count: all.count })];`;
    const linker = { [name]: { path: bundled, version: "1.0.0" } };
    const run = await inChild(execute([{ id: "a", expression, linker }]), undefined, options);
    return run.of("workflow-complete")?.body;
  };
  const plain = await tell();
  assert.deepEqual(plain.data.slice(0, 5), ["function", true, 1, "more 1,more 1,again", "Error: late"]);
  fs.rmSync(path.join(packagesOf(bundled), "common.mjs"));
  assert.deepEqual(await tell({ program }), plain);
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

test("an adaptor that imports files without their extension is bundled, as older ones do", async (t) => {
  const scratch = scratchRepo(t);
  const tools = path.join(scratch.repo, "node_modules", "tools");
  fs.mkdirSync(path.join(tools, "fp"), { recursive: true });
  fs.writeFileSync(path.join(tools, "package.json"), '{"name":"tools"}');
  fs.writeFileSync(path.join(tools, "set.js"), "exports.kind = 'set'; exports.of = class {};");
  fs.writeFileSync(path.join(tools, "fp", "get.js"), "module.exports = () => 'get';");
  const folder = scratch.write(
    "@openfn/language-old",
    `import { kind, of } from "tools/set"; import get from "tools/fp/get"; import path from "path";
     export { kind, of, get, path };`,
  );
  const bundled = bundle(folder, scratch.repo);
  const { kind, get } = await import(path.join(bundled, "index.js"));
  assert.deepEqual([kind, get()], ["set", "get"]);
  const made = fs.readdirSync(path.join(bundled, "..", "..", ".."));
  assert.deepEqual(made.sort(), ["bundle.json", "node_modules"]);
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

// A path within the machine, as a hostile package would have it.
for (const [what, file, own, dependency] of [
  ["a dependency requires", "secret.json", "", 'module.exports = require("FILE");'],
  ["a dependency would have as a text", "secret.txt", "", 'exports.tell = () => require("FILE");'],
  ["it imports as a text itself", "secret.txt", 'import secret from "FILE"; export { secret };', ""],
]) {
  test(`no bundle is made with a file of the machine that ${what}, and it is named`, (t) => {
    const scratch = scratchRepo(t);
    const secret = path.join(fs.realpathSync(scratch.repo), file);
    fs.writeFileSync(secret, '"of the host"');
    const nosy = path.join(scratch.repo, "node_modules", "nosy");
    fs.mkdirSync(nosy, { recursive: true });
    const manifest = { name: "nosy", main: "index.js" };
    fs.writeFileSync(path.join(nosy, "package.json"), JSON.stringify(manifest));
    fs.writeFileSync(path.join(nosy, "index.js"), dependency.replace("FILE", secret));
    const folder = scratch.write(
      "@openfn/language-nosy",
      `${own.replace("FILE", secret)} import * as nosy from "nosy"; export { nosy };`,
    );
    const target = path.join(scratch.repo, "bundles", "nosy");
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, "adaptor", folder, target], {
      encoding: "utf8",
    });
    assert.equal(status, 1);
    assert.match(stderr, /secret\.(?:json|txt), which is not in its packages/);
    assert.ok(!fs.existsSync(path.join(target, "bundle.json")));
  });
}

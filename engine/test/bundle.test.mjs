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

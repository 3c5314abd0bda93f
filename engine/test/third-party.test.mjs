import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const engine = fileURLToPath(new URL("..", import.meta.url));
const script = join(engine, "../scripts/third-party.sh");

test("the bill of materials and the licences name every package that is installed", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "third-party-"));
  t.after(() => rmSync(folder, { recursive: true }));
  execFileSync(script, ["engine", folder]);
  const bill = JSON.parse(readFileSync(join(folder, "engine.cdx.json"), "utf8"));
  const texts = readFileSync(join(folder, "engine-licenses.txt"), "utf8");
  assert.equal(bill.bomFormat, "CycloneDX");
  const { packages } = JSON.parse(readFileSync(join(engine, "package-lock.json"), "utf8"));
  // Of the bundler's programs one is installed, that of this platform.
  const installed = Object.entries(packages).filter(([path]) => path && existsSync(join(engine, path)));
  assert.ok(installed.length > 30);
  for (const [path, { version, license }] of installed) {
    const name = path.replace(/^.*node_modules\//, "");
    assert.ok(
      bill.components.some((component) => component.purl === `pkg:npm/${name.replace("@", "%40")}@${version}`),
      `${name} ${version} is not in the bill`,
    );
    assert.ok(texts.includes(`  ${name} ${version} (${license})\n`), `${name} ${version} is not in the licences`);
  }
});

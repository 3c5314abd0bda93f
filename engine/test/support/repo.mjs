// An adaptor repository with real adaptors, installed once per machine.
// ENGINE_TEST_REPO says where; the default is below the system's temp folder.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const ADAPTORS = [
  ["@openfn/language-common", "3.3.4"],
  ["@openfn/language-common", "3.2.3"],
  ["@openfn/language-http", "7.2.10"],
];

const key = ADAPTORS.map(
  ([name, version]) => `${name.split("/")[1]}-${version}`,
).join("_");

export const repoDir =
  process.env.ENGINE_TEST_REPO ??
  path.join(os.tmpdir(), `engine-test-repo_${key}`);

/** `<repo>/node_modules/<name>_<version>`, as the worker installs adaptors. */
export function adaptorFolder(name, version, repo = repoDir) {
  return path.join(repo, "node_modules", `${name}_${version}`);
}

/** Installs the repository unless it is there. Called by test files that need it. */
export function ensureRepo() {
  if (isComplete()) return;
  // Test files run side by side: each installs for itself, the first one wins.
  fs.mkdirSync(path.dirname(repoDir), { recursive: true });
  const draft = fs.mkdtempSync(`${repoDir}-`);
  try {
    const manifest = {
      name: "openfn-repo",
      private: true,
      version: "1.0.0",
      dependencies: {},
    };
    fs.writeFileSync(
      path.join(draft, "package.json"),
      JSON.stringify(manifest),
    );
    const specs = ADAPTORS.map(
      ([name, version]) => `${name}_${version}@npm:${name}@${version}`,
    );
    execFileSync(
      "npm",
      [
        "install",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--ignore-scripts",
        "--save-exact",
        ...specs,
      ],
      { cwd: draft, stdio: "ignore" },
    );
    fs.renameSync(draft, repoDir);
  } catch (error) {
    if (!isComplete()) throw error;
  } finally {
    fs.rmSync(draft, { recursive: true, force: true });
  }
}

function isComplete() {
  return ADAPTORS.every(([name, version]) =>
    fs.existsSync(path.join(adaptorFolder(name, version), "package.json")),
  );
}

/**
 * A folder for made-up adaptors that is removed when the test ends. `write`
 * creates one and returns its folder.
 */
export function scratchRepo(testContext) {
  const repo = fs.mkdtempSync(path.join(os.tmpdir(), "engine-test-adaptors-"));
  testContext.after(() => fs.rmSync(repo, { recursive: true }));
  return {
    repo,
    folder: (name) => adaptorFolder(name, "1.0.0", repo),
    write: (name, source, files = {}) => {
      const folder = adaptorFolder(name, "1.0.0", repo);
      fs.mkdirSync(folder, { recursive: true });
      const manifest = {
        name,
        version: "1.0.0",
        type: "module",
        main: "index.js",
      };
      const all = {
        "package.json": JSON.stringify(manifest),
        "index.js": source,
        ...files,
      };
      for (const [file, text] of Object.entries(all)) {
        fs.writeFileSync(path.join(folder, file), text);
      }
      return folder;
    },
  };
}

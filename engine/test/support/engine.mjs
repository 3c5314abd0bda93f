// A copy of the engine with its program in a bundle, as an installed one has it.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { scratchRepo } from "./repo.mjs";

const ENGINE = fileURLToPath(new URL("../..", import.meta.url));

/** Its folder, that of the bundle, and the program to start. Removed when the test ends. */
export function bundledEngine(testContext) {
  const engine = path.join(scratchRepo(testContext).repo, "engine");
  fs.cpSync(ENGINE, engine, {
    recursive: true,
    filter: (file) => !/bundled|test$/.test(path.basename(file)),
  });
  const bundled = path.join(engine, "bundled");
  const bundler = path.join(engine, "bundle.mjs");
  execFileSync(process.execPath, [bundler, "engine", bundled]);
  return { engine, bundled, program: path.join(engine, "main.cjs") };
}

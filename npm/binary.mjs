// Where the program is: in the package of this platform, which npm installs as an optional dependency.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The platforms that there are packages for. */
export const PLATFORMS = ["linux-arm64", "linux-x64"];

/** The variable that names another program. */
export const VARIABLE = "WS_WORKER_BINARY";

/** There is no program to start; the message says what to do about it. */
export class BinaryMissing extends Error {
  constructor(message) {
    super(message);
    this.name = "BinaryMissing";
    this.code = "BINARY_MISSING";
  }
}

/** This machine, as the packages name it. */
export function platform() {
  return `${process.platform}-${process.arch}`;
}

/** Whether the system's C library is one that the packages are built for. Node.js names glibc's version, and no other's. */
function hasGlibc() {
  return process.report?.getReport?.().header.glibcVersionRuntime !== undefined;
}

/**
 * The path of the program.
 *
 * @param {NodeJS.ProcessEnv} [env] where `WS_WORKER_BINARY` may name another one
 * @param {(id: string) => string} [resolve] finds the file of a package
 */
export function binaryPath(env = process.env, resolve = createRequire(import.meta.url).resolve) {
  const named = env[VARIABLE];
  if (named) {
    if (!existsSync(named)) throw new BinaryMissing(`${VARIABLE} names ${named}, which does not exist`);
    return named;
  }
  const own = `build it with \`cargo build --release\` and name it in ${VARIABLE}`;
  const here = platform();
  if (!PLATFORMS.includes(here)) {
    throw new BinaryMissing(`there is no package of ws-worker for ${here}, only for ${PLATFORMS.join(" and ")}: ${own}`);
  }
  const name = `ws-worker-${here}`;
  let manifest;
  try {
    manifest = resolve(`${name}/package.json`);
  } catch {
    const why = hasGlibc() ? "npm leaves it out with --omit=optional" : "it needs glibc, which this system does not have";
    throw new BinaryMissing(
      `the package ${name}, which has the program, is not installed (${why}): npm install ${name}, or ${own}`,
    );
  }
  const file = join(dirname(manifest), "bin", "ws-worker");
  if (!existsSync(file)) throw new BinaryMissing(`${file} is missing: install ${name} again, or ${own}`);
  return file;
}

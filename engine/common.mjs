// Copied into a bundle beside its scripts, for the modules that import what is in them.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { Scripts } = createRequire(import.meta.url)("./scripts.cjs");

/** The scripts of this bundle. */
export const scripts = new Scripts(fileURLToPath(new URL(".", import.meta.url)));

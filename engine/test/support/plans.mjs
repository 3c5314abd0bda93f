// Builders for `execute` commands: plans as the worker hands them over, with
// expressions that are already compiled.

import { adaptorFolder, repoDir } from "./repo.mjs";

let runs = 0;

/** An `execute` command for these steps. */
export function execute(
  steps,
  { options = {}, workflow = {}, planOptions, run } = {},
) {
  const id = run ?? `run-${++runs}`;
  return {
    type: "execute",
    run: id,
    plan: { id, options: planOptions, workflow: { steps, ...workflow } },
    options: {
      repo_dir: repoDir,
      state_props_to_remove: ["configuration", "response"],
      state_limit_mb: 500,
      payload_limit_mb: 10,
      log_payload_limit_mb: 1,
      memory_limit_mb: 500,
      job_log_level: "debug",
      sanitize: "none",
      profile: false,
      output_dataclips: true,
      globals: null,
      ...options,
    },
  };
}

/** A step whose operations are plain functions, no adaptor. */
export function step(id, operations, more = {}) {
  return { id, expression: `export default [${operations}];`, ...more };
}

/** A step that imports `fn` and others of language-common in this version. */
export function commonStep(
  id,
  operations,
  { version = "3.3.4", imports = "fn", ...more } = {},
) {
  const name = "@openfn/language-common";
  return {
    id,
    expression: `import { ${imports} } from "${name}";\nexport default [${operations}];`,
    adaptors: [`${name}@${version}`],
    linker: { [name]: { path: adaptorFolder(name, version), version } },
    ...more,
  };
}

/** A step that imports `imports` from a made-up adaptor in `folder`. */
export function adaptorStep(id, name, folder, imports, operations, more = {}) {
  return {
    id,
    expression: `import { ${imports} } from "${name}";\nexport default [${operations}];`,
    linker: { [name]: { path: folder, version: "1.0.0" } },
    ...more,
  };
}

/** A single step without adaptor that runs this function body with `state`. */
export function job(body, options) {
  return execute([step("a", `async (state) => { ${body} }`)], options);
}

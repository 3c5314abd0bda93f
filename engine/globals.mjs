// `workflow.globals` is job-side source which the runtime links without
// whitelist and repository, so it could import any module by its path.

import vm from "node:vm";

const ALLOWED = "@openfn/runtime";

/**
 * The globals source to give to the runtime. One that imports anything but
 * `@openfn/runtime` becomes a module that throws what the runtime itself throws
 * for an import it cannot resolve. Sources that do not parse stay: the step
 * reports them.
 */
export function guardGlobals(source) {
  if (typeof source !== "string") return source;
  const refused = importsOf(source).find((specifier) => specifier !== ALLOWED);
  return refused === undefined ? source : failingModule(refused);
}

function importsOf(source) {
  try {
    const parsed = new vm.SourceTextModule(source);
    // Node 24.4 deprecates `dependencySpecifiers` in favour of `moduleRequests`.
    return (
      parsed.moduleRequests?.map(({ specifier }) => specifier) ??
      parsed.dependencySpecifiers
    );
  } catch {
    return [];
  }
}

function failingModule(specifier) {
  const error = {
    name: "ImportError",
    source: "runtime",
    severity: "crash",
    message: `Failed to import module "${specifier}"`,
  };
  return `throw ${JSON.stringify(error)};`;
}

// A run that nobody hears of, so that the next one finds everything loaded.

import { createLogger } from "./console.mjs";

/**
 * One step through the linker and the vm. It succeeds: to read source maps for one
 * that fails costs every child CPU, and few runs need them.
 */
export async function rehearse(run) {
  const mute = createLogger("R/T", { level: "none", write: () => {} });
  const step = {
    id: "rehearsal",
    name: "rehearsal",
    expression: "export default [() => ({})]",
  };
  await run(
    { workflow: { steps: [step] } },
    {},
    {
      logger: mute,
      jobLogger: mute,
      disableEsmHook: true,
    },
  );
}

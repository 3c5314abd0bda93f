// A run that nobody hears of, so that the next one finds everything loaded.

import { createLogger } from "./console.mjs";

/**
 * One failing step runs through the linker, the vm and the source map reader
 * (whose wasm is read from disk on first use).
 */
export async function rehearse(run) {
  const mute = createLogger("R/T", { level: "none", write: () => {} });
  const step = {
    id: "rehearsal",
    name: "rehearsal",
    expression: "export default [() => { return {}; }]",
    sourceMap: {
      version: 3,
      sources: ["rehearsal.js"],
      names: [],
      mappings: "AAAA",
      sourcesContent: [""],
    },
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

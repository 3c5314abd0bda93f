// Flags of V8 for every thread of this process. A code cache is made and read
// under the same ones, or V8 does not take it.

import v8 from "node:v8";

export function setFlags() {
  // V8 prefers the flag to the limits of each thread. Once the main isolate has
  // taken it, it is taken back, so that a run's own limit holds for its thread.
  v8.setFlagsFromString("--max-old-space-size=0");
  // As large as it may become: loading an adaptor fills it several times, and
  // growing it step by step costs a fifth of that loading.
  v8.setFlagsFromString("--min-semi-space-size=16");
  // It collects the little that loading has left, 35 ms of CPU for 3 MB of every
  // spare that waits. A thread whose run waits shrinks as late without it.
  v8.setFlagsFromString("--no-memory-reducer");
}

/** Stands for all flags of V8: another one when any of them has changed. */
export function flagsTag() {
  return v8.cachedDataVersionTag();
}

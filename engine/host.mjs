// What adaptors and job code find around them in this process: its console, its
// environment, its temporary folder.

import module from "node:module";
import v8 from "node:v8";

import { createLogger } from "./console.mjs";

// Taken now, because adaptors may replace it.
const originalConsole = globalThis.console;

let report = null;
let sanitize = "none";

/** Must come before any adaptor is loaded: dependencies keep references to what they find. */
export function furnish() {
  hideEnvironment();
  // `debug` stays the original, so that it ends on this process's stdout.
  globalThis.console = {
    ...loggerOf("ADA"),
    debug: originalConsole.debug.bind(originalConsole),
  };
  keepMemoryUsageWorking();
  refuseWhatThreadsCannot();
}

/** Where lines go from now on: to a run's report under its policy, or with null to stdout. */
export function logTo(runReport, policy = "none") {
  report = runReport;
  sanitize = policy;
}

/** The logger of this name, "ADA", "JOB" or "R/T". */
export function loggerOf(name, level) {
  return createLogger(name, {
    level,
    policy: () => sanitize,
    write: (lineLevel, source, messageJson) => {
      if (report !== null) report.log(lineLevel, source, messageJson);
      else originalConsole.log(`[${source}]`, messageJson);
    },
  });
}

// The environment of job code is empty. That of the process stays: Node and native
// packages look there for the folders that they may write.
function hideEnvironment() {
  const env = new Proxy(
    {},
    {
      // As Node's own does.
      set: (target, name, value) => Reflect.set(target, name, `${value}`),
    },
  );
  Object.defineProperty(process, "env", {
    value: env,
    writable: true,
    enumerable: true,
    configurable: true,
  });
  module.syncBuiltinESMExports();
}

// `process.memoryUsage` reads /proc/self, which a sandbox may hide, and for which
// a job may have left no descriptor; the runtime calls it after each step.
function keepMemoryUsageWorking() {
  const original = process.memoryUsage;
  process.memoryUsage = () => {
    try {
      return original();
    } catch {
      const heap = v8.getHeapStatistics();
      return {
        rss: process.resourceUsage().maxRSS * 1024,
        heapTotal: heap.total_heap_size,
        heapUsed: heap.used_heap_size,
        external: heap.external_memory,
        arrayBuffers: 0,
      };
    }
  };
  process.memoryUsage.rss = original.rss;
}

// What changes the process, or ends it as a crash. The reference executes runs in
// worker threads, where Node refuses it: jobs meet the same here.
const NOT_IN_WORKERS = [
  "abort",
  "chdir",
  "initgroups",
  "setegid",
  "seteuid",
  "setgid",
  "setgroups",
  "setuid",
];

function refuseWhatThreadsCannot() {
  for (const name of NOT_IN_WORKERS) {
    process[name] = () => {
      throw unsupported(name);
    };
  }
  const { umask } = process;
  process.umask = (mask) => {
    if (mask !== undefined) throw unsupported("umask");
    return umask();
  };
}

function unsupported(name) {
  const error = new TypeError(`process.${name}() is not supported in workers`);
  error.code = "ERR_WORKER_UNSUPPORTED_OPERATION";
  return error;
}

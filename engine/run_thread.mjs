// The program of one worker thread: loads the runtime, waits as a spare, then
// executes exactly one run and ends. See thread.mjs.
//
// Messages from the main thread: `{ type: "preload", adaptors, later }`,
// `{ type: "execute", header, body }`, `{ type: "go" }`. The messages to it are
// "loaded", and "warm" after each preload; what the run has to say goes to the
// parent process directly.

import module from "node:module";
import os from "node:os";
import v8 from "node:v8";
import workerThreads from "node:worker_threads";

import { createLogger } from "./console.mjs";
import { describeUncaught, describeWorkflowError } from "./errors.mjs";
import { guardGlobals } from "./globals.mjs";
import { rehearse } from "./rehearsal.mjs";
import { EVENT_FD, FrameWriter } from "./wire.mjs";

const PHASE = 0;
const TORN = 1;
const LATER = 2;
const COMPLETED = 1;

// Taken now, because adaptors may replace them.
const exitThread = process.exit.bind(process);
const originalConsole = globalThis.console;

let mainThread;
let control;
let run;
let adaptors;
let RunReport;

let report = null;
let sanitize = "none";
let isExecuting = false;
let isWarm = false;
let preloading;
let go;
const gone = new Promise((resolve) => {
  go = resolve;
});

/** Begins the thread's life; resolves when it can take a run. */
export async function live() {
  mainThread = workerThreads.parentPort;
  control = workerThreads.workerData.control;
  const { temporaryDir, isSpare } = workerThreads.workerData;

  // Out of reach for adaptors and for job code that has left its sandbox. No
  // boundary, but then nobody posts messages or touches the flags by accident.
  workerThreads.parentPort = null;
  workerThreads.workerData = null;

  // The environment of job code is empty, and yet adaptors must find the one
  // folder that they may write.
  if (temporaryDir !== undefined) os.tmpdir = () => temporaryDir;
  module.syncBuiltinESMExports();

  // Before any adaptor is loaded: dependencies keep references to its methods.
  // `debug` stays the original, so that it ends on this process's stdout.
  globalThis.console = {
    ...startLogger("ADA"),
    debug: originalConsole.debug.bind(originalConsole),
  };
  keepMemoryUsageWorking();

  ({ default: run } = await import("@openfn/runtime"));
  adaptors = await import("./adaptors.mjs");
  ({ RunReport } = await import("./report.mjs"));

  // Started right away, finished step by step: an `execute` which comes in
  // between waits only for the step in work.
  preloading = isSpare ? warmUp() : Promise.resolve();
  mainThread.on("message", (message) => receive(message));
  mainThread.postMessage("loaded");
}

function receive(message) {
  switch (message.type) {
    case "preload":
      preloading = preloading.then(() => preloadWhileSpare(message));
      break;
    case "execute":
      isExecuting = true;
      void execute(message);
      break;
    case "go":
      go();
      break;
  }
}

function startLogger(name, level) {
  return createLogger(name, {
    level,
    policy: () => sanitize,
    write: (lineLevel, source, messageJson) => {
      if (report !== null) report.log(lineLevel, source, messageJson);
      else originalConsole.log(`[${source}]`, messageJson);
    },
  });
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

async function warmUp() {
  // A turn of the event loop, so that an `execute` that is already waiting is
  // seen before time goes into steps it does not need.
  await nextTurn();
  if (!isExecuting) await rehearse(run);
  isWarm = true;
}

async function preloadWhileSpare({ adaptors: folders, later }) {
  if (isExecuting) return;
  await adaptors.preload(folders);
  adaptors.loadLater(later);
  mainThread.postMessage("warm");
}

function nextTurn() {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

async function execute({ header, body }) {
  const isReady = isWarm;
  const { run: id, plan, options } = JSON.parse(asText(header));
  const events = new FrameWriter(EVENT_FD, control.subarray(TORN));
  report = new RunReport(events, id, options);
  sanitize = options.sanitize ?? "none";
  catchUncaught(id);
  try {
    const input = parseInput(body);
    plan.workflow.globals = guardGlobals(plan.workflow.globals);
    report.workflowStart(workerThreads.threadId, isReady);
    await preloading;
    adaptors.forgetFailedImports();
    await adaptors.preload(adaptors.adaptorFolders(plan));
    await gone;
    report.workflowComplete(await run(plan, input, runOptions(options)));
  } catch (error) {
    report.workflowError(describeWorkflowError(error));
  }
  end();
}

function asText(bytes) {
  return Buffer.from(
    bytes.buffer,
    bytes.byteOffset,
    bytes.byteLength,
  ).toString();
}

function parseInput(body) {
  if (body.byteLength === 0) return {};
  try {
    return JSON.parse(asText(body));
  } catch (error) {
    // Our fault or the parent's, not the job's.
    throw {
      name: "ExecutionError",
      severity: "exception",
      source: "engine",
      message: `input dataclip cannot be read: ${error.message}`,
    };
  }
}

function runOptions(options) {
  return {
    logger: startLogger("R/T"),
    jobLogger: startLogger("JOB", options.job_log_level ?? undefined),
    linker: {
      repo: options.repo_dir,
      whitelist: ["/^@openfn\\//"],
      cacheKey: adaptors.cacheKey(),
    },
    statePropsToRemove: options.state_props_to_remove ?? [
      "configuration",
      "response",
    ],
    stateLimitMb: options.state_limit_mb ?? undefined,
    profile: options.profile ?? false,
    profilePollInterval: options.profile_poll_interval_ms ?? undefined,
    globals: options.globals ?? undefined,
    disableEsmHook: true,
    callbacks: { notify },
  };
}

function notify(event, payload) {
  switch (event) {
    case "job-start":
      report.jobStart(payload.jobId);
      break;
    case "job-complete":
      report.jobComplete(payload);
      break;
    case "job-error":
      report.jobError(payload);
      break;
  }
}

// Errors outside the run's own promise: a timer or a forgotten promise of job
// code or of an adaptor. They end the run whichever step is active.
function catchUncaught(id) {
  process.on("uncaughtException", (error) => {
    console.error(`Uncaught exception in worker thread (workflow ${id} )`);
    try {
      console.error(error);
    } catch {
      // A value that throws when it is looked at; the line above has to do.
    }
    report.workflowError(describeUncaught(error));
    end();
  });
}

function end() {
  // What `exit` listeners of adaptors log must not follow the last event.
  report = null;
  Atomics.store(control, LATER, adaptors.usedLater());
  Atomics.store(control, PHASE, COMPLETED);
  exitThread(0);
}

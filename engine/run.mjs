// The one run of this process, and what can be done for it before it is there.

import run from "@openfn/runtime";

import * as adaptors from "./adaptors.mjs";
import { describeUncaught, describeWorkflowError } from "./errors.mjs";
import { guardGlobals } from "./globals.mjs";
import { logTo, loggerOf } from "./host.mjs";
import { rehearse } from "./rehearsal.mjs";
import { RunReport } from "./report.mjs";

export { usedLater } from "./adaptors.mjs";

// The reference's workers have many.
const THREAD_ID = 1;

let isRehearsed = false;

/** Imports these adaptors, and of what is otherwise loaded when used that which `later` has bits for. */
export async function preload(folders, later) {
  if (!isRehearsed) await rehearse(run);
  isRehearsed = true;
  await adaptors.preload(folders);
  adaptors.loadLater(later);
  await nextTurn();
}

/**
 * Executes the run. `gone` resolves when its first step may begin, and `end` is called
 * when everything has been told.
 */
export async function execute(command, body, { events, gone, end }) {
  const { run: id, plan, options } = command;
  const report = new RunReport(events, id, options);
  logTo(report, options.sanitize ?? "none");
  catchUncaught(id, report, end);
  try {
    const input = parseInput(body);
    plan.workflow.globals = guardGlobals(plan.workflow.globals);
    const folders = adaptors.adaptorFolders(plan);
    report.workflowStart(THREAD_ID, isRehearsed && adaptors.areLoaded(folders));
    adaptors.forgetFailedImports();
    await adaptors.preload(folders);
    await nextTurn();
    await gone();
    report.workflowComplete(await run(plan, input, runOptions(options, report)));
  } catch (error) {
    report.workflowError(describeWorkflowError(error));
  }
  end();
}

// What adaptors have left to do when they were imported is done before the thread
// rests.
function nextTurn() {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function parseInput(body) {
  if (body.length === 0) return {};
  try {
    return JSON.parse(body.toString());
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

function runOptions(options, report) {
  return {
    logger: loggerOf("R/T"),
    jobLogger: loggerOf("JOB", options.job_log_level ?? undefined),
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
    callbacks: { notify: (event, payload) => notify(report, event, payload) },
  };
}

function notify(report, event, payload) {
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
function catchUncaught(id, report, end) {
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

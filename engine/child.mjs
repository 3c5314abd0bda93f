// The life of an engine child: it loads the runtime, imports adaptors that its run
// may need, executes one run, and is gone. The wire is defined by `protocol::engine`.

import fs from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

import { Commands } from "./commands.mjs";
import { furnish, logTo } from "./host.mjs";
import { EVENT_FD, FrameWriter } from "./wire.mjs";

const PROTOCOL_VERSION = 1;

const EXIT_PROTOCOL_ERROR = 2;
const EXIT_EVENTS_LOST = 70;

// Taken now, because adaptors may replace them.
const exitProcess = process.exit.bind(process);
const kill = process.kill.bind(process);

const events = new FrameWriter(EVENT_FD);
const commands = new Commands(failProtocol);

/** `run.mjs`, which imports the runtime. */
let running;

/** The id of the run once there is one, until its end was told. */
let current = null;

/** The whole life. */
export async function live() {
  if (typeof vm.SourceTextModule !== "function") {
    failProtocol(new Error("node must be started with --experimental-vm-modules"));
  }
  // The first of its kind, before those of adaptors.
  process.on("exit", (code) => {
    if (current !== null) end({ cause: "exit", code });
  });
  furnish();
  try {
    running = await import("./run.mjs");
    ready(runtimeVersion());
  } catch (error) {
    failProtocol(new Error(`cannot load @openfn/runtime: ${error.message}`));
  }
  try {
    const { command, body } = await executeCommand();
    await execute(command, body);
  } catch (error) {
    failProtocol(error);
  }
}

function ready(runtime) {
  send({
    type: "ready",
    protocol: PROTOCOL_VERSION,
    node: process.versions.node,
    runtime,
    pid: process.pid,
  });
}

function runtimeVersion() {
  const entry = fileURLToPath(import.meta.resolve("@openfn/runtime"));
  const manifest = new URL("../package.json", `file://${entry}`);
  return JSON.parse(fs.readFileSync(manifest, "utf8")).version;
}

/** Does what is asked for until a run is. */
async function executeCommand() {
  for (;;) {
    const { header, body } = await commands.next();
    const command = parseCommand(header);
    switch (command.type) {
      case "preload":
        await preload(command);
        break;
      case "execute":
        return { command, body };
      case "shutdown":
        exitProcess(0);
        break;
      case "go":
        throw new Error(`go of run ${command.run}, which is not in work`);
      default:
        throw new Error(`unknown command type ${JSON.stringify(command.type)}`);
    }
  }
}

async function preload({ adaptors, later = 0 }) {
  const isList =
    Array.isArray(adaptors) &&
    adaptors.every((folder) => typeof folder === "string");
  if (!isList || !Number.isSafeInteger(later)) {
    throw new Error("preload needs a list of adaptor folders, and numbers for later");
  }
  await running.preload(adaptors, later);
  send({ type: "preloaded" });
}

async function execute(command, body) {
  const { run, plan, options } = command;
  if (
    typeof run !== "string" ||
    !isObject(plan?.workflow) ||
    !isObject(options)
  ) {
    throw new Error("execute needs run, plan and options");
  }
  current = run;
  await running.execute(command, body, {
    events,
    gone: () => gone(run),
    end: () => end({ cause: "done", code: 0 }),
  });
}

/** Resolves when the run may begin. */
async function gone(run) {
  try {
    const { header } = await commands.next();
    const command = parseCommand(header);
    if (command.type !== "go" || command.run !== run) refuse(command);
  } catch (error) {
    failProtocol(error);
  }
  void hearMeanwhile();
}

async function hearMeanwhile() {
  try {
    const { header } = await commands.nextMeanwhile();
    refuse(parseCommand(header));
  } catch (error) {
    failProtocol(error);
  }
}

/** Of a command that comes while a run is in work. */
function refuse({ type, run }) {
  if (type === "shutdown") {
    silence();
    exitProcess(0);
  }
  const of = run === undefined ? "" : ` of run ${run}`;
  throw new Error(`${type}${of} while run ${current} is in work`);
}

function parseCommand(header) {
  const command = JSON.parse(header.toString());
  if (!isObject(command)) throw new Error("a command must be a JSON object");
  return command;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Tells the end of the run, and is gone at once: listeners of adaptors are not asked. */
function end(exit) {
  const run = current;
  silence();
  events.write(
    JSON.stringify({ type: "exit", run, ...exit, later: running.usedLater() }),
  );
  kill(process.pid, "SIGKILL");
}

/** Nothing of the run is told from now on. */
function silence() {
  current = null;
  logTo(null);
}

function send(event) {
  if (events.write(JSON.stringify(event))) return;
  process.stderr.write("engine child ends: events cannot be written\n");
  exitProcess(EXIT_EVENTS_LOST);
}

/** Tells the parent that it was not understood, and ends the process. */
function failProtocol({ message }) {
  silence();
  events.write(JSON.stringify({ type: "protocol-error", message }));
  exitProcess(EXIT_PROTOCOL_ERROR);
}

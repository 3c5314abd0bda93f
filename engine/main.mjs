// Entry of the Node program inside an engine child. Reads commands on fd 3 and
// owns the threads; each run executes in a thread of its own, which writes the
// run's events to fd 4. The wire is defined by `protocol::engine`.

import fs from "node:fs";
import inspector from "node:inspector";
import net from "node:net";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

import { flagsTag, setFlags } from "./flags.mjs";
import { EngineThread } from "./threads.mjs";
import { COMMAND_FD, EVENT_FD, FrameReader, FrameWriter } from "./wire.mjs";

const PROTOCOL_VERSION = 1;

// Used for threads started before any run has named its limit, and before the
// parent has set one by flag. The worker's own default.
const DEFAULT_MEMORY_LIMIT_MB = 500;

const EXIT_PROTOCOL_ERROR = 2;
const EXIT_EVENTS_LOST = 70;

// How long a thread may take to end before a protocol error is reported without
// waiting for it.
const TERMINATE_GRACE_MS = 1000;

// A run that has lasted so long is likely to last until a spare is loaded.
const LONG_RUN_MS = 250;

// The worker sees the size of the process, and takes it for the run's: a spare,
// some 30 MB, may only be a small part of what the run may use.
const ROOMY_LIMIT_MB = 300;

// A spare that dies by itself (an adaptor that calls `process.exit` when it is
// loaded) is replaced once; then the child waits for the next run.
const MAX_SPARE_DEATHS = 2;

// After a run that used what is loaded only when used, spares load that as well
// until so many runs have not.
const LATER_RUNS = 8;

class EngineProcess {
  #frames = new FrameWriter(EVENT_FD, new Int32Array(new SharedArrayBuffer(4)));
  #memoryLimitMb =
    Number(readFlag("--max-old-space-size", process.execArgv)) ||
    DEFAULT_MEMORY_LIMIT_MB;
  #spares = [];
  #spareTarget = 0;
  #spareDeaths = 0;
  #adaptors = [];
  /** Adaptors of which one ends the thread that loads it, as JSON. */
  #deadly = null;
  /** What spares load of what is otherwise loaded when used, as bits, and for how many more runs. */
  #later = 0;
  #laterRuns = 0;
  /** `{ run, thread }` of the run in work, else null. */
  #current = null;
  #lastRun = null;
  /** What stands for V8's flags, which are the process's and not a thread's. */
  #flags;
  /** Commands that came before `ready`, which must be the first event. */
  #early = [];
  #isEnding = false;

  async start() {
    if (typeof vm.SourceTextModule !== "function") {
      await this.#failProtocol(
        "node must be started with --experimental-vm-modules",
      );
      return;
    }
    setFlags();
    this.#flags = flagsTag();
    this.#listen();
    // The first run, or the first `warm`, finds this thread.
    const first = this.#addSpare();
    try {
      const runtime = runtimeVersion();
      await first.loaded;
      this.#ready(runtime);
    } catch (error) {
      await this.#failProtocol(`cannot load @openfn/runtime: ${error.message}`);
    }
  }

  #ready(runtime) {
    this.#send({
      type: "ready",
      protocol: PROTOCOL_VERSION,
      node: process.versions.node,
      runtime,
      pid: process.pid,
    });
    const early = this.#early;
    this.#early = null;
    for (const frame of early) this.#receive(frame);
  }

  #listen() {
    const reader = new FrameReader((frame) => this.#receive(frame));
    const socket = new net.Socket({
      fd: COMMAND_FD,
      readable: true,
      writable: false,
    });
    socket.on("data", (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        void this.#failProtocol(error.message);
      }
    });
    // The parent is gone. Not `process.exit`: that waits for threads, and one
    // may be inside a long native call.
    const leave = () => process.kill(process.pid, "SIGKILL");
    socket.on("error", leave);
    socket.on("close", leave);
  }

  #receive(frame) {
    if (this.#early !== null) {
      this.#early.push(frame);
      return;
    }
    try {
      this.#command(frame);
    } catch (error) {
      void this.#failProtocol(error.message);
    }
  }

  #command({ header, body }) {
    if (this.#isEnding) return;
    const command = parseCommand(header);
    switch (command.type) {
      case "warm":
        this.#warm(command);
        break;
      case "execute":
        this.#execute(command, header, body);
        break;
      case "go":
        if (this.#isCurrent(command)) this.#current.thread.go();
        break;
      case "cancel":
        if (this.#isCurrent(command)) void this.#current.thread.cancel();
        break;
      case "shutdown":
        process.exit(0);
        break;
      default:
        throw new Error(`unknown command type ${JSON.stringify(command.type)}`);
    }
  }

  #warm({ threads = 1, adaptors = [] }) {
    if (
      !Number.isSafeInteger(threads) ||
      threads < 0 ||
      !Array.isArray(adaptors)
    ) {
      throw new Error(
        "warm needs a count of threads and a list of adaptor folders",
      );
    }
    this.#adaptors = adaptors;
    this.#spareTarget = threads;
    this.#spareDeaths = 0;
    for (const spare of this.#spares) this.#preload(spare);
    if (this.#current === null) this.#refill();
    else this.#refillBehind(this.#current);
  }

  #execute({ run, plan, options }, header, body) {
    if (this.#current !== null) {
      throw new Error(
        `execute of run ${run} while run ${this.#current.run} is in work`,
      );
    }
    if (
      typeof run !== "string" ||
      !isObject(plan?.workflow) ||
      !isObject(options)
    ) {
      throw new Error("execute needs run, plan and options");
    }
    const memoryLimitMb = options.memory_limit_mb ?? undefined;
    this.#spareDeaths = 0;
    this.#memoryLimitMb = memoryLimitMb;
    const thread =
      this.#takeSpare(memoryLimitMb) ?? this.#createThread({ isSpare: false });
    this.#current = { run, thread };
    thread.execute(header, body);
    void thread.ended.then((end) => this.#runEnded(end));
  }

  /** False for the run that has just ended: its `exit` and the command crossed. */
  #isCurrent({ type, run }) {
    if (run === this.#current?.run) return true;
    if (run === this.#lastRun) return false;
    throw new Error(`${type} of run ${run}, which is not in work`);
  }

  #runEnded({ cause, code, message }) {
    const { run, thread } = this.#current;
    this.#current = null;
    this.#lastRun = run;
    if (this.#isEnding) return;
    if (thread.hasTornFrame) {
      this.#leaveBroken("the run's thread ended inside an event");
      return;
    }
    const tainted = this.#isTainted();
    if (cause === "exit" && thread.isPreloading) this.#suspectAdaptors();
    this.#rememberUse(thread.usedLater);
    this.#send({ type: "exit", run, cause, code, message, tainted });
    if (tainted) return;
    if (this.#spares.some(({ isWarm }) => isWarm)) this.#send({ type: "warmed" });
    this.#refill();
  }

  #rememberUse(bits) {
    if (bits !== 0) {
      this.#later |= bits;
      this.#laterRuns = LATER_RUNS;
    } else if (this.#laterRuns > 0) {
      this.#laterRuns -= 1;
      if (this.#laterRuns === 0) this.#later = 0;
    }
  }

  // What a thread can change of the process without native code, and every later
  // run would meet: V8's flags, and a debugger that listens.
  #isTainted() {
    return (
      flagsTag() !== this.#flags || inspector.url() !== undefined
    );
  }

  #takeSpare(memoryLimitMb) {
    const index = this.#spares.findIndex(
      (spare) => spare.memoryLimitMb === memoryLimitMb,
    );
    if (index >= 0) return this.#spares.splice(index, 1)[0];
    // Limits are fixed when a thread starts, and the next run will most likely
    // have the limit of this one.
    for (const spare of this.#spares.splice(0)) void spare.cancel();
    return undefined;
  }

  // Loading a spare takes a core for a tenth of a second, which a short run would
  // feel. A long one mostly waits for others, and when it ends the next is there.
  #refillBehind(current) {
    if (this.#memoryLimitMb < ROOMY_LIMIT_MB) return;
    setTimeout(() => {
      if (this.#current === current) this.#refill();
    }, LONG_RUN_MS);
  }

  #refill() {
    if (this.#spareDeaths >= MAX_SPARE_DEATHS) return;
    for (const spare of this.#spares.splice(this.#spareTarget))
      void spare.cancel();
    while (this.#spares.length < this.#spareTarget) this.#addSpare();
  }

  #addSpare() {
    const spare = this.#createThread({ isSpare: true });
    this.#spares.push(spare);
    if (this.#adaptors.length > 0) this.#preload(spare);
    void spare.ended.then(() => this.#spareEnded(spare));
    return spare;
  }

  #preload(spare) {
    const isDeadly = JSON.stringify(this.#adaptors) === this.#deadly;
    spare.preload(isDeadly ? [] : this.#adaptors, this.#later);
  }

  // A spare has ended by itself, perhaps by an adaptor's doing: its successors do
  // without these adaptors, and the runs that use them meet it themselves.
  #suspectAdaptors() {
    this.#deadly = JSON.stringify(this.#adaptors);
  }

  // While a run is in work, events are its thread's to write.
  #spareIsWarm(spare) {
    if (this.#current === null && this.#spares.includes(spare))
      this.#send({ type: "warmed" });
  }

  #spareEnded(spare) {
    const index = this.#spares.indexOf(spare);
    if (index < 0) return;
    this.#spares.splice(index, 1);
    this.#spareDeaths += 1;
    this.#suspectAdaptors();
    if (this.#current === null) this.#refill();
  }

  #createThread({ isSpare }) {
    return new EngineThread({
      isSpare,
      memoryLimitMb: this.#memoryLimitMb,
      onWarm: (thread) => this.#spareIsWarm(thread),
    });
  }

  #send(event) {
    if (!this.#frames.write(JSON.stringify(event))) {
      this.#leaveBroken("events cannot be written");
    }
  }

  /** Tells the parent that it was not understood, and ends the process. */
  async #failProtocol(message) {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const thread = this.#current?.thread;
    if (thread !== undefined) {
      void thread.cancel();
      await Promise.race([thread.ended, delay(TERMINATE_GRACE_MS)]);
    }
    // With the run's thread alive or torn, an event would land inside another.
    if (this.#current === null && !thread?.hasTornFrame) {
      this.#frames.write(JSON.stringify({ type: "protocol-error", message }));
    }
    process.exit(EXIT_PROTOCOL_ERROR);
  }

  #leaveBroken(reason) {
    process.stderr.write(`engine child ends: ${reason}\n`);
    process.exit(EXIT_EVENTS_LOST);
  }
}

function parseCommand(header) {
  const command = JSON.parse(header.toString());
  if (!isObject(command)) throw new Error("a command must be a JSON object");
  return command;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readFlag(name, args) {
  const arg = args.find((each) => each.startsWith(`${name}=`));
  return arg?.slice(name.length + 1);
}

function runtimeVersion() {
  const entry = fileURLToPath(import.meta.resolve("@openfn/runtime"));
  const manifest = new URL("../package.json", `file://${entry}`);
  return JSON.parse(fs.readFileSync(manifest, "utf8")).version;
}

function delay(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

void new EngineProcess().start();

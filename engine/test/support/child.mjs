// Starts the engine program the way the worker does and speaks its wire.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("../../main.cjs", import.meta.url));
export const FLAGS = ["--experimental-vm-modules", "--no-warnings"];

// Far above what any of these events takes; only a hang gets here.
const DEADLINE_MS = 60_000;

// A failed test does not get to its own clean-up, and a child that is left
// alive would keep the test process from ending.
const alive = new Set();
after(() => Promise.all([...alive].map((child) => child.kill())));

export class Child {
  #process;
  #commands;
  #events;
  #buffered = Buffer.alloc(0);
  #waiting = [];
  #isClosed = false;

  /** Every event so far, `body` parsed as JSON where there is one. */
  events = [];
  stdout = "";
  stderr = "";

  /** Resolves to `{ code, signal }`. */
  exited;

  /** `commands` and `events` are pairs of sockets where the defaults will not do. */
  constructor({
    flags = FLAGS,
    program = PROGRAM,
    memoryLimitMb = 500,
    env = {},
    commands,
    events,
  } = {}) {
    const limit = `--max-old-space-size=${memoryLimitMb}`;
    this.#process = spawn(process.execPath, [...flags, limit, program], {
      env,
      cwd: "/",
      stdio: [
        "ignore",
        "pipe",
        "pipe",
        commands?.childEnd ?? "pipe",
        events?.childEnd ?? "pipe",
      ],
    });
    this.#commands = commands?.parentEnd ?? this.#process.stdio[3];
    commands?.childEnd.destroy();
    this.#events = events?.parentEnd ?? this.#process.stdio[4];
    events?.childEnd.destroy();
    this.#process.stdout.on("data", (data) => {
      this.stdout += data;
      this.#settle();
    });
    this.#process.stderr.on("data", (data) => {
      this.stderr += data;
      this.#settle();
    });
    this.#commands.on("error", () => {});
    this.#events.on("data", (data) => this.#receive(data));
    alive.add(this);
    this.exited = new Promise((resolve) => {
      this.#process.on("close", (code, signal) => {
        alive.delete(this);
        this.#isClosed = true;
        this.#settle();
        resolve({ code, signal });
      });
    });
  }

  static async ready(options) {
    const child = new Child(options);
    await child.event("ready");
    return child;
  }

  get pid() {
    return this.#process.pid;
  }

  send(header, body = "") {
    this.sendRaw(frame(JSON.stringify(header), body));
  }

  sendRaw(bytes) {
    this.#commands.write(bytes);
  }

  closeCommands() {
    this.#commands.destroy();
  }

  pauseEvents() {
    this.#events.pause();
  }

  resumeEvents() {
    this.#events.resume();
  }

  /** The first event that matches: a type, or a function of the event. */
  async event(match) {
    const matches =
      typeof match === "string" ? (event) => event.type === match : match;
    return this.#until(() => this.events.find(matches), String(match));
  }

  /** Waits until `text` is on the child's stdout. */
  async printed(text) {
    return this.#until(() => this.stdout.includes(text), `"${text}" on stdout`);
  }

  /** Waits until `text` is on the child's stderr. */
  async reported(text) {
    return this.#until(() => this.stderr.includes(text), `"${text}" on stderr`);
  }

  /** Sends `execute` and `go`, and resolves to the run's events up to `exit`. */
  async run(execute, input) {
    this.send(execute, input === undefined ? "" : JSON.stringify(input));
    this.send({ type: "go", run: execute.run });
    await this.event(isExitOf(execute.run));
    return new RunEvents(
      this.events.filter((event) => event.run === execute.run),
    );
  }

  async kill() {
    this.#process.kill("SIGKILL");
    await this.exited;
  }

  async #until(look, what) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(
              `no ${what} after ${JSON.stringify(this.events.at(-1))}\n${this.stderr}`,
            ),
          ),
        DEADLINE_MS,
      );
      const attempt = () => {
        const found = look();
        if (found) {
          clearTimeout(timer);
          resolve(found);
          return true;
        }
        if (this.#isClosed) {
          clearTimeout(timer);
          reject(
            new Error(
              `child ended without ${what}: ${JSON.stringify(this.events.at(-1))}\n${this.stderr}`,
            ),
          );
          return true;
        }
        return false;
      };
      if (!attempt()) this.#waiting.push(attempt);
    });
  }

  #receive(data) {
    this.#buffered = this.#buffered.length
      ? Buffer.concat([this.#buffered, data])
      : data;
    let offset = 0;
    while (this.#buffered.length - offset >= 8) {
      const headerEnd = offset + 8 + this.#buffered.readUInt32BE(offset);
      const bodyEnd = headerEnd + this.#buffered.readUInt32BE(offset + 4);
      if (this.#buffered.length < bodyEnd) break;
      const event = JSON.parse(
        this.#buffered.toString("utf8", offset + 8, headerEnd),
      );
      if (bodyEnd > headerEnd) {
        event.text = this.#buffered.toString("utf8", headerEnd, bodyEnd);
        event.body = JSON.parse(event.text);
      }
      this.events.push(event);
      offset = bodyEnd;
    }
    this.#buffered = this.#buffered.subarray(offset);
    this.#settle();
  }

  #settle() {
    this.#waiting = this.#waiting.filter((attempt) => !attempt());
  }
}

/** The run's events up to `exit`, in a child of its own. */
export async function inChild(execute, input, options) {
  const child = await Child.ready(options);
  const run = await child.run(execute, input);
  await child.exited;
  return run;
}

/** The events of one run, with the questions that tests ask. */
export class RunEvents {
  constructor(events) {
    this.all = events;
  }

  get types() {
    return this.all.map(({ type }) => type);
  }

  /** `SOURCE level text`, message items joined by a blank. */
  get lines() {
    return this.all
      .filter(({ type }) => type === "log")
      .map(
        ({ name, level, body }) =>
          `${name} ${level} ${body.map(asText).join(" ")}`,
      );
  }

  /** Message arrays of the job's own console. */
  get jobLogs() {
    return this.all
      .filter(({ type, name }) => type === "log" && name === "JOB")
      .map(({ body }) => body);
  }

  of(type, job) {
    return this.all.find(
      (event) =>
        event.type === type && (job === undefined || event.job === job),
    );
  }
}

/** Two connected sockets, neither of which blocks. */
export async function nonBlockingPair() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-test-socket-"));
  const server = net.createServer();
  try {
    server.listen(path.join(folder, "s"));
    const childEnd = net.connect(path.join(folder, "s"));
    const [parentEnd] = await once(server, "connection");
    return { childEnd, parentEnd };
  } finally {
    server.close();
    fs.rmSync(folder, { recursive: true });
  }
}

export function frame(header, body = "") {
  const head = Buffer.from(header);
  const tail = Buffer.from(body);
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32BE(head.length, 0);
  prefix.writeUInt32BE(tail.length, 4);
  return Buffer.concat([prefix, head, tail]);
}

export function isExitOf(run) {
  return (event) => event.type === "exit" && event.run === run;
}

function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

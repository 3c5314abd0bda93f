// The worker as an object: starts the program as a child process, and speaks to its HTTP server.

import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

import { binaryPath } from "./binary.mjs";
import { moments } from "./events.mjs";

export { BinaryMissing, binaryPath } from "./binary.mjs";

/** Settings that other users of the machine could read on a command line: the program gets them as variables. */
const SECRETS = { secret: "WORKER_SECRET", httpToken: "WORKER_HTTP_TOKEN", sentryDsn: "WORKER_SENTRY_DSN" };

/** How much of what a worker says on stderr is kept for the error of one that does not start, in characters. */
const KEPT = 20_000;

/** Until a stream of events that has broken off is asked for again, ms. */
const AGAIN = 500;

/** Something about a worker that did not go as asked; `code` says what. */
export class WorkerError extends Error {
  constructor(code, message, details = {}) {
    super(message, details.cause ? { cause: details.cause } : undefined);
    this.name = "WorkerError";
    this.code = code;
    if ("exit" in details) this.exit = details.exit;
  }
}

/** A property as the program names it: `repoDir` is `--repo-dir`. */
function flag(name) {
  return "--" + name.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());
}

/** The command line and the environment of a worker with these settings. */
function invocation(settings, variables) {
  const env = { ...process.env, ...variables };
  const args = ["start"];
  const given = { host: "127.0.0.1", port: 0, logFormat: "json", endWithParent: true, ...settings };
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (name in SECRETS) {
      env[SECRETS[name]] = String(value);
      continue;
    }
    for (const one of Array.isArray(value) ? value : [value]) args.push(`${flag(name)}=${one}`);
  }
  return { args, env };
}

/** How a process ended, in words. */
function words({ code, signal }) {
  return signal ? `signal ${signal}` : `exit code ${code}`;
}

/** An address that can be asked: a server that listens everywhere is asked on this machine. */
function reachable(address) {
  return "http://" + address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}

/** A worker at work. Made by {@link createWorker}. */
export class Worker extends EventEmitter {
  #child;
  #token;
  #exit;
  #following;
  #destroyed;

  constructor(child, url, token, ended) {
    super();
    this.#child = child;
    this.#token = token;
    this.url = url;
    this.pid = child.pid;
    this.ended = ended;
    ended.then((exit) => {
      this.#exit = exit;
      this.#following?.abort();
      this.emit("exit", exit);
    });
    this.on("newListener", (event) => {
      if (event === "event" && !this.#following && !this.#exit) this.#follow();
    });
    this.on("removeListener", (event) => {
      if (event === "event" && this.listenerCount("event") === 0) {
        this.#following?.abort();
        this.#following = undefined;
      }
    });
  }

  /** Claims once for every group with a free slot; whether a run came back. */
  async claim() {
    return (await this.#ask("POST", "/claim", [200, 204])).status === 200;
  }

  /** What the worker does. */
  async status() {
    return (await this.#ask("GET", "/status", [200])).json();
  }

  /** Ends a run with reason `cancel`; whether it was active. */
  async cancel(runId) {
    return (await this.#ask("DELETE", `/runs/${encodeURIComponent(runId)}`, [202, 404])).status === 202;
  }

  /**
   * Takes no more runs, finishes those in hand, and resolves with how the process ended. Runs that go on for longer than
   * `timeoutMs` are ended and reported as lost work; a process that is still there `killMs` later is killed.
   */
  destroy({ timeoutMs = 30_000, killMs = 20_000 } = {}) {
    this.#destroyed ??= this.#end(timeoutMs, killMs);
    return this.#destroyed;
  }

  async [Symbol.asyncDispose]() {
    await this.destroy();
  }

  async #end(timeoutMs, killMs) {
    const over = new AbortController();
    const patience = async () => {
      this.#child.kill("SIGTERM");
      await delay(timeoutMs, undefined, { signal: over.signal });
      this.#child.kill("SIGTERM");
      await delay(killMs, undefined, { signal: over.signal });
      this.#child.kill("SIGKILL");
    };
    if (!this.#exit) {
      patience().catch((error) => {
        if (error.name !== "AbortError") throw error;
      });
    }
    const exit = await this.ended;
    over.abort();
    return exit;
  }

  async #ask(method, path, expected, signal) {
    const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : {};
    let response;
    try {
      response = await fetch(this.url + path, { method, headers, signal });
    } catch (cause) {
      if (signal?.aborted) throw cause;
      if (this.#exit) throw new WorkerError("ENDED", `the worker has ended with ${words(this.#exit)}`, { exit: this.#exit, cause });
      throw new WorkerError("UNREACHABLE", `the worker at ${this.url} does not answer`, { cause });
    }
    if (expected.includes(response.status)) return response;
    throw new WorkerError("REFUSED", `${method} ${path} was answered with ${response.status}: ${await response.text()}`);
  }

  /** Emits what the worker tells of itself for as long as somebody listens. */
  async #follow() {
    const following = new AbortController();
    this.#following = following;
    while (!following.signal.aborted) {
      try {
        const response = await this.#ask("GET", "/events", [200], following.signal);
        for await (const moment of moments(response.body)) {
          // Not from in here, where an error of a listener would pass for one of the stream.
          if (!following.signal.aborted) process.nextTick(() => this.emit("event", moment));
        }
      } catch (error) {
        if (following.signal.aborted) return;
        process.emitWarning(`ws-worker: its events are asked for again: ${error.message}`);
      }
      // A stream that is over because the worker has ended is not begun again: `ended` aborts.
      await delay(AGAIN, undefined, { ref: false, signal: following.signal }).catch(() => {});
    }
  }
}

/** A line of the program's log: an object, or what is no JSON as `{ text }`. */
function parsed(line) {
  try {
    const value = JSON.parse(line);
    if (value !== null && typeof value === "object") return value;
  } catch {
    // As the program was told to write something else.
  }
  return { text: line };
}

/**
 * Starts a worker; resolves when its HTTP server listens. The connection to Lightning comes up afterwards.
 */
export async function createWorker(options = {}) {
  const { binary, env: variables, onLog, startTimeoutMs = 60_000, ...settings } = options;
  const { args, env } = invocation(settings, variables);
  const program = binary ?? binaryPath(env);
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });

  let said = "";
  let worker;
  child.stderr.setEncoding("utf8").on("data", (text) => {
    if (worker) process.stderr.write(text);
    else said = (said + text).slice(-KEPT);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const entry = parsed(line);
    onLog?.(entry);
    worker?.emit("log", entry);
  });
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));

  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new WorkerError("START_FAILED", `the worker does not listen after ${startTimeoutMs} ms`));
    }, startTimeoutMs);
    child.once("error", (cause) => {
      clearTimeout(late);
      reject(new WorkerError("BINARY_UNUSABLE", `${program} cannot be started: ${cause.message}`, { cause }));
    });
    ended.then((exit) => {
      clearTimeout(late);
      const why = said.trim().replace(/^ws-worker: /, "") || "it gave no reason";
      reject(new WorkerError("START_FAILED", `the worker did not start (${words(exit)}): ${why}`, { exit }));
    });
    child.on("message", (message) => {
      if (typeof message?.listening !== "string") return;
      clearTimeout(late);
      resolve(reachable(message.listening));
    });
  });
  worker = new Worker(child, url, env.WORKER_HTTP_TOKEN, ended);
  if (said) process.stderr.write(said);
  return worker;
}

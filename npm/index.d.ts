import type { EventEmitter } from "node:events";

import type { Settings } from "./options.js";

export type { Settings } from "./options.js";

/** What a worker is told before it starts. */
export interface WorkerOptions extends Settings {
  /** TOML file with settings. Variable: `WORKER_CONFIG`. */
  config?: string;
  /** The program to start instead of the one that is installed. Variable: `WS_WORKER_BINARY`. */
  binary?: string;
  /** Variables of the worker beside those of this process, which it has as well. */
  env?: Record<string, string | undefined>;
  /** Is given each line of the log, from the first one on. */
  onLog?: (line: LogLine) => void;
  /** How long the worker may take until it listens, in milliseconds. Default: 60000. */
  startTimeoutMs?: number;
}

/** A line of the log: the fields that `--log-format json` writes, or `text` where it is no JSON. */
export interface LogLine {
  text?: string;
  [field: string]: unknown;
}

/** How the process ended: 0 after a graceful end. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A connection to Lightning. */
export interface Connection {
  state: string;
  /** Whether runs can be claimed. */
  queue_joined: boolean;
  /** Seconds in this state. */
  seconds: number;
  /** Sockets opened so far. */
  connects: number;
  last_error: string | null;
}

/** A group of queues and its slots. */
export interface Workloop {
  id: string;
  state: string;
  /** Seconds in this state. */
  seconds: number;
  slots: number;
  /** Runs in hand. */
  active: number;
  /** Claims without an answer. */
  pending: number;
  held_by: string[];
}

/** A run in hand. */
export interface Run {
  id: string;
  workloop: string;
  phase: "joining" | "loading" | "starting" | "executing" | "stopping" | "settling";
  /** Seconds in this phase. */
  phase_seconds: number;
  /** Seconds since it was claimed. */
  age_seconds: number;
  job: string | null;
}

/** A process that executes runs. */
export interface EngineChild {
  pid: number | null;
  state: string;
  /** Whether it has loaded what it was to load before its run comes. */
  warm: boolean;
  run: string | null;
  project: string | null;
}

/** The engine and its children. */
export interface Engine {
  state: string;
  node: string | null;
  runtime: string | null;
  /** Whether it is judged where jobs connect to. */
  egress: "controlled" | "open" | "unavailable" | null;
  /** Who keeps children to their memory: the kernel, or the worker. */
  memory: "enforced" | "watched" | null;
  children: EngineChild[];
}

/** A warning or an error of the log. */
export interface Problem {
  /** Milliseconds since the epoch. */
  at_ms: number;
  level: "warn" | "error";
  run_id: string | null;
  message: string;
}

/** What a worker does, as `GET /status` tells it. */
export interface Status {
  state: "running" | "draining" | "stopped";
  worker_id: string;
  worker_name: string | null;
  version: string;
  uptime_seconds: number;
  connection: Connection;
  further_connections: Connection[];
  workloops: Workloop[];
  runs: Run[];
  engine: Engine | null;
  /** Runs that have ended, by reason. */
  ended: Record<string, number>;
  /** Actors that died and were replaced, by name. */
  restarts: Record<string, number>;
  memory_ceiling_bytes: number | null;
  /** The last ones, newest first. */
  problems: Problem[];
}

/** Five seconds of a worker's history. */
export interface Sample {
  /** Milliseconds since the epoch. */
  at_ms: number;
  /** Runs that ended. */
  runs: number;
  /** From the answer to a claim to `run:start`, mean, in milliseconds. */
  start_ms: number | null;
  /** From an event to Lightning's answer, mean, in milliseconds. */
  round_trip_ms: number | null;
}

/** Another worker, which this one was told of by `peers`. But for `url` and `trouble`, known once it has answered. */
export interface Peer {
  url: string;
  /** Why it has not answered last time. */
  trouble: string | null;
  worker_id?: string;
  name?: string;
  version?: string;
  state?: string;
  uptime_seconds?: number;
  queue_joined?: boolean;
  active?: number;
  slots?: number;
  /** Runs that have ended. */
  ended?: number;
}

/** What a worker does and did, as `GET /events` tells it. */
export interface Moment extends Status {
  /** The last fifteen minutes, oldest first. */
  history: Sample[];
  peers: Peer[];
}

/** What a worker emits. */
export interface WorkerEvents {
  /** Twice a second, while somebody listens. */
  event: [moment: Moment];
  /** A line of the log. Those from before the worker listened go to `onLog` only. */
  log: [line: LogLine];
  /** The process has ended. */
  exit: [exit: Exit];
}

/** A worker at work in a process of its own, which drains and ends when this process is gone. */
export declare class Worker extends EventEmitter {
  private constructor();
  /** Where its HTTP server, and its status page, is: `http://127.0.0.1:41234`. */
  readonly url: string;
  /** Its process. */
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly ended: Promise<Exit>;
  /** Claims once for every group with a free slot; whether a run came back. */
  claim(): Promise<boolean>;
  /** What it does. */
  status(): Promise<Status>;
  /** Ends a run with reason `cancel`; whether it was active. */
  cancel(runId: string): Promise<boolean>;
  /**
   * Takes no more runs, finishes those in hand, and resolves with how the process ended. Runs that are still there after
   * `timeoutMs` (default 30000) are ended and reported as `WorkerShutdown`; a process that is still there `killMs`
   * (default 20000) later is killed. A second call waits for the same end.
   */
  destroy(options?: { timeoutMs?: number; killMs?: number }): Promise<Exit>;
  [Symbol.asyncDispose](): Promise<void>;

  on<E extends keyof WorkerEvents>(event: E, listener: (...values: WorkerEvents[E]) => void): this;
  once<E extends keyof WorkerEvents>(event: E, listener: (...values: WorkerEvents[E]) => void): this;
  off<E extends keyof WorkerEvents>(event: E, listener: (...values: WorkerEvents[E]) => void): this;
}

/** Something about a worker that did not go as asked. */
export declare class WorkerError extends Error {
  /**
   * `START_FAILED`: the program ended, or took too long; the message has its own words. `BINARY_UNUSABLE`: the system does
   * not start it. `REFUSED`: a request was answered with an error, such as a missing `httpToken`. `ENDED`: the process has
   * ended. `UNREACHABLE`: it has not, and does not answer.
   */
  readonly code: "START_FAILED" | "BINARY_UNUSABLE" | "REFUSED" | "ENDED" | "UNREACHABLE";
  /** How the process ended, where it did. */
  readonly exit?: Exit;
}

/** There is no program to start; the message says what to do about it. */
export declare class BinaryMissing extends Error {
  readonly code: "BINARY_MISSING";
}

/**
 * Starts a worker; resolves when its HTTP server listens, on any free port of the loopback interface unless the settings say
 * otherwise. The connection to Lightning comes up afterwards.
 *
 * @throws {WorkerError} it does not start
 * @throws {BinaryMissing} there is nothing to start
 */
export declare function createWorker(options?: WorkerOptions): Promise<Worker>;

/**
 * The path of the program.
 *
 * @throws {BinaryMissing}
 */
export declare function binaryPath(env?: Record<string, string | undefined>): string;

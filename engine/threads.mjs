// Worker threads as the main thread sees them. A thread is used for one run and
// never again; of what it does, only its end is believed.

import fs from "node:fs";
import { Worker } from "node:worker_threads";

// The same program with the runtime in one file, where the worker has made it.
const BUNDLED = new URL("./bundled/thread.mjs", import.meta.url);

const PROGRAM = fs.existsSync(new URL("./bundle.json", BUNDLED))
  ? BUNDLED
  : new URL("./thread.mjs", import.meta.url);

// Elements of the memory shared with a thread, see run_thread.mjs.
const PHASE = 0;
const TORN = 1;
const LATER = 2;
const COMPLETED = 1;

/** A thread that has loaded the runtime, or is about to. */
export class EngineThread {
  #worker;
  #control = new Int32Array(new SharedArrayBuffer(12));
  #isCancelled = false;
  #error = null;

  /** Resolves when the runtime is loaded; rejects when it cannot be. */
  loaded;

  /** Resolves to the thread's [`ThreadEnd`](#end) when it is gone. */
  ended;

  /** Whether it has loaded what it was to preload, as far as there is any. */
  isWarm = false;

  /** Whether it is about to load adaptors. */
  isPreloading = false;

  /** The heap limit in MB, undefined for none. */
  memoryLimitMb;

  /**
   * One that is no spare has its run already. `onWarm` is called with the thread
   * whenever it has preloaded something.
   */
  constructor({ memoryLimitMb, isSpare, onWarm }) {
    this.memoryLimitMb = memoryLimitMb;
    this.#worker = new Worker(PROGRAM, {
      env: {},
      workerData: {
        control: this.#control,
        temporaryDir: process.env.TMPDIR,
        isSpare,
      },
      resourceLimits:
        memoryLimitMb === undefined
          ? {}
          : { maxOldGenerationSizeMb: memoryLimitMb },
    });
    this.ended = new Promise((resolve) => {
      this.#worker.on("error", (error) => {
        this.#error ??= { value: error };
      });
      this.#worker.once("exit", (code) => resolve(this.#end(code)));
    });
    this.loaded = new Promise((resolve, reject) => {
      this.#worker.on("message", (message) => {
        resolve();
        if (message !== "warm") return;
        this.isWarm = true;
        this.isPreloading = false;
        onWarm(this);
      });
      void this.ended.then((end) =>
        reject(new Error(end.message ?? `thread exited with code ${end.code}`)),
      );
    });
    // A thread may end unloaded while nobody waits for it.
    this.loaded.catch(() => {});
  }

  /** Has it import adaptors, and of what is otherwise loaded when used that which `later` has bits for. */
  preload(adaptors, later) {
    this.isPreloading = adaptors.length > 0;
    this.#worker.postMessage({ type: "preload", adaptors, later });
  }

  /** Hands over a run. `header` and `body` are moved, not copied. */
  execute(header, body) {
    this.#worker.postMessage({ type: "execute", header, body }, [
      header.buffer,
      body.buffer,
    ]);
  }

  go() {
    this.#worker.postMessage({ type: "go" });
  }

  /** Ends the thread at once, unless it is inside one long native call. */
  cancel() {
    this.#isCancelled = true;
    return this.#worker.terminate();
  }

  /** Whether the thread died inside a frame: nothing may be sent behind it. */
  get hasTornFrame() {
    return Atomics.load(this.#control, TORN) !== 0;
  }

  /** What its run has used of what is loaded only when used, as bits. */
  get usedLater() {
    return Atomics.load(this.#control, LATER);
  }

  #end(code) {
    if (Atomics.load(this.#control, PHASE) === COMPLETED)
      return { cause: "done", code };
    const error = this.#error?.value;
    if (error?.code === "ERR_WORKER_OUT_OF_MEMORY")
      return { cause: "oom", code };
    if (this.#isCancelled) return { cause: "cancelled", code };
    if (this.#error !== null) {
      return { cause: "error", code, message: String(error?.message ?? error) };
    }
    return { cause: "exit", code };
  }
}

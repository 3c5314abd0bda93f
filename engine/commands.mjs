// The parent's commands on fd 3.

import { createRequire } from "node:module";
import fs from "node:fs";

import { COMMAND_FD, FrameReader } from "./wire.mjs";

const CHUNK_BYTES = 64 * 1024;

// How long the thread may be busy before the descriptor is watched beside that,
// which takes Node's sockets: a tenth of what it takes to start Node, and a short
// run does without them.
const WATCH_AFTER_MS = 1000;

// As long as a timer can wait.
const LONG_MS = 2 ** 31 - 1;

// Taken at load time: adaptors replace members of `fs` (graceful-fs, mocks).
const { readSync } = fs;
const { kill, pid } = process;

export class Commands {
  #frames = [];
  #reader = new FrameReader((frame) => this.#frames.push(frame));
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #isWatched = false;
  #arrived = null;
  #onError;
  /** Also keeps the process alive while its job waits for what will never come. */
  #timer;

  /** `onError` is called for bytes that cannot be a frame. */
  constructor(onError) {
    this.#onError = onError;
    this.#watchSoon();
  }

  /** The next `{ header, body }`. The thread rests until there is one. */
  async next() {
    clearTimeout(this.#timer);
    while (this.#frames.length === 0 && !this.#isWatched) this.#read();
    if (!this.#isWatched) this.#watchSoon();
    return this.nextMeanwhile();
  }

  /** The next one that comes while the thread goes on with something else. */
  async nextMeanwhile() {
    while (this.#frames.length === 0) {
      await new Promise((resolve) => {
        this.#arrived = resolve;
      });
    }
    return this.#frames.shift();
  }

  #read() {
    let length;
    try {
      length = readSync(COMMAND_FD, this.#chunk, 0, CHUNK_BYTES, null);
    } catch (error) {
      if (error.code === "EINTR") return;
      if (error.code !== "EAGAIN") leave();
      // Someone has made it a descriptor that does not block.
      this.#watch();
      return;
    }
    if (length === 0) leave();
    this.#push(this.#chunk.subarray(0, length));
  }

  #push(bytes) {
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#onError(error);
    }
    this.#arrived?.();
  }

  #watchSoon() {
    this.#timer = setTimeout(() => this.#watch(), WATCH_AFTER_MS);
  }

  #watch() {
    this.#isWatched = true;
    const net = createRequire(import.meta.url)("node:net");
    let socket;
    try {
      socket = new net.Socket({
        fd: COMMAND_FD,
        readable: true,
        writable: false,
      });
    } catch {
      // A job has closed it, which the parent sees as well, and ends this process.
      setInterval(() => {}, LONG_MS);
      return;
    }
    socket.on("data", (bytes) => this.#push(bytes));
    socket.on("error", leave);
    socket.on("close", leave);
  }
}

// The parent is gone. Not `process.exit`: adaptors may listen to that.
function leave() {
  kill(pid, "SIGKILL");
}

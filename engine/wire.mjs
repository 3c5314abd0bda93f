// Frames between the worker process and this child, as `protocol::engine`
// defines them: u32 header length, u32 body length (both big-endian), the
// header as a JSON object, then the raw body.

import fs from "node:fs";

/** Descriptor of the commands, parent to child. */
export const COMMAND_FD = 3;

/** Descriptor of the events, child to parent. Blocking; see [`FrameWriter`]. */
export const EVENT_FD = 4;

const PREFIX_BYTES = 8;

// A plan travels in the header. Far above any plan that Lightning accepts, and
// low enough that a length read from garbage is refused instead of allocated.
const MAX_HEADER_BYTES = 256 * 1024 * 1024;
const MAX_BODY_BYTES = 1024 * 1024 * 1024;

const SCRATCH_BYTES = 64 * 1024;

// UTF-8 needs at most three bytes for one UTF-16 code unit.
const MAX_BYTES_PER_UNIT = 3;

// Taken at load time: adaptors replace members of `fs` (graceful-fs, mocks).
const { writeSync } = fs;

/** Raised for bytes that cannot be a frame of ours. */
export class FrameError extends Error {
  name = "FrameError";
}

/** Turns chunks of the command socket into `{ header, body }` frames. */
export class FrameReader {
  #onFrame;
  #prefix = Buffer.allocUnsafeSlow(PREFIX_BYTES);
  #filled = 0;
  #header = null;
  #body = null;

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  push(chunk) {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#header === null) {
        offset += this.#fill(this.#prefix, chunk, offset);
        if (this.#filled < PREFIX_BYTES) return;
        this.#startFrame();
      } else if (this.#filled < this.#header.length + this.#body.length) {
        const inHeader = this.#filled < this.#header.length;
        const part = inHeader ? this.#header : this.#body;
        const base = inHeader ? 0 : this.#header.length;
        offset += this.#fill(part, chunk, offset, base);
      }
      if (this.#isWhole()) this.#finishFrame();
    }
  }

  #fill(target, chunk, offset, base = 0) {
    const copied = chunk.copy(target, this.#filled - base, offset);
    this.#filled += copied;
    return copied;
  }

  #startFrame() {
    const headerBytes = this.#prefix.readUInt32BE(0);
    const bodyBytes = this.#prefix.readUInt32BE(4);
    if (headerBytes > MAX_HEADER_BYTES || bodyBytes > MAX_BODY_BYTES) {
      throw new FrameError(
        `frame of ${headerBytes} + ${bodyBytes} bytes exceeds the limit of ${MAX_HEADER_BYTES} + ${MAX_BODY_BYTES}`,
      );
    }
    this.#header = Buffer.allocUnsafeSlow(headerBytes);
    this.#body = Buffer.allocUnsafeSlow(bodyBytes);
    this.#filled = 0;
  }

  #isWhole() {
    return (
      this.#header !== null &&
      this.#filled === this.#header.length + this.#body.length
    );
  }

  #finishFrame() {
    const header = this.#header;
    const body = this.#body;
    this.#header = null;
    this.#body = null;
    this.#filled = 0;
    this.#onFrame({ header, body });
  }
}

/**
 * Writes frames synchronously, so that a line logged right before an endless
 * loop or an exit still reaches the parent, and a slow parent slows the writer.
 */
export class FrameWriter {
  #fd;
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  #naps = null;
  /** Set where a frame could not be ended: what follows would be read as its rest. */
  #isTorn = false;

  constructor(fd) {
    this.#fd = fd;
  }

  /**
   * Sends one frame. `header` is JSON text, `body` text. Returns false when the
   * parent is gone; a job's `console.log` must not throw for that.
   */
  write(header, body = "") {
    const bound =
      PREFIX_BYTES + (header.length + body.length) * MAX_BYTES_PER_UNIT;
    const frame =
      bound <= SCRATCH_BYTES
        ? this.#scratch
        : Buffer.allocUnsafeSlow(
            PREFIX_BYTES + Buffer.byteLength(header) + Buffer.byteLength(body),
          );
    const headerBytes = frame.write(header, PREFIX_BYTES);
    const bodyBytes =
      body === "" ? 0 : frame.write(body, PREFIX_BYTES + headerBytes);
    frame.writeUInt32BE(headerBytes, 0);
    frame.writeUInt32BE(bodyBytes, 4);
    return this.#writeAll(frame, PREFIX_BYTES + headerBytes + bodyBytes);
  }

  #writeAll(frame, length) {
    if (this.#isTorn) return false;
    let done = 0;
    while (done < length) {
      try {
        done += writeSync(this.#fd, frame, done, length - done);
      } catch (error) {
        if (error.code === "EAGAIN") this.#nap();
        else if (error.code !== "EINTR") {
          this.#isTorn = done > 0;
          return false;
        }
      }
    }
    return true;
  }

  // The descriptor is meant to block. Should someone have made it
  // non-blocking, give the parent a moment instead of spinning.
  #nap() {
    this.#naps ??= new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(this.#naps, 0, 0, 1);
  }
}

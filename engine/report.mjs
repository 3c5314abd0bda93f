// What a run tells the parent: one method for each of its events in
// `protocol::engine`.

import { startClock } from "./clock.mjs";
import { withReferenceUrls } from "./adaptors.mjs";
import { describeError, describeStateError } from "./errors.mjs";
import {
  BYTES_PER_MB,
  describeState,
  exceedsLimit,
  redactedJson,
} from "./state.mjs";

const REDACTED_LOG = JSON.stringify([
  "[REDACTED: Message length exceeds payload limit]",
]);

// Lightning's limit counts a log entry as the reference would have built it:
// `{ level, name, message, time }` with the time in nanoseconds.
const NANOSECOND_DIGITS = 19;

// Used where the plan brings no limit; the reference's default.
const DEFAULT_PAYLOAD_LIMIT_MB = 10;

// A header must stay below 8 MiB, and the rest of it is small.
const MAX_WEBHOOK_RESPONSE_LENGTH = 2 * BYTES_PER_MB;

export class RunReport {
  #frames;
  #run;
  #runJson;
  #time = startClock();
  #startedAt = performance.now();
  #payloadLimitMb;
  #logLimitBytes;
  #sendsDataclips;
  #logHeaders = new Map();
  #leafStates = new Set();
  /** `{ state, described }` while there is one leaf: most likely the final state. */
  #onlyLeaf = null;

  constructor(frames, run, options) {
    this.#frames = frames;
    this.#run = run;
    this.#runJson = JSON.stringify(run);
    this.#payloadLimitMb = options.payload_limit_mb ?? DEFAULT_PAYLOAD_LIMIT_MB;
    this.#logLimitBytes =
      (options.log_payload_limit_mb ?? this.#payloadLimitMb) * BYTES_PER_MB;
    this.#sendsDataclips = options.output_dataclips !== false;
  }

  workflowStart(threadId, warm) {
    this.#send("workflow-start", {
      thread_id: threadId,
      time: this.#time(),
      warm,
    });
  }

  /** `level` is undefined for `console.print`; `messageJson` is a JSON array. */
  log(level, name, messageJson) {
    let body =
      name === "R/T"
        ? withReferenceUrls(messageJson, this.#runJson.slice(1, -1))
        : messageJson;
    let end = '"}';
    if (this.#isLogTooLarge(level, name, body)) {
      body = REDACTED_LOG;
      end = '","redacted":true}';
    }
    this.#frames.write(this.#logHeader(level, name) + this.#time() + end, body);
  }

  jobStart(job) {
    this.#send("job-start", { job, time: this.#time() });
  }

  jobComplete({ jobId, duration, next, mem, state }) {
    const described = this.#describe(state, next);
    this.#send(
      "job-complete",
      {
        job: jobId,
        time: this.#time(),
        duration,
        next,
        mem,
        ...this.#facts(described, state),
        state_error: describeStateError(state, jobId),
      },
      this.#dataclip(described),
    );
  }

  jobError({ jobId, duration, next, error, state }) {
    const described = this.#describe(state, next);
    this.#send(
      "job-error",
      {
        job: jobId,
        time: this.#time(),
        duration,
        next,
        ...this.#facts(described, state),
        error: this.#withReferenceUrls(describeError(error)),
        state_error: describeStateError(state, jobId),
      },
      this.#dataclip(described),
    );
  }

  workflowComplete(state) {
    const described = this.#describeFinal(state);
    const redacted = exceedsLimit(described, this.#payloadLimitMb);
    const body = redacted
      ? redactedJson(state, this.#isKeyedByLeaf(state), this.#payloadLimitMb)
      : (described.text ?? "");
    this.#send(
      "workflow-complete",
      {
        time: this.#time(),
        duration: Math.round(performance.now() - this.#startedAt),
        shape: described.shape,
        size: described.size,
        redacted,
      },
      body,
    );
  }

  /** `error` is one of errors.mjs' descriptions for workflows. */
  workflowError(error) {
    this.#send("workflow-error", {
      time: this.#time(),
      error: this.#withReferenceUrls(error),
    });
  }

  #send(type, fields, body) {
    this.#frames.write(
      JSON.stringify({ type, run: this.#run, ...fields }),
      body,
    );
  }

  #withReferenceUrls(error) {
    return { ...error, message: withReferenceUrls(error.message, this.#run) };
  }

  #logHeader(level, name) {
    const key = `${level} ${name}`;
    let header = this.#logHeaders.get(key);
    if (header === undefined) {
      const levelField = level === undefined ? "" : `"level":"${level}",`;
      header = `{"type":"log","run":${this.#runJson},${levelField}"name":${JSON.stringify(name)},"time":"`;
      this.#logHeaders.set(key, header);
    }
    return header;
  }

  #isLogTooLarge(level, name, messageJson) {
    const entry = {
      level,
      name,
      message: "",
      time: "0".repeat(NANOSECOND_DIGITS),
    };
    const overhead = 64 + name.length;
    // A unit becomes at most three bytes: JSON text has no character that
    // escaping it once more would make longer than that.
    if (overhead + 3 * messageJson.length + 2 <= this.#logLimitBytes)
      return false;
    // Nor less than one byte: no further copy of a huge line is needed.
    if (messageJson.length > this.#logLimitBytes) return true;
    entry.message = messageJson;
    return Buffer.byteLength(JSON.stringify(entry)) > this.#logLimitBytes;
  }

  #describe(state, next) {
    const described = describeState(state);
    if (next.length === 0 && typeof state === "object" && state !== null) {
      this.#leafStates.add(state);
      this.#onlyLeaf =
        this.#leafStates.size === 1 ? { state, described } : null;
    }
    return described;
  }

  // Nothing touches a leaf's state after its step, so its JSON can serve twice.
  #describeFinal(state) {
    const leaf = this.#onlyLeaf;
    return leaf !== null && leaf.state === state
      ? leaf.described
      : describeState(state);
  }

  #isKeyedByLeaf(state) {
    if (typeof state !== "object" || state === null) return false;
    const leaves = Object.values(state);
    return (
      leaves.length > 1 && leaves.every((leaf) => this.#leafStates.has(leaf))
    );
  }

  #facts(described, state) {
    return {
      shape: described.shape,
      size: described.size,
      redacted: exceedsLimit(described, this.#payloadLimitMb),
      webhook_response: webhookResponse(state),
    };
  }

  #dataclip(described) {
    const isSent =
      this.#sendsDataclips && !exceedsLimit(described, this.#payloadLimitMb);
    return isSent ? (described.text ?? "") : "";
  }
}

// Sent beside the state also when the state itself is withheld.
function webhookResponse(state) {
  const response = state?.webhookResponse;
  if (!response) return undefined;
  try {
    const isSmall =
      JSON.stringify(response)?.length <= MAX_WEBHOOK_RESPONSE_LENGTH;
    return isSmall ? response : undefined;
  } catch {
    return undefined;
  }
}

// Values to JSON: states, and the values that a job logs.

/** The text that stands for a value with a BigInt or an unreadable cycle. */
export const UNSERIALIZABLE =
  "[unable to serialize, circular reference is too complex to analyze]";

/** Bytes in the "MB" of all limits (protocol spec, section 4.15). */
export const BYTES_PER_MB = 1024 * 1024;

const { stringify } = JSON;

// What the parent allows an event beyond the limit, for the small rest of a
// redacted state.
const MARGIN_MB = 1;

const REDACTED_STATE = { data: "[REDACTED]" };

/**
 * JSON text of `value`, undefined where JSON has no text for it. A reference
 * back to an object that is being written becomes `"[Circular]"`, byte arrays
 * become arrays of numbers. Throws where even that does not help (BigInt,
 * a throwing `toJSON`, a text that is too long).
 *
 * The replacer that finds cycles is slow, so it runs only when the plain call
 * has failed. Byte arrays without a cycle beside them never get here as such:
 * the runtime has already passed each state through JSON.
 */
export function toJson(value) {
  try {
    return stringify(value);
  } catch {
    return stringify(value, cycleReplacer());
  }
}

function cycleReplacer() {
  const path = [];
  return function replace(key, value) {
    const raw = this[key];
    if (isByteArray(raw)) return Array.from(raw);
    if (typeof value !== "object" || value === null) return value;
    while (path.length > 0 && path.at(-1) !== this) path.pop();
    if (path.includes(value)) return "[Circular]";
    path.push(value);
    return value;
  };
}

// By tag and not by `instanceof`: values made by job code come from the realm
// of its `vm` context.
function isByteArray(value) {
  return (
    ArrayBuffer.isView(value) &&
    Object.prototype.toString.call(value) === "[object Uint8Array]"
  );
}

/**
 * What the parent must know about a state: `shape` ("object", "other" for any
 * other JSON value, "none" when there is no JSON for it), `text` and `size`, the
 * text's length in UTF-8 bytes. A state that cannot be serialised has neither.
 */
export function describeState(state) {
  let text;
  try {
    text = toJson(state);
  } catch {
    const shape = typeof state === "object" ? "object" : "other";
    return { shape, text: null, size: null };
  }
  if (text === undefined) return { shape: "none", text: null, size: null };
  const shape = text.startsWith("{") ? "object" : "other";
  return { shape, text, size: Buffer.byteLength(text) };
}

/** Whether a described state is over the limit. One without a text always is. */
export function exceedsLimit({ shape, size }, limitMb) {
  if (shape === "none") return false;
  return size === null || size > limitMb * BYTES_PER_MB;
}

/**
 * JSON text of a final state that exceeds the payload limit: `data` is replaced
 * on a copy, and where other keys keep it too large for an event, nothing but
 * the replacement is left. A result keyed by leaf step keeps its keys; each of
 * its states is treated so.
 */
export function redactedJson(state, isKeyedByLeaf, limitMb) {
  const apply = (change) =>
    isKeyedByLeaf
      ? Object.fromEntries(
          Object.entries(state).map(([id, leaf]) => [id, change(leaf)]),
        )
      : change(state);
  const redacted = describeState(apply(redact));
  return exceedsLimit(redacted, limitMb + MARGIN_MB)
    ? stringify(apply(() => REDACTED_STATE))
    : redacted.text;
}

function redact(state) {
  const isObject =
    typeof state === "object" && state !== null && !Array.isArray(state);
  return isObject ? { ...state, ...REDACTED_STATE } : state;
}

// Errors as they go over the wire. Anything can be thrown by a job, so nothing
// is taken for granted here: not that it is an Error, not that a property is a
// string, not that reading one does not throw.

// Two copies of a message share a header of at most 8 MiB with up to six bytes
// for each character.
const MAX_TEXT_LENGTH = 256 * 1024;

/** `{ message, name, type, subtype, source, severity }`, each a string or absent. */
export function describeError(error) {
  return {
    message: messageOf(error),
    name: optionalText(read(error, "name")),
    type: optionalText(read(error, "type")),
    subtype: optionalText(read(error, "subtype")),
    source: optionalText(read(error, "source")),
    severity: optionalText(read(error, "severity")) ?? "crash",
  };
}

/** `{ type, message, severity, source }` of an error that ended the workflow. */
export function describeWorkflowError(error) {
  const { message, name, type, severity, source } = describeError(error);
  return { type: type ?? name ?? "ERROR", message, severity, source };
}

/** An error outside the steps, e.g. in a timer that an adaptor has left behind. */
export function describeUncaught(error) {
  return {
    type: "ExecutionError",
    message: messageOf(error),
    severity: "crash",
    source: "engine",
  };
}

/**
 * `{ name, message }`, each a string or absent, of what a state says of the error
 * of this job: the runtime writes it, and so may job code or an input dataclip.
 * Null where the state says nothing, or something falsy (protocol spec, section 4.11).
 */
export function describeStateError(state, jobId) {
  const entry = read(read(state, "errors"), jobId);
  if (!entry) return null;
  return {
    name: textIfAny(read(entry, "name")),
    message: textIfAny(read(entry, "message")),
  };
}

function messageOf(error) {
  const isObject = typeof error === "object" && error !== null;
  const message = isObject ? read(error, "message") : error;
  return text(message ?? "");
}

function read(value, key) {
  try {
    return value?.[key];
  } catch {
    return undefined;
  }
}

function optionalText(value) {
  return value === "" ? undefined : textIfAny(value);
}

function textIfAny(value) {
  return value === undefined || value === null ? undefined : text(value);
}

function text(value) {
  if (typeof value === "string") return value.slice(0, MAX_TEXT_LENGTH);
  try {
    const json = typeof value === "object" ? JSON.stringify(value) : undefined;
    return (json ?? String(value)).slice(0, MAX_TEXT_LENGTH);
  } catch {
    return "[unreadable error]";
  }
}

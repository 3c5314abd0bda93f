// The loggers of a run: "JOB" is the console of job code, "ADA" that of
// everything else in the process, "R/T" the runtime's own. Engine spec, section 4.

import { UNSERIALIZABLE, toJson } from "./state.mjs";

// A line passes when its number is not below that of the configured level. An
// unknown level has no number, and then nothing passes, not even errors.
const PRIORITY = {
  debug: 0,
  info: 1,
  log: 1,
  default: 2,
  always: 2,
  warn: 2,
  success: 2,
  none: 9,
  error: 100,
};

/** Levels of lines that leave this process. */
const LEVELS = ["debug", "info", "success", "always", "warn", "error"];

// Lightning refuses a whole batch for one line with a longer source.
const MAX_SOURCE_LENGTH = 8;

const SECRET = "****";

/**
 * A logger with exactly the methods that job code finds on `console`.
 *
 * `policy()` tells the sanitize policy of the moment: adaptors loaded before the
 * run keep methods of this console. `write(level, name, messageJson)` gets each
 * line that passes, `messageJson` being a JSON array and `level` undefined for
 * `print`.
 */
export function createLogger(
  name,
  { level = "debug", policy = () => "none", write },
) {
  const threshold = PRIORITY[level];
  const passes = (lineLevel) => PRIORITY[lineLevel] >= threshold;

  const emit = (lineLevel, source, values) => {
    if (values.length === 0 || !passes(lineLevel)) return;
    const sanitize = policy();
    const message = values.map((value) => sanitizeValue(value, sanitize));
    if (message.length === 1 && message[0] === null) return;
    write(lineLevel, source, messageJson(message));
  };
  const at =
    (lineLevel) =>
    (...values) =>
      emit(lineLevel, name, values);

  return {
    info: at("info"),
    log: at("info"),
    debug: at("debug"),
    error: at("error"),
    warn: at("warn"),
    success: at("success"),
    always: at("always"),
    // There is nobody to ask.
    confirm: async (_question, force = false) => force,
    timer: createTimer(),
    print: (...values) => {
      if (level !== "none" && values.length > 0) {
        write(undefined, name, messageJson(values));
      }
    },
    proxy: (...args) => {
      const [source, lineLevel, values] =
        args.length === 3
          ? args
          : [args[0].name, args[0].level, args[0].message];
      if (LEVELS.includes(lineLevel)) {
        emit(lineLevel, String(source).slice(0, MAX_SOURCE_LENGTH), [
          ...values,
        ]);
      }
      return [source, lineLevel, ...values];
    },
    force: () => {},
    unforce: () => {},
    break: () => {},
    indent: () => {},
    options: { level, sanitize: policy(), json: true },
  };
}

/** First call with a name starts, the second tells the time and forgets it. */
function createTimer() {
  const started = new Map();
  return (name) => {
    const start = started.get(name);
    if (start === undefined) {
      started.set(name, Date.now());
      return undefined;
    }
    started.delete(name);
    return formatDuration(Date.now() - start);
  };
}

function formatDuration(ms) {
  if (ms < 1000) return `${ms}ms`;
  const seconds = ms / 1000;
  return seconds < 60
    ? `${seconds}s`
    : `${Math.floor(seconds / 60)}m ${seconds % 60}s`;
}

function messageJson(message) {
  try {
    return toJson(message);
  } catch {
    return JSON.stringify([UNSERIALIZABLE]);
  }
}

/** One logged value under a sanitize policy; the result still has to go to JSON. */
function sanitizeValue(value, sanitize) {
  const kind = typeof value;
  if (kind === "string" || kind === "number" || kind === "boolean")
    return value;
  if (value === undefined || value === null) return value;
  if (isPlainError(value)) {
    return { name: value.name, message: value.message || value.toString() };
  }
  if (
    sanitize === "remove" ||
    sanitize === "obfuscate" ||
    sanitize === "summarize"
  ) {
    return kind === "object" ? hide(value, sanitize) : value;
  }
  if (kind === "object" && !Array.isArray(value) && value.configuration) {
    return { ...value, configuration: maskKeys(value.configuration) };
  }
  return value;
}

// An error made by job code belongs to another realm and is known by its
// constructor's name only; its subclasses are logged as the objects they are.
function isPlainError(value) {
  return (
    value instanceof Error ||
    (typeof value === "object" && value.constructor?.name === "Error")
  );
}

function hide(value, sanitize) {
  if (sanitize === "remove") return null;
  const isArray = Array.isArray(value);
  if (sanitize === "obfuscate") return isArray ? "[array]" : "[object]";
  if (isArray) {
    return value.length > 0
      ? `(array with ${value.length} items)`
      : "(empty array)";
  }
  const keys = Object.keys(value).sort();
  return keys.length > 0
    ? `(object with keys ${keys.join(", ")})`
    : "(empty object)";
}

function maskKeys(configuration) {
  const masked = {};
  for (const key in configuration) masked[key] = SECRET;
  return masked;
}

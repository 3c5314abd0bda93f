// What becomes of a value that a job threw. Evaluated only then: most steps throw
// nothing, and parsing this for each would be a good part of their cost.
(() => {
  const { parse, stringify } = JSON;

  // The engine's own.
  const MAX_TEXT_LENGTH = 256 * 1024;

  // The commonest messages, so that reports do not differ between engines.
  function inWordsOfNode(message, kind) {
    if (kind !== "TypeError") return message;
    return String(message)
      .replace(/^cannot (read|set) property '(.*)' of (undefined|null)$/, (_, verb, key, value) => {
        const doing = verb === "read" ? "reading" : "setting";
        return `Cannot ${verb} properties of ${value} (${doing} '${key}')`;
      })
      .replace(/^'.+' is read-only$/, "Assignment to constant variable.");
  }

  function read(value, key) {
    try {
      return value?.[key];
    } catch {
      return undefined;
    }
  }

  // As the engine writes whatever it finds in an error.
  function asText(value) {
    if (typeof value === "string") return value.slice(0, MAX_TEXT_LENGTH);
    try {
      const json = typeof value === "object" ? stringify(value) : undefined;
      return (json ?? String(value)).slice(0, MAX_TEXT_LENGTH);
    } catch {
      return "[unreadable error]";
    }
  }

  function plain(value) {
    try {
      return parse(stringify(value) ?? "{}");
    } catch {
      return {};
    }
  }

  /** An error of the runtime's own making: what is told of it, and what is written to the state. */
  function made({ name, severity, subtype, details, message }) {
    const told = { name, type: name, severity, subtype, message: asText(message), source: "runtime" };
    return { told, written: plain({ source: "runtime", name, details, severity, subtype, message }) };
  }

  /** A value that is passed on as it is. */
  function raw(error) {
    const text = (key) => {
      const value = read(error, key);
      return value === undefined || value === null || value === "" ? undefined : asText(value);
    };
    const isObject = typeof error === "object" && error !== null;
    const message = isObject ? inWordsOfNode(read(error, "message"), read(error, "name")) : error;
    const told = {
      name: text("name"),
      type: text("type"),
      severity: text("severity"),
      subtype: text("subtype"),
      message: asText(message ?? ""),
      source: text("source"),
    };
    return { told, written: plain(error) };
  }

  // Engine spec, section 7.3.
  function judged(error, fromAdaptor) {
    if (error === null || error === undefined) {
      const message = `TypeError: Cannot read properties of ${error} (reading 'stack')`;
      return made({ name: "RuntimeError", severity: "fail", subtype: "TypeError", message });
    }
    const missing = /^could not load module.*'(.+)'/.exec(error.message);
    if (missing && error.constructor?.name === "ReferenceError") {
      return made({ name: "ImportError", severity: "crash", message: `Failed to import module "${missing[1]}"` });
    }
    if (fromAdaptor) {
      const message = inWordsOfNode(error.message, error.constructor?.name);
      const details = { message, ...plain(error) };
      return made({ name: "AdaptorError", severity: "fail", details, message: message || "" });
    }
    if (error.name === "AdaptorError" || error.name === "ImportError") return raw(error);
    if (error.constructor === undefined || error.constructor === null) {
      throw new TypeError(`Cannot read properties of ${error.constructor} (reading 'name')`);
    }
    const kind = error.constructor.name;
    const known = (name, severity) => {
      const message = `${kind}: ${inWordsOfNode(error.message, kind)}`;
      return made({ name, severity, subtype: kind, message });
    };
    if (/RangeError|TypeError/.test(kind ?? "")) return known("RuntimeError", "fail");
    if (error.severity === "crash") return known("RuntimeCrash", "crash");
    if (kind === undefined) throw new TypeError("Cannot read properties of undefined (reading 'match')");
    if (/ReferenceError|SyntaxError/.test(kind)) return known("RuntimeCrash", "crash");
    if (kind === "EvalError") {
      return made({ name: "SecurityError", severity: "kill", message: "Illegal eval statement detected" });
    }
    const message = typeof error === "string" ? error : error.message || "";
    return made({ name: "JobError", severity: "fail", message });
  }

  return {
    classify(error, fromAdaptor) {
      try {
        return judged(error, fromAdaptor);
      } catch (thrown) {
        return raw(thrown);
      }
    },
    // QuickJS names what it met; the text of the reference's mock is always this one.
    unparsed(error) {
      if (error instanceof SyntaxError) error.message = "Invalid or unexpected token";
      return error;
    },
    inGlobals(error) {
      if (typeof error === "object" && error !== null) error.message = `[globals] ${error.message}`;
      return error;
    },
    messageOf(error) {
      const message = read(error, "message");
      return message === undefined || message === null ? "" : asText(inWordsOfNode(message, error.constructor?.name));
    },
  };
})()

// What becomes of a value that a job threw. Evaluated only then: most steps throw
// nothing, and parsing this for each would be a good part of their cost.
(() => {
  // The commonest messages, so that reports do not differ between engines.
  function inWordsOfNode(message, kind) {
    if (kind === "TypeError") {
      return String(message).replace(
        /^cannot (read|set) property '(.*)' of (undefined|null)$/,
        (_, verb, key, value) => {
          const doing = verb === "read" ? "reading" : "setting";
          return `Cannot ${verb} properties of ${value} (${doing} '${key}')`;
        },
      );
    }
    return message;
  }

  // Engine spec, section 7.3, for a realm without adaptors.
  function classify(error) {
    if (error === null || error === undefined) {
      const text = `TypeError: Cannot read properties of ${error} (reading 'stack')`;
      return { severity: "fail", name: "RuntimeError", type: "RuntimeError", subtype: "TypeError", message: text, source: "runtime" };
    }
    const { name, severity } = error;
    const kind = error.constructor?.name ?? "Error";
    const missing = /^could not load module.*'(.+)'/.exec(error.message);
    if (missing && kind === "ReferenceError") {
      const message = `Failed to import module "${missing[1]}"`;
      return { name: "ImportError", type: "ImportError", severity: "crash", message, source: "runtime" };
    }
    const message = inWordsOfNode(error.message, kind);
    const known = (values) => ({ message: `${kind}: ${message}`, subtype: kind, source: "runtime", ...values });
    if (name === "AdaptorError" || name === "ImportError") {
      return { name, message: String(message), severity: typeof severity === "string" ? severity : undefined };
    }
    if (/RangeError|TypeError/.test(kind)) {
      return known({ name: "RuntimeError", type: "RuntimeError", severity: "fail" });
    }
    if (severity === "crash" || /ReferenceError|SyntaxError/.test(kind)) {
      return known({ name: "RuntimeCrash", type: "RuntimeCrash", severity: "crash" });
    }
    if (kind === "EvalError") {
      const text = "Illegal eval statement detected";
      return { name: "SecurityError", type: "SecurityError", severity: "kill", message: text, source: "runtime" };
    }
    const text = typeof error === "string" ? error : String(message ?? "");
    return { name: "JobError", type: "JobError", severity: "fail", message: text, source: "runtime" };
  }

  return {
    classify,
    // QuickJS names what it met; the text of the reference's mock is always this one.
    unparsed(error) {
      if (error instanceof SyntaxError) error.message = "Invalid or unexpected token";
      return error;
    },
    inGlobals(error) {
      if (typeof error === "object" && error !== null) error.message = `[globals] ${error.message}`;
      return error;
    },
  };
})()

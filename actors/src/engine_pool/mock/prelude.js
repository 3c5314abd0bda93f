// What a step of the mock engine sees, and how it is carried out. Evaluated once
// in the fresh context of each step; the engine keeps the object that it returns
// out of reach of the job.
(({ log, now, sanitize }) => {
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  let timers = [];
  let lastTimer = 0;

  const addTimer = (f, ms, args, every) => {
    lastTimer += 1;
    const wait = Math.max(Number(ms) || 0, 0);
    timers.push({ id: lastTimer, at: now() + wait, f, args, every: every ? Math.max(wait, 1) : null });
    return lastTimer;
  };
  const clearTimer = (id) => {
    timers = timers.filter((timer) => timer.id !== id);
  };

  const publish = (name, value) => {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  };
  publish("console", Object.freeze({ log: (...values) => log(toLine(values)) }));
  publish("setTimeout", (f, ms, ...args) => addTimer(f, ms, args, false));
  publish("setInterval", (f, ms, ...args) => addTimer(f, ms, args, true));
  publish("clearTimeout", clearTimer);
  publish("clearInterval", clearTimer);
  publish("fn", (f) => (state) => f(state));
  publish("wait", (ms) => (state) => new Promise((resolve) => addTimer(resolve, ms, [state], false)));
  publish("err", () => {
    throw new Error("test_err");
  });
  const noEval = () => {
    throw new EvalError("Code generation from strings disallowed for this context");
  };
  publish("eval", noEval);
  for (const f of [() => {}, async () => {}, function* () {}, async function* () {}]) {
    Object.defineProperty(Object.getPrototypeOf(f), "constructor", { value: noEval });
  }
  const original = Function;
  publish("Function", function () {
    noEval();
  });
  Function.prototype = original.prototype;

  // The values of one call of `console.log` as a JSON array, "" for a call that
  // leaves no line (engine spec, section 4.3).
  function toLine(values) {
    if (values.length === 0) return "";
    try {
      const items = values.map(loggable);
      return items.length === 1 && items[0] === null ? "" : stringify(items, decycled());
    } catch {
      return stringify(["[unable to serialize, circular reference is too complex to analyze]"]);
    }
  }
  function loggable(value) {
    if (typeof value === "object" && value !== null && !(value instanceof Error)) {
      const array = Array.isArray(value);
      const keys = Object.keys(value);
      if (sanitize === "remove") return null;
      if (sanitize === "obfuscate") return array ? "[array]" : "[object]";
      if (sanitize === "summarize" && array) {
        return keys.length === 0 ? "(empty array)" : `(array with ${value.length} items)`;
      }
      if (sanitize === "summarize") {
        return keys.length === 0 ? "(empty object)" : `(object with keys ${keys.sort().join(", ")})`;
      }
    }
    if (value instanceof Error && value.constructor === Error) {
      return { name: value.name, message: value.message };
    }
    if (typeof value === "object" && value?.configuration) {
      const configuration = {};
      for (const key of Object.keys(value.configuration)) configuration[key] = "****";
      return { ...value, configuration };
    }
    return value;
  }
  // A replacer that cuts cycles.
  function decycled() {
    const path = [];
    return function (key, value) {
      if (typeof value !== "object" || value === null) return value;
      while (path.length > 0 && path[path.length - 1] !== this) path.pop();
      if (path.includes(value)) return "[Circular]";
      path.push(value);
      return value;
    };
  }
  // JSON text of a state; undefined for a state that has none.
  function toText(state) {
    try {
      return stringify(state);
    } catch {
      try {
        return stringify(state, decycled());
      } catch {
        return '"[unable to serialize, circular reference is too complex to analyze]"';
      }
    }
  }

  // The state that the step's first operation gets (engine spec, section 1.6).
  function assemble(inputText, defaultsText, configurationText, credentialsText) {
    const input = (inputText === undefined ? {} : parse(inputText)) || {};
    const defaults = defaultsText === undefined ? {} : parse(defaultsText);
    const own = configurationText === undefined ? {} : parse(configurationText);
    const credentials = credentialsText === undefined ? {} : parse(credentialsText);
    const state = { ...defaults, ...input };
    state.configuration = { ...credentials, ...input.configuration, ...own };
    const isPlain = typeof input.data === "object" && input.data !== null && !Array.isArray(input.data);
    state.data = input.data && !isPlain ? input.data : { ...defaults.data, ...input.data };
    return state;
  }

  let state;
  let initial;

  return {
    assemble(input, defaults, configuration, credentials) {
      state = assemble(input, defaults, configuration, credentials);
      initial = state;
      publish("state", state);
    },
    // Without a job: a trigger hands its input on.
    pass(input) {
      state = input === undefined ? undefined : parse(input);
    },
    async execute(exported) {
      const operations = exported.default;
      if (!Array.isArray(operations)) {
        class InvalidExportsError extends Error {
          severity = "crash";
        }
        throw new InvalidExportsError("Invalid exports in job expression: exports must be an array");
      }
      operations.forEach((operation, index) => {
        if (typeof operation === "function") return;
        class InvalidOperationError extends Error {
          severity = "crash";
        }
        throw new InvalidOperationError(`Invalid operation at statement ${index}`);
      });
      if (typeof exported.execute === "function") {
        state = await apply(exported.execute, undefined, operations)(state);
        return;
      }
      for (const operation of operations) {
        state = (await operation(state || {})) || undefined;
      }
    },
    // After a failure the state is the one that the step was given.
    failed({ classify }, error, job) {
      state = initial;
      const { name, message, severity, type, subtype, source } = classify(error);
      const fails = severity === "fail";
      if (fails && typeof state === "object" && state !== null) {
        const own = typeof error === "object" && error !== null ? parse(toText({ ...error }) ?? "{}") : {};
        if (typeof own === "object") delete own.stack;
        const written = type === "JobError" ? own : {};
        state.errors = { ...state.errors, [job]: { ...written, source, name, severity, subtype, message } };
      }
      return stringify({ name, message, severity, type, subtype, source });
    },
    // Ends the step: its state becomes what its JSON text says.
    finish() {
      const text = toText(state);
      if (text === undefined) {
        state = undefined;
        return undefined;
      }
      state = parse(text);
      return text;
    },
    clean(propsToRemove) {
      if (typeof state === "object" && state !== null) {
        for (const key of parse(propsToRemove)) delete state[key];
      }
    },
    text: () => toText(state),
    publish: (values) => {
      for (const name of Object.keys(values)) {
        const value = values[name];
        const freezable = (typeof value === "object" && value !== null) || typeof value === "function";
        publish(name, freezable ? Object.freeze(value) : value);
      }
    },
    // As `describeStateError` of the engine.
    writtenError(job) {
      const written = state?.errors?.[job];
      if (!written) return undefined;
      const text = (value) => {
        if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
        return typeof value === "object" ? stringify(value) : String(value);
      };
      return stringify({ name: text(written.name), message: text(written.message) });
    },
    webhookResponse: () => (state?.webhookResponse ? toText(state.webhookResponse) : undefined),
    hasError: (job) => Boolean(state?.errors?.[job]),
    condition: (f, upstream) => Boolean(f(state, upstream)),
    describe: (error) => (error instanceof Error ? String(error.message) : String(error)),
    // Milliseconds until the next timer is due; undefined without one.
    untilTimer() {
      if (timers.length === 0) return undefined;
      return Math.max(Math.min(...timers.map((timer) => timer.at)) - now(), 0);
    },
    fireTimers() {
      const due = timers.filter((timer) => timer.at <= now()).sort((a, b) => a.at - b.at || a.id - b.id);
      for (const timer of due) {
        if (!timers.includes(timer)) continue;
        if (timer.every === null) clearTimer(timer.id);
        else timer.at += timer.every;
        apply(timer.f, undefined, timer.args);
      }
    },
  };
})

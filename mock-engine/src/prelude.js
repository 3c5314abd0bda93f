// What a step of the mock engine sees, and how it is carried out. Evaluated once
// in the fresh context of each step; the engine keeps the object that it returns
// out of reach of the job.
(({ log, now, sanitize }) => {
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  const { isArray } = Array;
  const { assign } = Object;
  const { SyntaxError, TypeError } = globalThis;
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
    if (typeof value !== "object" || value === null) return value;
    // Other errors are, to the console of the engine, of another realm: objects like any.
    if (value.constructor?.name === "Error") {
      return { name: value.name, message: value.message || String(value) };
    }
    const list = isArray(value);
    if (sanitize === "remove") return null;
    if (sanitize === "obfuscate") return list ? "[array]" : "[object]";
    if (sanitize === "summarize") {
      const keys = Object.keys(value).sort();
      if (list) return value.length > 0 ? `(array with ${value.length} items)` : "(empty array)";
      return keys.length > 0 ? `(object with keys ${keys.join(", ")})` : "(empty object)";
    }
    if (!list && value.configuration) {
      const configuration = {};
      for (const key in value.configuration) configuration[key] = "****";
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
    // QuickJS does not spread texts.
    const state = { ...defaults, ...(typeof input === "string" ? assign({}, input) : input) };
    state.configuration = assign({}, credentials, input.configuration, own);
    const isPlain = typeof input.data === "object" && !isArray(input.data);
    state.data = input.data && !isPlain ? input.data : assign({}, defaults.data, input.data);
    return state;
  }

  // What stands for the state after an operation that returned nothing.
  const NOTHING = {};

  const wrapped = (operation) => async (given) => {
    let result;
    try {
      result = await operation(given === NOTHING ? {} : given);
    } catch (error) {
      throw named(error);
    }
    return result || NOTHING;
  };

  // The runtime looks at the stack of whatever is thrown, and takes an error of a function that has a name for an adaptor's
  // (engine spec, section 7.3). A class that only inherits its constructor is no frame of Node's.
  function named(error) {
    // Also what QuickJS throws when there is not even memory for an error.
    if (error === null || error === undefined) return error;
    let stack;
    try {
      stack = error.stack;
    } catch (thrown) {
      return thrown;
    }
    if (typeof stack !== "string") return error;
    const frames = stack.split("\n").map((line) => /at (\S+) \(job:/.exec(line)?.[1]);
    const first = frames.find((name) => name !== undefined && name !== error.constructor?.name);
    if (first !== undefined && !first.startsWith("<")) fromAdaptor.add(error);
    return error;
  }
  const fromAdaptor = new Set();

  const inOrder = (...operations) => (first) =>
    operations.reduce((before, operation) => before.then(operation), Promise.resolve(first));

  let state;
  let initial;
  // Of a step that failed: what was thrown, and what becomes of it.
  let failure;

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
      if (!isArray(operations)) {
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
      const reduce = exported.execute || inOrder;
      state = await reduce(...operations.map(wrapped))(state);
      if (state === NOTHING) state = undefined;
    },
    // After a failure the state is the one that the step was given.
    failed({ classify }, error) {
      state = initial;
      failure = classify(error, fromAdaptor.has(error));
    },
    // What the runtime measures, before anything is taken out; undefined without a state.
    measured() {
      if (state === undefined) return undefined;
      const cut = decycled();
      return stringify(state, function (key, value) {
        return typeof value === "bigint" ? String(value) : apply(cut, this, [key, value]);
      });
    },
    // Ends the step: without its `propsToRemove`, its state becomes what its JSON text says.
    finish(propsToRemove) {
      if (state === undefined) return;
      for (const key of parse(propsToRemove)) {
        if (typeof state.hasOwnProperty !== "function") throw new TypeError("state.hasOwnProperty is not a function");
        if (!state.hasOwnProperty(key)) continue;
        if (!Reflect.deleteProperty(state, key)) {
          throw new TypeError(`Cannot delete property '${key}' of #<${state.constructor?.name ?? "Object"}>`);
        }
      }
      const text = toText(state);
      if (text === undefined) throw new SyntaxError('"undefined" is not valid JSON');
      state = parse(text);
    },
    // Writes a fail to the state, and gives the error's JSON; undefined for a step that did not fail.
    report(job) {
      if (failure === undefined) return undefined;
      if (failure.told.severity === "fail") {
        if (state === null || state === undefined) {
          throw new TypeError(`Cannot read properties of ${state} (reading 'errors')`);
        }
        const set = (target, key, value) => {
          if (typeof target === "object") target[key] = value;
          else throw new TypeError(`Cannot create property '${key}' on ${typeof target} '${target}'`);
        };
        if (state.errors === null || state.errors === undefined) set(state, "errors", {});
        set(state.errors, job, failure.written);
      }
      return stringify(failure.told);
    },
    state: () => state,
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
        if (value === undefined || value === null) return undefined;
        const all = typeof value === "string" ? value : typeof value === "object" ? stringify(value) : String(value);
        return all.slice(0, 256 * 1024);
      };
      return stringify({ name: text(written.name), message: text(written.message) });
    },
    hasError: (job) => Boolean(state?.errors?.[job]),
    isTruthy: (value) => Boolean(value),
    webhookResponse: () => (state?.webhookResponse ? toText(state.webhookResponse) : undefined),
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

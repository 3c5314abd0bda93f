import assert from "node:assert/strict";
import { test } from "node:test";
import vm from "node:vm";

import { createLogger } from "../console.mjs";

/** What `use` logs, as `[level, source, message]`. */
function logged(use, options = {}) {
  const lines = [];
  const write = (level, name, json) =>
    lines.push([level, name, JSON.parse(json)]);
  use(createLogger("JOB", { ...options, write }));
  return lines;
}

const messages = (use, options) =>
  logged(use, options).map(([, , message]) => message);

test("the console has the methods of the reference and no others", () => {
  const console = createLogger("JOB", { write: () => {} });
  assert.deepEqual(Object.keys(console).sort(), [
    "always",
    "break",
    "confirm",
    "debug",
    "error",
    "force",
    "indent",
    "info",
    "log",
    "options",
    "print",
    "proxy",
    "success",
    "timer",
    "unforce",
    "warn",
  ]);
});

test("each method logs at its level, log at info, print without one", () => {
  const lines = logged((console) => {
    for (const method of [
      "debug",
      "info",
      "log",
      "success",
      "always",
      "warn",
      "error",
      "print",
    ]) {
      console[method]("x");
    }
  });
  assert.deepEqual(
    lines.map(([level]) => level),
    ["debug", "info", "info", "success", "always", "warn", "error", undefined],
  );
});

test("values become JSON as the reference writes them", () => {
  const cyclic = { n: 1 };
  cyclic.self = cyclic;
  const cases = [
    [
      ["a", 1, true],
      ["a", 1, true],
    ],
    [
      [NaN, Infinity],
      [null, null],
    ],
    [
      ["%s", "x"],
      ["%s", "x"],
    ],
    [[{ a: [1] }], [{ a: [1] }]],
    [[cyclic], [{ n: 1, self: "[Circular]" }]],
    [
      [undefined, () => {}, Symbol("s")],
      [null, null, null],
    ],
    [[new Date(0)], ["1970-01-01T00:00:00.000Z"]],
    [
      [/x/, new Map([[1, 2]]), new Set([1])],
      [{}, {}, {}],
    ],
    [[new Error("boo")], [{ name: "Error", message: "boo" }]],
    [[new Error()], [{ name: "Error", message: "Error" }]],
    [[new TypeError("host")], [{ name: "TypeError", message: "host" }]],
    [
      [1n, "x"],
      ["[unable to serialize, circular reference is too complex to analyze]"],
    ],
  ];
  for (const [values, message] of cases) {
    assert.deepEqual(
      messages((console) => console.log(...values)),
      [message],
    );
  }
});

test("errors made by job code are known by their constructor's name only", () => {
  const [error, typeError] = vm.runInNewContext(
    '[new Error("a"), new TypeError("b")]',
  );
  assert.deepEqual(
    messages((console) => console.log(error, typeError)),
    [[{ name: "Error", message: "a" }, {}]],
  );
});

test("a named function can be logged", () => {
  assert.deepEqual(
    messages((console) => console.log(function named() {})),
    [[null]],
  );
});

test("configuration is masked at the top level of an object only", () => {
  const state = {
    configuration: { token: "secret", user: { name: "x" } },
    data: 1,
  };
  assert.deepEqual(
    messages((console) =>
      console.log(state, { state: { configuration: { a: 1 } } }),
    ),
    [
      [
        { configuration: { token: "****", user: "****" }, data: 1 },
        { state: { configuration: { a: 1 } } },
      ],
    ],
  );
  assert.equal(state.configuration.token, "secret");
});

test("lines without content are dropped", () => {
  const lines = messages((console) => {
    console.log();
    console.log(null);
    console.print();
    console.break();
    console.log(undefined);
    console.log("");
    console.log(null, null);
  });
  assert.deepEqual(lines, [[null], [""], [null, null]]);
});

test("sanitize policies hide objects and arrays", () => {
  const values = [{ b: 1, a: 2 }, {}, [1, 2, 3], [], "text", 5, new Error("e")];
  const seen = (sanitize) =>
    messages((console) => console.log(...values), {
      policy: () => sanitize,
    })[0];
  const rest = ["text", 5, { name: "Error", message: "e" }];
  assert.deepEqual(seen("remove"), [null, null, null, null, ...rest]);
  assert.deepEqual(seen("obfuscate"), [
    "[object]",
    "[object]",
    "[array]",
    "[array]",
    ...rest,
  ]);
  assert.deepEqual(seen("summarize"), [
    "(object with keys a, b)",
    "(empty object)",
    "(array with 3 items)",
    "(empty array)",
    ...rest,
  ]);
  assert.deepEqual(
    messages((console) => console.log({}), { policy: () => "remove" }),
    [],
  );
});

test("a level keeps the lines of its priority and above", () => {
  const all = ["debug", "info", "success", "always", "warn", "error"];
  const kept = (level) =>
    logged((console) => all.forEach((method) => console[method]("x")), {
      level,
    }).map(([l]) => l);
  assert.deepEqual(kept("debug"), all);
  assert.deepEqual(kept("info"), all.slice(1));
  assert.deepEqual(kept("log"), all.slice(1));
  for (const level of ["default", "success", "always", "warn"]) {
    assert.deepEqual(kept(level), all.slice(2), level);
  }
  assert.deepEqual(kept("none"), ["error"]);
  assert.deepEqual(kept("error"), ["error"]);
  assert.deepEqual(kept("verbose"), []);
});

test("proxy logs under another source of at most eight characters", () => {
  const lines = logged((console) => {
    assert.deepEqual(console.proxy("OTHER", "warn", ["a", "b"]), [
      "OTHER",
      "warn",
      "a",
      "b",
    ]);
    console.proxy({ name: "a-very-long-name", level: "info", message: ["c"] });
    console.proxy("X", "no-such-level", ["d"]);
  });
  assert.deepEqual(lines, [
    ["warn", "OTHER", ["a", "b"]],
    ["info", "a-very-l", ["c"]],
  ]);
});

test("a timer starts at its first call and tells the time at its second", (context) => {
  context.mock.timers.enable({ apis: ["Date"] });
  const { timer } = createLogger("R/T", { write: () => {} });
  const measure = (ms) => {
    assert.equal(timer("t"), undefined);
    context.mock.timers.tick(ms);
    return timer("t");
  };
  assert.equal(measure(123), "123ms");
  assert.equal(measure(1356), "1.356s");
  assert.equal(measure(123_500), "2m 3.5s");
});

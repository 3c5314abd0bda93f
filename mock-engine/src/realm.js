// What job code and edge conditions find in place of what would make code of a text,
// and without what QuickJS has and the reference's sandbox has not (engine spec,
// section 1.10). Evaluated first in each context.
(() => {
  const noEval = () => {
    throw new EvalError("Code generation from strings disallowed for this context");
  };
  const publish = (name, value) => {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
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
  for (const name of ["DOMException", "InternalError", "atob", "btoa", "navigator", "performance", "queueMicrotask"]) {
    delete globalThis[name];
  }
})();

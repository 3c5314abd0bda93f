//! Whatever a job may throw, from wherever it may.

use serde_json::json;

use crate::support::rows::chain;
use crate::{Case, compare};

/// Values that a job may throw.
const THROWN: &[&str] = &[
    "new Error('boo')",
    "new Error()",
    "new Error('')",
    "new Error(undefined)",
    "new Error(7)",
    "new Error('boo', { cause: new Error('why') })",
    "Object.assign(new Error('boo'), { code: 'E1', details: { a: 1 }, statusCode: 404 })",
    "Object.assign(new Error('boo'), { name: 'Mine' })",
    "Object.assign(new Error('boo'), { severity: 'crash' })",
    "Object.assign(new Error('boo'), { severity: 'kill' })",
    "Object.assign(new Error('boo'), { severity: 'fail', type: 'T', subtype: 'S', source: 'me' })",
    "Object.assign(new Error('boo'), { name: 'AdaptorError' })",
    "Object.assign(new Error('boo'), { name: 'AdaptorError', severity: 'fail' })",
    "Object.assign(new Error('boo'), { name: 'ImportError' })",
    "Object.assign(new Error('boo'), { name: 'ImportError', severity: 'crash' })",
    "Object.assign(new Error('boo'), { name: 'AdaptorError', severity: 'nonsense', code: 1 })",
    "{ name: 'AdaptorError' }",
    "{ name: 'AdaptorError', severity: 'fail' }",
    "{ name: 'AdaptorError', message: 7, severity: 'kill' }",
    "new TypeError('t')",
    "new RangeError('r')",
    "new ReferenceError('r')",
    "new SyntaxError('s')",
    "new EvalError('e')",
    "new URIError('u')",
    "new AggregateError([new Error('one')], 'many')",
    "new (class Mine extends Error {})('mine')",
    "new (class Mine extends TypeError {})('mine')",
    "new (class MyTypeError extends Error {})('mine')",
    "new (class MyReferenceErrors extends Error {})('mine')",
    "new (class {})()",
    "'text'",
    "''",
    "7",
    "0",
    "true",
    "false",
    "null",
    "undefined",
    "10n",
    "Symbol('s')",
    "() => 1",
    "[]",
    "['a', 'b']",
    "{}",
    "{ message: 'm' }",
    "{ message: '' }",
    "{ message: 7 }",
    "{ message: 0 }",
    "{ message: { a: 1 } }",
    "{ message: ['x'] }",
    "{ message: null }",
    "{ message: 'm', severity: 'crash' }",
    "{ message: 'm', severity: 'kill' }",
    "{ severity: 'crash' }",
    "{ message: 'm', name: 'N', code: 1 }",
    "{ message: 'm', stack: 'x' }",
    "{ error: 'x', state: 'y' }",
    "{ error: { message: 'm' }, state: { z: 1 } }",
    "Object.create(null)",
    "Object.assign(Object.create(null), { message: 'm' })",
    "{ constructor: null, message: 'm' }",
    "{ constructor: { name: 'TypeError' }, message: 'm' }",
    "{ constructor: 'TypeError', message: 'm' }",
    "{ get message() { throw new Error('no'); } }",
    "new Proxy({}, { get() { throw new Error('no'); } })",
    "Object.freeze(new Error('boo'))",
    "new Error('\\u0000\\ud800')",
    "new Date(0)",
    "Promise.resolve(1)",
    "new Error('x'.repeat(300000))",
];

/// Deeds that make the engine throw.
const DEEDS: &[&str] = &[
    "null.x",
    "undefined.x",
    "s.x.y",
    "s.x.y = 1",
    "null.x = 1",
    "s.nope()",
    "nope",
    "nope()",
    "nope = 1; return s",
    "s()",
    "new s()",
    "[].reduce((a, b) => a)",
    "new Array(-1)",
    "'x'.repeat(-1)",
    "(1).toFixed(200)",
    "JSON.parse('{')",
    "JSON.parse('')",
    "JSON.parse(undefined)",
    "JSON.stringify(10n)",
    "const o = {}; o.o = o; JSON.stringify(o)",
    "decodeURIComponent('%')",
    "new RegExp('(')",
    "eval('1')",
    "Function('return 1')()",
    "(() => {}).constructor('return 1')()",
    "const f = () => { throw new Error('named'); }; f()",
    "(() => { throw new Error('nameless'); })()",
    "const x = 1; x = 2",
    "BigInt(1.5)",
    "1n + 1",
    "Symbol() + ''",
    "[...7]",
    "const { a } = null",
    "const [a] = {}",
    "({}) instanceof 7",
    "'a' in 'b'",
    "import('x')",
    "Object.freeze([]).push(1)",
    "'use strict'; Object.freeze({}).x = 1",
    "x; let x = 1",
    "super_; var super_ = nope2",
    "new Promise()",
    "s.data.x.y.z",
    "for (const x of 7) {}",
    "delete Object.freeze({ a: 1 }).a",
    "null[Symbol.iterator]",
    "s['a b'].c",
    "s[0].c",
    "undefined()",
    "s.data.f()",
    "(void 0)?.x.y.z()",
    "Reflect.construct(1)",
    "await null; null.x",
    "await Promise.reject(new Error('later'))",
    "await Promise.all([Promise.reject('first')])",
];

#[test]
fn what_is_thrown_is_told_the_same() {
    let cases = THROWN.iter().map(|value| {
        Case::job(
            value,
            &format!("fn(s => {{ s.touched = 1; throw ({value}); }})"),
        )
    });
    compare(cases);
}

#[test]
fn what_goes_wrong_is_told_the_same() {
    let cases = DEEDS.iter().map(|deed| {
        Case::job(deed, &format!("fn(async s => {{ {deed}; return s; }})")).in_own_words()
    });
    compare(cases);
}

#[test]
fn what_is_wrong_outside_of_an_operation_is_told_the_same() {
    let two = |what: &str, first: &str, condition: &str| {
        let plan = chain(
            &[("a", first), ("b", "fn(s => ({ errors: s.errors }))")],
            &[("a", "b", condition)],
        );
        Case::new(what, plan)
    };
    let throws = "fn(() => { throw new Error('boo'); })";
    compare([
        Case::job("an error in the module", "const x = (() => { throw new Error('boo'); })();\nexport default [fn(s => s)];"),
        Case::job("a name that is not there, in the module", "export default [fn(nope)];"),
        Case::job("an operation that is made of nothing", "export default [fn(null.x)];"),
        Case::job("an export that is no list", "const x = []; export default 7; // export default ["),
        Case::job("an export that is missing", "export const x = []; // export default [").differs("/", "the mock engine does not compile jobs"),
        Case::job("an operation that is a number", "export default [7];"),
        Case::job("operations that are nothing", "export default [fn(s => s), null];"),
        Case::job("a hole among operations", "export default [fn(s => s), , fn(s => s)];"),
        Case::job("an operation that is missing", "fn()").differs("/", "in the mock engine `fn` is no adaptor's"),
        Case::job("a timer's error", "fn(() => new Promise((_, no) => setTimeout(() => no(new Error('boo')), 1)))")
            .differs("/", "Node calls the function of a timer by a name, so the runtime takes it for an adaptor's"),
        Case::job("an operation that fails after another has changed the state", "export default [fn(s => ({ data: 1 })), fn(() => { throw new Error('boo'); })];"),
        Case::job("an operation that fails after another returned nothing", "export default [fn(() => {}), fn(() => { throw new Error('boo'); })];"),
        two("a fail that is followed", throws, "always"),
        two("a fail that is handled", throws, "on_job_failure"),
        two("a fail that nobody handles", throws, "on_job_success"),
        two("a crash that would be handled", "fn(() => nope)", "on_job_failure"),
        two("an error called an adaptor's, followed", "fn(() => { throw Object.assign(new Error('boo'), { name: 'AdaptorError' }); })", "on_job_success"),
        two("an error called an import's, asked for", "fn(() => { throw Object.assign(new Error('boo'), { name: 'ImportError' }); })", "on_job_failure"),
        Case::job("errors that are a text, and one more", "fn(s => { s.errors = 'text'; throw new Error('boo'); })"),
        Case::job("errors that are a list, and one more", "fn(s => { s.errors = ['x']; throw new Error('boo'); })"),
        Case::job("errors that came in, and one more", "fn(() => { throw new Error('boo'); })").input(json!({"errors": {"z": {"message": "old"}}})),
        Case::job("an error of its own that came in, and another", "fn(() => { throw new Error('boo'); })").input(json!({"errors": {"a": {"message": "old", "name": "Old"}}})),
        Case::job("a crash whose words came in as an error", "fn(() => { throw Object.assign(new Error('boo'), { severity: 'crash' }); })").input(json!({"errors": {"a": {"message": "Error: boo", "name": "Old"}}})),
        Case::job("a state that was replaced by one without JSON, and an error", "fn(s => { s.n = 10n; throw new Error('boo'); })"),
        Case::job("a state that has become a circle, and an error", "fn(s => { s.s = s; throw new Error('boo'); })"),
        Case::job("a webhook response of a step that failed", "fn(s => { s.webhookResponse = { status: 400 }; throw new Error('boo'); })"),
    ]);
}

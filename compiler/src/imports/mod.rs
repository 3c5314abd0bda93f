//! Which names a job takes from its adaptors (compiler spec, section 9).

mod dangling;

use std::collections::HashSet;

use oxc::syntax::keyword::RESERVED_KEYWORDS;

pub(crate) use self::dangling::{Context, Dangling, find_dangling};
use crate::Adaptor;

/// Names that every object has. The reference's table of names to ignore inherits them, so they
/// are never imported (compiler spec, section 9.2).
const OBJECT_NAMES: [&str; 12] = [
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// Parts of names which adaptors without an export list do not give (compiler spec, section 9.3).
///
/// The reference looks for its globals anywhere in a name, so `parseDate` and `toJSON` count as
/// globals. Globals that contain another one, as `URIError` does, are left out here. One name is
/// misspelt in the reference; it stays so that the same names match.
const GLOBALS: [&str; 49] = [
    "Array",
    "AsyncFuction",
    "atob",
    "Atomics",
    "BigInt",
    "Blob",
    "Boolean",
    "btoa",
    "Buffer",
    "clearInterval",
    "clearTimeout",
    "console",
    "DataView",
    "Date",
    "decodeURI",
    "encodeURI",
    "Error",
    "eval",
    "Event",
    "exports",
    "FinalizationRegistry",
    "Function",
    "Generator",
    "global",
    "Infinity",
    "isFinite",
    "isNaN",
    "JSON",
    "Map",
    "Math",
    "module",
    "Number",
    "Object",
    "parseFloat",
    "parseInt",
    "process",
    "Promise",
    "Proxy",
    "Reflect",
    "RegExp",
    "require",
    "Set",
    "setInterval",
    "setTimeout",
    "state",
    "String",
    "Symbol",
    "URL",
    "WeakRef",
];

/// Words that [`Dangling`] meets but that only make sense where they are; an import of them would
/// not parse or would have no use (compiler spec, B19).
const META_WORDS: [&str; 5] = ["arguments", "import", "meta", "new", "target"];

/// The names that one adaptor gives to a job.
pub(crate) struct Import<'o> {
    pub(crate) adaptor: &'o Adaptor,
    pub(crate) names: Vec<&'o str>,
}

/// Decides which adaptor gives which of the dangling names, in the order of the adaptors.
pub(crate) fn choose<'o>(
    dangling: &'o Dangling,
    adaptors: &'o [Adaptor],
    ignore: &[String],
) -> Vec<Import<'o>> {
    let ignore: HashSet<&str> = ignore.iter().map(String::as_str).collect();
    let mut taken: HashSet<&str> = HashSet::new();
    let mut imports = Vec::new();
    for adaptor in adaptors.iter().filter(|adaptor| !adaptor.name.is_empty()) {
        let may_import = |name: &str| {
            !ignore.contains(name) && !OBJECT_NAMES.contains(&name) && is_importable(name)
        };
        let names: Vec<&str> = if adaptor.exports.is_empty() {
            let names = dangling.names.iter().map(String::as_str);
            names
                .filter(|name| may_import(name) && !is_global(name) && !META_WORDS.contains(name))
                .filter(|name| taken.insert(name))
                .collect()
        } else {
            let names = adaptor.exports.iter().map(String::as_str);
            names
                .filter(|name| dangling.contains(name) && may_import(name))
                .filter(|name| taken.insert(name))
                .collect()
        };
        if !names.is_empty() {
            imports.push(Import { adaptor, names });
        }
    }
    imports
}

/// Whether `import { name }` is legal in a module.
fn is_importable(name: &str) -> bool {
    !RESERVED_KEYWORDS.contains(name) && name != "arguments" && name != "eval"
}

/// Whether a name counts as a global, matched as loosely as the reference does it.
fn is_global(name: &str) -> bool {
    GLOBALS.iter().any(|global| name.contains(global))
}

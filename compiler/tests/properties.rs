//! Properties of what the compiler makes of generated sources.

mod support;

use std::{env, ops::Range};

use compiler::{Adaptor, CompileError, CompileOptions, compile};
use oxc::{
    allocator::Allocator,
    ast::ast::{Argument, ArrayExpressionElement, ExportDefaultDeclarationKind, Statement},
    parser::Parser,
    span::SourceType,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::Config,
};

use support::Map;

/// How many sources each property is tried with: the fuzz run sets it to a million.
fn cases(default: u32) -> Config {
    let cases = env::var("COMPILER_TEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    Config {
        cases: cases.unwrap_or(default),
        // Failures are turned into jobs of the corpus, not into files of seeds.
        failure_persistence: None,
        ..Config::default()
    }
}

/// Something that can be an argument of an operation.
fn value() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "1",
        "'text'",
        "`a\n  ${b}`",
        "$.data.x",
        "state => state.data",
        "/[(]/g",
        "null",
        "'😀'",
        "x.y?.[0]",
        "async state => {\n  return state\n}",
        "function (s) { return s }",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            vec(inner.clone(), 0..3).prop_map(|items| {
                let properties = items.iter().zip(["a", "b", "'c d'"]);
                let properties: Vec<_> = properties
                    .map(|(item, name)| format!("{name}: {item}"))
                    .collect();
                format!("{{ {} }}", properties.join(",\n"))
            }),
            (
                select(vec!["get", "each", "http.post"]),
                vec(inner.clone(), 0..3)
            )
                .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", "))),
            inner.prop_map(|item| format!("({item}, 1)")),
        ]
    })
}

/// A statement of a job, and how many operations it adds.
fn statement() -> impl Strategy<Value = (String, usize)> {
    let name = select(vec!["get", "fn", "http.post", "util.a.b", "(each)"]);
    let arguments = vec(value(), 0..3).prop_map(|values| values.join(", "));
    let chain = select(vec![
        "",
        "",
        "",
        ".then(f)",
        ".catch(f)",
        "\n  .then(f) // next\n  .catch(g)",
        ".catch(f).then(g)",
        ".finally(f)",
    ]);
    let operation = (name, arguments, chain)
        .prop_map(|(name, arguments, chain)| (format!("{name}({arguments}){chain}"), 1));
    let other = select(vec![
        "const v = { a: b }",
        "x = y",
        "// a comment",
        "if (x) y()",
        "await z()",
        "function f() { return g }",
        "class A { b = 1 }",
        "",
    ])
    .prop_map(|text| (text.to_owned(), 0));
    prop_oneof![3 => operation, 1 => other]
}

/// A job: statements, each on lines of its own or behind the one before.
fn job() -> impl Strategy<Value = (String, usize)> {
    vec(
        (
            statement(),
            select(vec![";\n", ";\n\n", "; ", ";\r\n", " ;\n\t"]),
        ),
        0..8,
    )
    .prop_map(|statements| {
        let mut source = String::new();
        let mut operations = 0;
        for ((text, adds), end) in statements {
            // A second declaration of the same name would be an error.
            if text.starts_with("const v") && source.contains("const v")
                || text.starts_with("function f") && source.contains("function f")
                || text.starts_with("class A") && source.contains("class A")
            {
                continue;
            }
            source.push_str(&text);
            source.push_str(if text.starts_with("//") { "\n" } else { end });
            operations += adds;
        }
        (source, operations)
    })
}

fn demo() -> Vec<Adaptor> {
    vec![Adaptor {
        name: "@openfn/language-demo".to_owned(),
        exports: ["fn", "get", "each", "http", "util"]
            .map(str::to_owned)
            .to_vec(),
        export_all: true,
    }]
}

/// Line and column of an offset, from 0, the column in UTF-16 code units.
fn position(text: &str, offset: u32) -> (u32, u32) {
    let before = &text[..offset as usize];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[start..].encode_utf16().count();
    let small = |count: usize| u32::try_from(count).expect("the module is small");
    (small(line), small(column))
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_default_export_has_the_operations_and_each_maps_back_to_its_line((source, operations) in job()) {
        let adaptors = demo();
        let options = CompileOptions { name: None, adaptors: &adaptors, ignore: &[] };
        let compiled = compile(&source, &options).unwrap();
        prop_assert_eq!(compiled.operations.len(), operations);
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, &compiled.code, SourceType::mjs()).parse();
        prop_assert!(parsed.diagnostics.is_empty(), "{}", compiled.code);
        let Some(Statement::ExportDefaultDeclaration(export)) = parsed.program.body.last() else {
            panic!("the default export is not last: {}", compiled.code);
        };
        let ExportDefaultDeclarationKind::ArrayExpression(array) = &export.declaration else {
            panic!("the default export is not an array: {}", compiled.code);
        };
        prop_assert_eq!(array.elements.len(), operations);
        let map = Map::parse(&compiled.source_map);
        let lines: Vec<&str> = map.sources_content.split('\n').collect();
        for (element, operation) in array.elements.iter().zip(&compiled.operations) {
            let ArrayExpressionElement::CallExpression(call) = element else {
                panic!("an element is no call: {}", compiled.code);
            };
            let start = match call.arguments.first() {
                Some(Argument::CallExpression(deferred)) if operation.line == -1 => deferred.span.start,
                _ => call.span.start,
            };
            let (line, column) = position(&compiled.code, start);
            // A call that begins with an added function has its first mapping behind it.
            let Some((source_line, source_column)) = map.lookup(line, column) else { continue };
            if operation.line != -1 {
                prop_assert_eq!(i64::from(source_line) + 1, operation.line);
            }
            let source_text: Vec<u16> = lines[source_line as usize].encode_utf16().collect();
            let code_line: Vec<u16> = compiled.code.split('\n').nth(line as usize).unwrap().encode_utf16().collect();
            prop_assert_eq!(source_text[source_column as usize], code_line[column as usize]);
        }
    }

    #[test]
    fn every_mapping_joins_equal_characters((source, _) in job()) {
        let compiled = compile(&source, &CompileOptions::default()).unwrap();
        let map = Map::parse(&compiled.source_map);
        let utf16 = |text: &str| -> Vec<Vec<u16>> { text.split('\n').map(|line| line.encode_utf16().collect()).collect() };
        let (generated, original) = (utf16(&compiled.code), utf16(&map.sources_content));
        for [line, column, source_line, source_column] in &map.mappings {
            prop_assert_eq!(
                generated[*line as usize][*column as usize],
                original[*source_line as usize][*source_column as usize]
            );
        }
    }

    #[test]
    fn compiling_does_not_depend_on_what_was_compiled_before((source, _) in job()) {
        let first = compile(&source, &CompileOptions::default()).unwrap();
        let second = compile(&source, &CompileOptions::default()).unwrap();
        prop_assert_eq!(first.code, second.code);
        prop_assert_eq!(first.source_map, second.source_map);
    }
}

/// Tokens with comments that look like code between them, and where the comments are.
fn commented() -> impl Strategy<Value = (String, Vec<Range<usize>>)> {
    let token = select(vec![
        "fn", "(", ")", "{", "}", "[", "]", "=>", "=", ",", ";", ":", ".", "...", "??", "||", "?.",
        "const", "let", "async", "await", "try", "catch", "new", "delete", "import", "export",
        "as", "from", "default", "class", "a", "b", "1", "'t'", "return", "break", "get", "super",
        "yield", "function", "throw", "case", "switch", "if", "#p", "@",
    ]);
    let comment = select(vec![
        "",
        "/* = */",
        "/* ( */",
        "/* ) => */",
        "/* try as async */",
        "/*.*/",
        "// let\n",
        "// { from\n",
        "/* } default\n , */",
    ]);
    vec((token, comment), 1..14).prop_map(|tokens| {
        let mut source = String::new();
        let mut comments = Vec::new();
        for (token, comment) in tokens {
            source.push_str(token);
            source.push(' ');
            comments.push(source.len()..source.len() + comment.len());
            source.push_str(comment);
            source.push(' ');
        }
        (source, comments)
    })
}

/// Pieces of which sources are made that mostly do not parse.
const PIECES: [&str; 70] = [
    "get(",
    "fn(",
    ")",
    "(",
    "[",
    "]",
    "{",
    "}",
    ";",
    ",",
    ".",
    "=>",
    "=",
    "+",
    "/",
    "*",
    "$",
    "$.x",
    "$.f()",
    "$['k']",
    "?.",
    "??",
    "?",
    ":",
    "...",
    ".then(",
    ".catch(",
    ".finally(",
    "state",
    "state.",
    "p",
    "_defer",
    "x",
    "'",
    "\"",
    "`",
    "${",
    "\\",
    "\\u{",
    "\n",
    "\r\n",
    "\t",
    "\u{2028}",
    "\u{feff}",
    "😀",
    "é",
    "1",
    "0x",
    "1n",
    "//",
    "/*",
    "*/",
    "<!--",
    "#x",
    "@",
    "const ",
    "import x from 'y';",
    "export default ",
    "export ",
    "class A ",
    "function f",
    "async ",
    "await ",
    "return ",
    "if (x) ",
    "else ",
    "for (",
    "try ",
    "new ",
    "yield ",
];

/// Compiles a source that may be anything, and checks that the answer makes sense.
fn check_any(source: &str) -> Result<(), TestCaseError> {
    let unlisted = [Adaptor {
        name: "any".to_owned(),
        exports: Vec::new(),
        export_all: true,
    }];
    let options = CompileOptions {
        name: None,
        adaptors: &unlisted,
        ignore: &[],
    };
    match compile(source, &options) {
        Ok(compiled) => {
            let allocator = Allocator::default();
            let parsed = Parser::new(&allocator, &compiled.code, SourceType::mjs()).parse();
            // The reference takes `<!--` for operators, and so do we; our parser refuses it in a module.
            let mut refused = parsed.diagnostics.iter().filter(|diagnostic| {
                !diagnostic
                    .message
                    .starts_with("HTML comments are not allowed")
            });
            prop_assert!(
                refused.next().is_none(),
                "{source:?} gave {}",
                compiled.code
            );
        }
        Err(error) => {
            // A panic is caught and becomes one of these.
            prop_assert!(
                !matches!(error, CompileError::Internal { .. }),
                "{source:?}: {error}"
            );
            if let Some(at) = error.position() {
                let lines = source.split(['\n', '\r', '\u{2028}', '\u{2029}']).count();
                prop_assert!(
                    at.line >= 1 && at.line as usize <= lines,
                    "{source:?}: {error}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    // COMPILER_TEST_CASES=1000000 cargo test --release -p compiler --test properties source_gives
    #![proptest_config(cases(3_000))]

    #[test]
    fn any_source_gives_a_module_or_an_error_inside_the_source(pieces in vec(select(&PIECES[..]), 0..24)) {
        check_any(&pieces.concat())?;
    }

    #[test]
    fn an_error_is_never_inside_a_comment((source, comments) in commented()) {
        let error = compile(&source, &CompileOptions::default()).err();
        if let Some(at) = error.as_ref().and_then(CompileError::position) {
            let lines = source.split_inclusive('\n').take(at.line as usize - 1);
            let offset = lines.map(str::len).sum::<usize>() + at.column as usize;
            for comment in comments {
                // Where a comment begins, the token before it ends.
                prop_assert!(offset <= comment.start || offset >= comment.end, "{source:?}: {error:?}");
            }
        }
    }

    #[test]
    fn a_damaged_source_gives_a_module_or_an_error_inside_the_source(
        ((source, _), from, length, piece) in (job(), any::<Index>(), 0..12_usize, select(&PIECES[..])),
    ) {
        let from = source.floor_char_boundary(from.index(source.len() + 1));
        let to = source.ceil_char_boundary(source.len().min(from + length));
        check_any(&format!("{}{piece}{}", &source[..from], &source[to..]))?;
    }
}

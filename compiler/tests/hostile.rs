//! Sources made to break a compiler: each gives a result or an error.

use std::fmt::Write;

use compiler::{
    Adaptor, CompileError, CompileOptions, Compiled, MAX_DEPTH, MAX_SOURCE_BYTES, compile,
    compile_bytes,
};

fn compile_any(source: &str) -> Result<Compiled, CompileError> {
    let adaptors = [Adaptor {
        name: "any".to_owned(),
        exports: Vec::new(),
        export_all: true,
    }];
    compile(
        source,
        &CompileOptions {
            name: None,
            adaptors: &adaptors,
            ignore: &[],
        },
    )
}

/// Ways to nest: what opens a level, what stands inside, what closes it.
const NESTS: [(&str, &str, &str); 38] = [
    ("(", "1", ")"),
    ("[", "1", "]"),
    ("f(", "1", ")"),
    ("a[", "1", "]"),
    ("({a:", "1", "})"),
    ("{", "", "}"),
    ("a=>", "1", ""),
    ("(a=", "1", ")"),
    ("(a)=>(", "1", ")"),
    ("()=>{", "", "}"),
    ("(function(){", "", "})"),
    ("(class{a=", "1", "})"),
    ("class A extends ", "B", "{}"),
    ("!", "1", ""),
    ("new ", "a", ""),
    ("await ", "a", ""),
    ("a+", "a", ""),
    ("a**", "a", ""),
    ("a=", "a", ""),
    ("a?b:", "a", ""),
    ("a?", "a", ":b"),
    ("a.", "a", ""),
    ("a?.", "a", ""),
    ("if(a)", "b", ""),
    ("if(a){}else ", "b", ""),
    ("for(;;)", "b", ""),
    ("do ", "b;", "while(a);"),
    ("`${", "1", "}`"),
    ("tag`${", "1", "}`"),
    ("let [", "a", "]=1;"),
    ("[", "a", "]=1;"),
    ("f({a:$.x,b:", "1", "})"),
    ("$.f(", "1", ")"),
    ("f().then(", "1", ")"),
    ("f(", "$.x", ")"),
    ("import(", "1", ")"),
    ("async(", "1", ")"),
    ("f(/", "(", "/)"),
];

fn nested(&(open, inside, close): &(&str, &str, &str), levels: usize) -> String {
    format!("{}{inside}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn a_hundred_thousand_levels_are_refused() {
    for nest in &NESTS {
        let result = compile_any(&nested(nest, 100_000));
        assert!(
            matches!(result, Err(CompileError::TooDeep { limit: MAX_DEPTH })),
            "{nest:?}: {:?}",
            result.map(|compiled| compiled.code.len())
        );
    }
}

#[test]
fn as_many_levels_as_are_allowed_do_not_overflow_the_stack() {
    for nest in &NESTS {
        // Each way to nest counts for one to six levels, so that one of these is just allowed.
        for levels in [800, 1_200, 1_600, 2_400, 4_900] {
            // Either is right: what counts is that it ends.
            drop(compile_any(&nested(nest, levels)));
        }
    }
}

#[test]
fn long_chains_are_no_deeper_than_allowed() {
    for (link, count) in [
        (".then(a)", 1_000),
        ("(1)", 2_000),
        ("[0]", 2_000),
        (" + 1", 4_000),
    ] {
        compile_any(&format!("f(){}", link.repeat(count))).unwrap();
        assert!(compile_any(&format!("f(){}", link.repeat(100_000))).is_err());
    }
}

#[test]
fn unterminated_text_of_all_kinds_is_an_error() {
    for open in [
        "`",
        "`${",
        "`${`${",
        "'",
        "\"",
        "/*",
        "/a",
        "fn(`",
        "fn(s => {",
        "f(/[",
        "'\\",
        "`\\",
        "\\u{",
    ] {
        let source = format!("fn(s => s);\n{open}");
        assert!(compile_any(&source).is_err(), "{open}");
        let long = format!("fn(s => s);\n{}", open.repeat(1_001));
        assert!(compile_any(&long).is_err(), "{open} many times");
    }
}

#[test]
fn a_malformed_escape_is_reported_where_it_is_also_in_a_long_job() {
    let tail = "fn(state => state);\n".repeat(1_000);
    for (line, expected) in [
        ("get('\\u12');", "Bad character escape sequence (2:7)"),
        (
            "get(\\x);",
            "Expecting Unicode escape sequence \\uXXXX (2:5)",
        ),
    ] {
        let short = format!("fn(s => s);\r\n{line}\n");
        let long = format!("{short}{tail}");
        for source in [short, long] {
            assert_eq!(compile_any(&source).unwrap_err().to_string(), expected);
        }
    }
}

#[test]
fn a_wrong_regular_expression_after_a_line_separator_is_an_error() {
    let error = compile_any("\u{2028}get(/]*/get(").unwrap_err();
    assert_eq!(error.name(), "SyntaxError", "{error}");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let options = CompileOptions::default();
    let error = compile_bytes(b"fn(s => s);\nget('\xff');", &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the job is not valid UTF-8: bad byte at offset 17 (2:5)"
    );
    assert!(compile_bytes(b"\xe2\x82", &options).is_err());
    assert_eq!(
        compile_bytes(b"fn(1)", &options).unwrap().operations.len(),
        1
    );
    assert!(compile_bytes(&[0; 64], &options).is_err());
}

#[test]
fn a_source_that_is_too_long_is_refused() {
    let source = " ".repeat(MAX_SOURCE_BYTES + 1);
    assert!(matches!(
        compile_any(&source),
        Err(CompileError::TooLong { .. })
    ));
    assert!(matches!(
        compile_bytes(source.as_bytes(), &CompileOptions::default()),
        Err(CompileError::TooLong { .. })
    ));
}

#[test]
fn a_job_of_five_megabytes_compiles() {
    let mut source = String::new();
    while source.len() < 5_000_000 {
        let number = source.len();
        writeln!(
            source,
            "// step {number}\nfn(state => {{\n  const rows = state.data.map(row => ({{ ...row, id: `${{row.id}}-{number}` }}));\n  return {{ ...state, rows }};\n}});\npost('/rows/{number}', $.rows).then(state => state);"
        )
        .unwrap();
    }
    let compiled = compile_any(&source).unwrap();
    assert_eq!(
        compiled.operations.len(),
        source.matches("// step").count() * 2
    );
}

#[test]
fn a_job_of_one_line_of_a_megabyte_compiles() {
    let source = "get($.a).catch('é').then(b);".repeat(36_000);
    assert_eq!(compile_any(&source).unwrap().operations.len(), 36_000);
    let text = format!("fn('{}');", "x".repeat(1_000_000));
    assert_eq!(compile_any(&text).unwrap().operations.len(), 1);
}

#[test]
fn a_million_operations_compile() {
    let compiled = compile(
        "a()\n".repeat(1_000_000).as_str(),
        &CompileOptions::default(),
    )
    .unwrap();
    assert_eq!(compiled.operations.len(), 1_000_000);
    assert_eq!(compiled.operations[999_999].line, 1_000_000);
}

#[test]
fn many_references_in_one_function_are_looked_up_in_time() {
    let body = "get($.x); ".repeat(20_000);
    compile_any(&format!("fn(state => {{ {body} }});")).unwrap();
    let deep = format!(
        "{}{}{}",
        "f([".repeat(300),
        "$.x,".repeat(20_000),
        "])".repeat(300)
    );
    compile_any(&deep).unwrap();
}

#[test]
fn brackets_that_could_be_parameters_again_and_again_are_refused() {
    let group = format!("{}1{};\n", "(a=".repeat(1_600), ")".repeat(1_600));
    assert!(matches!(
        compile_any(&group.repeat(100)),
        Err(CompileError::TooDeep { .. })
    ));
}

//! What counts as nesting, and what must not.

use super::*;

fn depth(text: &str) -> u32 {
    measure(text).depth
}

#[test]
fn each_kind_of_nesting_counts() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("f(", ")"),
        ("({a:", "})"),
        ("{", "}"),
        ("a=>", ""),
        ("()=>{", "}"),
        ("(function(){", "})"),
        ("class A extends ", "{}"),
        ("class A\nextends ", "{}"),
        ("!", ""),
        ("- ", ""),
        ("new ", ""),
        ("typeof ", ""),
        ("await ", ""),
        ("a+", ""),
        ("a**", ""),
        ("a=", ""),
        ("a?b:", ""),
        ("a?", ":b"),
        ("a.", ""),
        ("a?.", ""),
        ("if(a)", ""),
        ("if(a)\n", ""),
        ("if(a);else ", ""),
        ("if(a){}else ", ""),
        ("for(;;)", ""),
        ("do ", ";while(a);"),
        ("a:", ""),
        ("`${", "}`"),
        ("x\n++\n{", "}"),
        ("if(a)b,c=>", ""),
    ] {
        let text = format!("{}x{}", open.repeat(1000), close.repeat(1000));
        assert!(depth(&text) >= 1000, "{open}: {}", depth(&text));
    }
    for tail in ["()", "[0]", "``", ".then(a)"] {
        assert!(depth(&format!("f{}", tail.repeat(1000))) >= 1000, "{tail}");
    }
    assert!(depth(&format!("/{}{}/", "(".repeat(1000), ")".repeat(1000))) >= 1000);
}

#[test]
fn statements_and_elements_side_by_side_do_not_count() {
    for line in [
        "get('/a', { b: state.c.d, e: [1, 2] });\n",
        "get('/a')\n",
        "fn(state => {\n  return state\n})\n",
        "if (a) { b() } else { c() }\n",
        "function f() { return 1 }",
        "class A { a() {} b() {} static c = 1\n d\n }\n",
        "const a = b ? c : d\n",
        "x = y / 2\n",
        "fn(s => s.replace(/[)'\"]/g, ''))\n",
        "`a${b}c`;\n",
        ";[1].map(a);(b)()\n",
        "// don't\n",
        "/* ( */ '(' \"(\"\n;",
        "for (const a of b) { if (a) continue }\n",
        "switch (a) { case 1: case 2: b(); break; default: c() }\n",
    ] {
        let text = line.repeat(2000);
        assert!(depth(&text) < 40, "{line}: {}", depth(&text));
    }
    let table = format!(
        "const t = {{ {} }}; f([{}])",
        "a: b.c, ".repeat(2000),
        "1 + 2, ".repeat(2000)
    );
    assert!(depth(&table) < 40);
}

#[test]
fn nesting_cannot_be_hidden_in_what_looks_like_text() {
    let open = "(".repeat(1000);
    for text in [
        format!("if (x) /`/.y; {open}"),
        format!("x = a / '`' / {open}"),
        format!("`${{ '}}' + {open}"),
        format!("({{ if: 1, a: (b) / ' / ' + {open}"),
        format!("let of = 1; of / '/' + {open}"),
        format!("for (const a of /`/.b) {open}"),
        format!("\\\"({open}"),
        format!("a\\u{{'({open}"),
        format!("'\\u{{' + {open}"),
        format!("'\\\n' + {open}"),
    ] {
        assert!(depth(&text) >= 1000, "{text}");
    }
}

#[test]
fn a_slash_that_can_be_read_in_two_ways_is_not_guessed() {
    assert_eq!(depth("{} /'/ + 1 /'/"), u32::MAX);
    assert!(depth("{} /abc/.test(x)") < 10);
    assert!(depth("{} / 2") < 10);
}

#[test]
fn brackets_that_could_be_parameters_are_weighed_with_their_content() {
    let text = format!("{}1{}", "(a=".repeat(100), ")".repeat(100));
    assert!(measure(&text).rereading > 10_000);
    assert!(measure(&"fn((state) => { return state });\n".repeat(100)).rereading < 1_000);
}

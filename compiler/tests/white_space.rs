//! Which characters may stand between tokens: those that are white space for JavaScript.

use compiler::{CompileOptions, compile};
use oxc::syntax::identifier::is_identifier_part;

/// White space and line ends beyond ASCII, as ECMAScript lists them.
const WHITE_SPACE: [char; 20] = [
    '\u{a0}', '\u{1680}', '\u{2000}', '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}', '\u{2005}',
    '\u{2006}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{200a}', '\u{2028}', '\u{2029}', '\u{202f}',
    '\u{205f}', '\u{3000}', '\u{feff}', '\u{c}',
];

/// Characters that are white space, or look like it, or are often pasted with a job.
fn candidates() -> impl Iterator<Item = char> {
    ('\0'..='\u{1f}')
        .chain('\u{7f}'..='\u{ff}')
        .chain('\u{1680}'..='\u{1680}')
        .chain('\u{180b}'..='\u{180f}')
        .chain('\u{2000}'..='\u{206f}')
        .chain('\u{3000}'..='\u{3002}')
        .chain('\u{fff0}'..='\u{ffff}')
        .chain(['\u{feff}', '\u{e0001}', '😀'])
        .filter(|character| !is_identifier_part(*character))
}

fn error(source: &str) -> Option<String> {
    let compiled = compile(source, &CompileOptions::default());
    compiled.err().map(|error| error.to_string())
}

#[test]
fn white_space_of_javascript_may_stand_between_tokens_and_nothing_else() {
    for character in candidates() {
        let is_allowed =
            WHITE_SPACE.contains(&character) || matches!(character, '\t' | '\n' | '\u{b}' | '\r');
        let refused = |place: &str| {
            (!is_allowed).then(|| format!("Unexpected character '{character}' ({place})"))
        };
        for (source, place) in [
            (format!("get(1){character};"), "1:6"),
            (format!("fn(s =>{character}s);"), "1:7"),
            (format!("fn(1);\n{character}fn(2)"), "2:0"),
            (format!("fn(1){character}"), "1:5"),
        ] {
            assert_eq!(error(&source), refused(place), "{source:?}");
        }
    }
}

#[test]
fn any_character_may_stand_inside_texts_and_comments() {
    for character in candidates().filter(|character| *character != '\n' && *character != '\r') {
        let is_line_end = matches!(character, '\u{2028}' | '\u{2029}');
        let mut sources = vec![
            format!("fn('a{character}b', \"{character}\", `{character}${{a}}{character}`);"),
            format!("fn(1); /* {character} */ fn(2);"),
        ];
        if !is_line_end {
            sources.push(format!("fn(/a{character}b/g); // {character}"));
        }
        for source in sources {
            assert_eq!(error(&source), None, "{source:?}");
        }
    }
}

//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use oxc::{
    allocator::Allocator,
    ast::ast::{ImportDeclarationSpecifier, Statement},
    codegen::{Codegen, CodegenOptions, CommentOptions},
    parser::{ParseOptions, Parser},
    span::SourceType,
};

/// A module in a form that is the same for all layouts: parsed, without parentheses, comments and
/// blank statements, import names sorted, printed again.
///
/// Panics when the text is not a module.
pub(crate) fn normal_form(code: &str) -> String {
    let allocator = Allocator::default();
    let options = ParseOptions {
        preserve_parens: false,
        ..ParseOptions::default()
    };
    // Our parser takes this for a comment at the start of a line; in a module it is three operators.
    let code = &code.replace("\n<!--", "\n<~--");
    let parsed = Parser::new(&allocator, code, SourceType::mjs())
        .with_options(options)
        .parse();
    assert!(parsed.diagnostics.is_empty(), "not a module: {code}");
    let mut program = parsed.program;
    program
        .body
        .retain(|statement| !matches!(statement, Statement::EmptyStatement(_)));
    for statement in &mut program.body {
        if let Statement::ImportDeclaration(import) = statement
            && let Some(specifiers) = &mut import.specifiers
        {
            specifiers.sort_by_key(|specifier| match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(specifier) => {
                    specifier.imported.name().to_string()
                }
                _ => String::new(),
            });
        }
    }
    let options = CodegenOptions {
        comments: CommentOptions::disabled(),
        ..CodegenOptions::default()
    };
    Codegen::new().with_options(options).build(&program).code
}

/// A fixture: sections that begin with a line `=== name`.
pub(crate) struct Fixture {
    sections: Vec<(String, String)>,
}

impl Fixture {
    pub(crate) fn parse(text: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.split('\n') {
            if let Some(name) = line.strip_prefix("=== ") {
                sections.push((name.to_owned(), String::new()));
            } else if let Some((_, body)) = sections.last_mut() {
                body.push_str(line);
                body.push('\n');
            }
        }
        for (_, body) in &mut sections {
            // The line break before the next section, and the one at the end of the file.
            body.truncate(body.trim_end_matches('\n').len());
        }
        Self { sections }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut sections = self.sections.iter();
        sections
            .find(|(other, _)| other == name)
            .map(|(_, body)| body.as_str())
    }

    /// The job's text, also where it is written as a JSON string.
    pub(crate) fn source(&self) -> String {
        match self.get("source (JSON string)") {
            Some(json) => serde_json::from_str(json).expect("a JSON string"),
            None => self.get("source").expect("a source section").to_owned(),
        }
    }
}

/// A source map as the runtime's library reads it.
pub(crate) struct Map {
    pub(crate) sources_content: String,
    /// Generated line and column, source line and column, all from 0.
    pub(crate) mappings: Vec<[u32; 4]>,
}

impl Map {
    pub(crate) fn parse(json: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(json).expect("a source map is JSON");
        assert_eq!(value["version"], 3);
        Self {
            sources_content: value["sourcesContent"][0]
                .as_str()
                .expect("text")
                .to_owned(),
            mappings: decode(value["mappings"].as_str().expect("text")),
        }
    }

    /// The source line and column of the last mapping at or before a generated position.
    pub(crate) fn lookup(&self, line: u32, column: u32) -> Option<(u32, u32)> {
        let end = self
            .mappings
            .partition_point(|m| (m[0], m[1]) <= (line, column));
        let mapping = self.mappings[..end].last()?;
        (mapping[0] == line).then_some((mapping[2], mapping[3]))
    }
}

fn decode(mappings: &str) -> Vec<[u32; 4]> {
    let mut decoded = Vec::new();
    let (mut source, mut source_line, mut source_column) = (0_i64, 0_i64, 0_i64);
    for (line, segments) in mappings.split(';').enumerate() {
        let mut column = 0_i64;
        for segment in segments.split(',').filter(|segment| !segment.is_empty()) {
            let fields = vlq(segment);
            assert_eq!(fields.len(), 4, "each mapping has a source position");
            column += fields[0];
            source += fields[1];
            source_line += fields[2];
            source_column += fields[3];
            assert_eq!(source, 0, "there is one source");
            decoded.push(
                [line as i64, column, source_line, source_column]
                    .map(|field| u32::try_from(field).expect("positive")),
            );
        }
    }
    decoded
}

fn vlq(text: &str) -> Vec<i64> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = Vec::new();
    let (mut value, mut shift) = (0_i64, 0);
    for character in text.chars() {
        let digit = DIGITS.find(character).expect("a base-64 digit") as i64;
        value |= (digit & 31) << shift;
        shift += 5;
        if digit & 32 == 0 {
            values.push(if value & 1 == 1 {
                -(value >> 1)
            } else {
                value >> 1
            });
            (value, shift) = (0, 0);
        }
    }
    values
}

//! Compiling many jobs over a pair of pipes: one JSON object a line in, one a line out.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::{Adaptor, CompileError, CompileOptions, Compiled, Operation, compile};

/// The longest line that is read. A longer one is skipped and answered with an error.
const MAX_LINE_BYTES: usize = 4 * crate::MAX_SOURCE_BYTES;

/// A job to compile: `{"name","source","adaptors":[{"name","exports","exportAll"}]}`.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(default)]
    name: Option<String>,
    source: String,
    #[serde(default)]
    adaptors: Option<Vec<RequestAdaptor>>,
    #[serde(default)]
    ignore: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestAdaptor {
    name: String,
    #[serde(default)]
    exports: Option<Vec<String>>,
    #[serde(default)]
    export_all: Option<bool>,
}

/// What is read of a line that is no job, so that its answer can be told from others.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// What became of it: `{"name","code","operations","error":{"type","message"}|null}`.
#[derive(Debug, Serialize)]
struct Response {
    name: Option<String>,
    code: Option<String>,
    operations: Vec<Operation>,
    error: Option<ResponseError>,
}

#[derive(Debug, Serialize)]
struct ResponseError {
    r#type: &'static str,
    message: String,
}

/// Compiles each line of `reader` and writes one line for it to `writer`, in the same order.
///
/// A line that is not a request gets an answer with the error type `InputError`, and with its name
/// if it has one; then the next line is read. Blank lines are skipped.
///
/// # Errors
///
/// Only those of the reader and the writer.
pub fn run(mut reader: impl BufRead, mut writer: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        let response = match read_line(&mut reader, &mut line, MAX_LINE_BYTES)? {
            Line::End => break,
            Line::Whole if line.trim_ascii().is_empty() => continue,
            Line::Whole => answer(number, &line),
            Line::TooLong => input_error(
                None,
                format!("line {number} is longer than {MAX_LINE_BYTES} bytes"),
            ),
        };
        serde_json::to_writer(&mut writer, &response)?;
        writer.write_all(b"\n")?;
        // The other side may wait for this answer before it sends the next job.
        writer.flush()?;
    }
    Ok(())
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads up to the next line break, keeping at most `limit` bytes.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> io::Result<Line> {
    line.clear();
    let mut read_any = false;
    let mut too_long = false;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        read_any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        too_long |= line.len() + piece.len() > limit;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(piece);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(match (read_any, too_long) {
        (false, _) => Line::End,
        (true, false) => Line::Whole,
        (true, true) => Line::TooLong,
    })
}

fn answer(number: u64, line: &[u8]) -> Response {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            let name = serde_json::from_slice::<Named>(line).map(|named| named.name);
            return input_error(
                name.ok(),
                format!(
                    "line {number} is not a job to compile: {}",
                    without_line(&error)
                ),
            );
        }
    };
    let adaptors = request.adaptors.unwrap_or_default();
    let adaptors: Vec<Adaptor> = adaptors.into_iter().map(Adaptor::from).collect();
    let compiled = compile(
        &request.source,
        &CompileOptions {
            name: request.name.as_deref(),
            adaptors: &adaptors,
            ignore: &request.ignore.unwrap_or_default(),
        },
    );
    respond(request.name, compiled)
}

/// What is wrong with a line; the reader of JSON numbers the lines of each text from 1.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}

fn respond(name: Option<String>, compiled: Result<Compiled, CompileError>) -> Response {
    match compiled {
        Ok(compiled) => Response {
            name,
            code: Some(compiled.code),
            operations: compiled.operations,
            error: None,
        },
        Err(error) => Response {
            name,
            code: None,
            operations: Vec::new(),
            error: Some(ResponseError {
                r#type: error.name(),
                message: error.to_string(),
            }),
        },
    }
}

fn input_error(name: Option<String>, message: String) -> Response {
    Response {
        name,
        code: None,
        operations: Vec::new(),
        error: Some(ResponseError {
            r#type: "InputError",
            message,
        }),
    }
}

impl From<RequestAdaptor> for Adaptor {
    fn from(adaptor: RequestAdaptor) -> Self {
        Self {
            name: adaptor.name,
            exports: adaptor.exports.unwrap_or_default(),
            export_all: adaptor.export_all.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::{Value, json};

    use super::*;

    fn answers(input: &[u8]) -> Vec<Value> {
        let mut output = Vec::new();
        run(input, &mut output).unwrap();
        output
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn each_line_is_answered_in_order() {
        let input = concat!(
            r#"{"name":"a","source":"fn(s => s)","adaptors":[{"name":"x","exports":["fn"],"exportAll":true}]}"#,
            "\n\n",
            r#"{"source":"fn("}"#,
        );
        let answers = answers(input.as_bytes());
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0]["name"], "a");
        assert_eq!(
            answers[0]["operations"],
            json!([{"name": "fn", "line": 1, "order": 1}])
        );
        assert_eq!(answers[0]["error"], Value::Null);
        assert_eq!(
            answers[1],
            json!({
                "name": null,
                "code": null,
                "operations": [],
                "error": {"type": "SyntaxError", "message": "Unexpected token (1:3)"},
            })
        );
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_and_the_next_one_is_compiled() {
        let answers = answers(b"nonsense\n\xff\xfe\n{\"source\":\"\"}\n");
        assert_eq!(answers[0]["error"]["type"], "InputError");
        assert_eq!(answers[1]["error"]["type"], "InputError");
        assert_eq!(
            answers[0]["error"]["message"],
            "line 1 is not a job to compile: expected ident at column 2"
        );
        assert_eq!(answers[2]["code"], "export default [];\n");
    }

    #[test]
    fn the_name_comes_back_also_for_a_line_that_has_no_source() {
        let answers =
            answers(b"{\"name\":\"a\"}\n{\"name\":\"b\",\"source\":\"f(\",\"adaptors\":null}\n");
        let seen: Vec<_> = answers
            .iter()
            .map(|answer| (&answer["name"], &answer["error"]["type"]))
            .collect();
        assert_eq!(
            seen,
            [
                (&json!("a"), &json!("InputError")),
                (&json!("b"), &json!("SyntaxError")),
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_while_it_is_read() {
        let mut line = Vec::new();
        let mut reader = io::Cursor::new(vec![b'x'; 100]).chain(&b"\n{}\n"[..]);
        assert!(matches!(
            read_line(&mut reader, &mut line, 99).unwrap(),
            Line::TooLong
        ));
        assert!(line.is_empty());
        assert!(matches!(
            read_line(&mut reader, &mut line, 99).unwrap(),
            Line::Whole
        ));
        assert_eq!(line, b"{}");
    }
}

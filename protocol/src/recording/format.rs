//! The lines of a recording: a header, then one record a line.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lightning::Timestamp;

/// The version of this format. A reader takes no other.
pub const VERSION: u32 = 1;

/// The [`Loss::why`] of a socket that the worker has closed because it ends.
pub const CLOSED_BY_WORKER: &str = "the worker closed the connection";

/// The first line of each file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The [`VERSION`] of the format.
    pub recording: u32,
    /// The version of the worker.
    pub worker: String,
    /// When the file was begun.
    pub time: Timestamp,
    /// 1 for the first file of a process, then one more each time a file was full.
    pub part: u32,
    /// Whether dataclips and log texts are in it.
    pub data: bool,
    /// The settings that decide what the worker says, by their keys; never a secret.
    pub settings: IndexMap<String, String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it happened, by the worker's clock.
    pub time: Timestamp,
    /// On which socket: they are numbered in the order in which they were opened. 0 where there is none.
    pub socket: u64,
    /// The frame, or what became of the socket.
    pub what: What,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The socket was opened.
    Opened,
    /// A socket could not be opened, and why.
    NotOpened(String),
    /// The socket has ended.
    Lost(Loss),
    /// The worker sent a text frame.
    Out(String),
    /// Lightning sent a frame.
    In(Message),
    /// So many records are missing here, because the disk was too slow.
    Dropped(u64),
}

/// A frame of Lightning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, normally JSON.
    Text(String),
    /// A binary frame, which is base64 in the file.
    Binary(Bytes),
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Why, in the words of the worker's log.
    pub why: String,
    /// The code of Lightning's close frame, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// A line as it is written: of the optional fields, one is there.
#[derive(Default, Serialize, Deserialize)]
struct Line<'a> {
    t: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    socket: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    opened: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_opened: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<Cow<'a, Loss>>,
    /// A frame that is JSON stands in its line as it is, so that tools can look into it.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    out: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_text: Option<Cow<'a, str>>,
    #[serde(
        default,
        borrow,
        rename = "in",
        skip_serializing_if = "Option::is_none"
    )]
    incoming: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_binary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A text that is JSON on one line, as it is.
fn as_json(text: &str) -> Option<&RawValue> {
    if text.contains(['\n', '\r']) {
        return None;
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    (raw.get().len() == text.len()).then_some(raw)
}

impl Header {
    /// The line, with its line break.
    ///
    /// # Errors
    /// None in practice: texts and numbers can always be written to memory.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

impl Record {
    /// The line, with its line break.
    ///
    /// # Errors
    /// None in practice: texts and numbers can always be written to memory.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        let mut line = Line {
            t: self.time.as_micros(),
            socket: self.socket,
            ..Line::default()
        };
        match &self.what {
            What::Opened => line.opened = true,
            What::NotOpened(why) => line.not_opened = Some(why.into()),
            What::Lost(loss) => line.lost = Some(Cow::Borrowed(loss)),
            What::Out(text) => match as_json(text) {
                Some(json) => line.out = Some(json),
                None => line.out_text = Some(text.into()),
            },
            What::In(Message::Text(text)) => match as_json(text) {
                Some(json) => line.incoming = Some(json),
                None => line.in_text = Some(text.into()),
            },
            What::In(Message::Binary(bytes)) => line.in_binary = Some(STANDARD.encode(bytes)),
            What::Dropped(count) => line.dropped = Some(*count),
        }
        serde_json::to_string(&line).map(|line| line + "\n")
    }

    fn read(text: &str) -> Result<Self, LineError> {
        let line: Line<'_> = serde_json::from_str(text)?;
        let text = |json: Option<&RawValue>, text: Option<Cow<'_, str>>| {
            json.map(|json| json.get().to_owned())
                .or(text.map(Cow::into_owned))
        };
        let what = if let Some(frame) = text(line.out, line.out_text) {
            What::Out(frame)
        } else if let Some(frame) = text(line.incoming, line.in_text) {
            What::In(Message::Text(frame))
        } else if let Some(base64) = line.in_binary {
            let bytes = STANDARD.decode(base64)?;
            What::In(Message::Binary(bytes.into()))
        } else if let Some(loss) = line.lost {
            What::Lost(loss.into_owned())
        } else if let Some(why) = line.not_opened {
            What::NotOpened(why.into_owned())
        } else if let Some(count) = line.dropped {
            What::Dropped(count)
        } else if line.opened {
            What::Opened
        } else {
            return Err(LineError::Unknown);
        };
        Ok(Self {
            time: Timestamp::from_micros(line.t),
            socket: line.socket,
            what,
        })
    }
}

/// A recording that was read.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The header of the first file; those that it was rotated into repeat it.
    pub header: Header,
    /// All records, in the order of their times.
    pub records: Vec<Record>,
}

/// A line that is no record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON, or of another shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A binary frame is no base64.
    #[error(transparent)]
    Base64(#[from] base64::DecodeError),
    /// It has none of the keys that records have.
    #[error("it says nothing that is known")]
    Unknown,
}

/// A text that is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The first line is no header.
    #[error("it is no recording: its first line is no header ({0})")]
    Header(serde_json::Error),
    /// It is of another version.
    #[error("it is of version {0} of the format; this worker reads version {VERSION}")]
    Version(u32),
    /// There is not even a header.
    #[error("it is empty")]
    Empty,
    /// A line that cannot be read.
    #[error("line {line} cannot be read: {why}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        why: LineError,
    },
}

/// Reads a recording: the files of one process, one after the other. The last line may have been cut off.
///
/// # Errors
/// [`RecordingError`], with the line that is wrong.
pub fn read(text: &str) -> Result<Recording, RecordingError> {
    #[derive(Deserialize)]
    struct Version {
        recording: u32,
    }
    let mut header: Option<Header> = None;
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if let Ok(Version { recording }) = serde_json::from_str(line) {
            if recording != VERSION {
                return Err(RecordingError::Version(recording));
            }
            let read = serde_json::from_str(line).map_err(RecordingError::Header)?;
            header.get_or_insert(read);
            continue;
        }
        if header.is_none() {
            let error = serde_json::from_str::<Header>(line).err();
            return Err(error.map_or(RecordingError::Empty, RecordingError::Header));
        }
        match Record::read(line) {
            Ok(record) => records.push(record),
            Err(_) if lines.peek().is_none() && !text.ends_with('\n') => {}
            Err(why) => {
                return Err(RecordingError::Line {
                    line: index + 1,
                    why,
                });
            }
        }
    }
    let header = header.ok_or(RecordingError::Empty)?;
    Ok(Recording { header, records })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            recording: VERSION,
            worker: "0.1.0".to_owned(),
            time: Timestamp::from_micros(1),
            part: 1,
            data: false,
            settings: IndexMap::from([("batch-logs".to_owned(), "true".to_owned())]),
        }
    }

    fn what() -> impl Strategy<Value = What> {
        prop_oneof![
            Just(What::Opened),
            ".{0,20}".prop_map(What::NotOpened),
            (".{0,20}", any::<Option<u16>>())
                .prop_map(|(why, code)| What::Lost(Loss { why, code })),
            "(\\[1, *2\\])|.{0,20}|\\[\n1\\]".prop_map(What::Out),
            ".{0,20}".prop_map(|text| What::In(Message::Text(text))),
            prop::collection::vec(any::<u8>(), 0..20)
                .prop_map(|bytes| What::In(Message::Binary(bytes.into()))),
            any::<u64>().prop_map(What::Dropped),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec((any::<u64>(), any::<u64>(), what()), 0..9)) {
            let mut text = header().line().unwrap();
            let records: Vec<Record> = all
                .into_iter()
                .map(|(time, socket, what)| Record { time: Timestamp::from_micros(time), socket, what })
                .collect();
            for record in &records {
                text += &record.line().unwrap();
            }
            let read = read(&text).unwrap();
            prop_assert_eq!(read.header, header());
            prop_assert_eq!(read.records, records);
        }
    }

    #[test]
    fn a_frame_stands_in_its_line_as_it_is() {
        let record = Record {
            time: Timestamp::from_micros(5),
            socket: 1,
            what: What::Out(r#"[null,"1","t","e",{}]"#.to_owned()),
        };
        let line = "{\"t\":5,\"socket\":1,\"out\":[null,\"1\",\"t\",\"e\",{}]}\n";
        assert_eq!(record.line().unwrap(), line);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out_and_any_other_is_named() {
        let start = header().line().unwrap() + "{\"t\":1,\"opened\":true}\n";
        assert_eq!(
            read(&(start.clone() + "{\"t\":2,\"out"))
                .unwrap()
                .records
                .len(),
            1
        );
        let error = read(&(start + "{\"t\":2,\"out\n")).unwrap_err().to_string();
        assert!(error.starts_with("line 3 cannot be read"), "{error}");
    }

    #[test]
    fn what_is_no_recording_is_refused_in_words() {
        for (text, words) in [
            ("", "it is empty"),
            ("{}", "no recording"),
            ("{\"recording\":9}", "version 9"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

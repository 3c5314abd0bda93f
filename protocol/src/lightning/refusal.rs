//! What the words of Lightning's error replies mean: read here, once, and nowhere else.
//!
//! Words are matched by substring: the exact envelopes are not known for every version (protocol spec, section 12).

use std::fmt;

use crate::phoenix::{Payload, response_detail};

/// The response of an error reply, and what it is known to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    meaning: RefusalMeaning,
    words: String,
}

/// What Lightning, or its npm mock, says with an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalMeaning {
    /// The topic is not joined on this socket (protocol spec, section 2.1).
    ChannelGone,
    /// The run may not be joined: its token is not valid any more, or there is no such run (protocol spec, section 4.1).
    RunDenied,
    /// The run is not this worker's (protocol spec, section 3.5).
    NotClaimed,
    /// The run has ended already (protocol spec, section 4.10).
    AlreadyEnded,
    /// What was sent is stored already.
    AlreadyThere,
    /// What was sent names something that is not stored.
    Missing(Named),
    /// The output dataclip cannot be stored.
    BadDataclip,
    /// The npm mock wants a dataclip in each `step:complete` (protocol spec, section 11).
    DataclipWanted,
    /// What was sent is too large.
    TooLarge,
    /// What was sent is not valid, and will not be when it is sent again.
    Invalid,
    /// Lightning asks to be asked again later (protocol spec, section 4.4).
    TryLater,
    /// Words that are not known: the cause may pass.
    Unknown,
}

/// What a report names that Lightning must have stored before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The step of a line or of a completion.
    Step,
    /// The input of a step.
    InputDataclip,
    /// The dataclip that a run ends with.
    FinalDataclip,
    /// A dataclip, the words do not say which.
    Dataclip,
}

impl Refusal {
    /// Reads the response of an error reply.
    pub fn from_payload(response: &Payload) -> Self {
        Self::from_words(response_detail(response))
    }

    /// Reads the words of an error reply (protocol spec, section 4.5).
    pub fn from_words(words: impl Into<String>) -> Self {
        let words = words.into();
        Self {
            meaning: meaning(&words.to_lowercase()),
            words,
        }
    }

    /// What is known of it.
    pub fn meaning(&self) -> RefusalMeaning {
        self.meaning
    }

    /// Whether the same may be accepted when it is sent again: Lightning says so, or its words are not known to be for
    /// good.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.meaning,
            RefusalMeaning::TryLater | RefusalMeaning::Unknown
        )
    }
}

/// Lightning's own words.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Why a run may not be joined, by Lightning and by the npm mock (protocol spec, section 4.1).
const RUN_DENIED: [&str; 4] = [
    "unauthorized",
    "not_found",
    "invalid_run_id",
    "invalid_token",
];

/// Validations of Lightning's schemas and handlers, and those of the npm mock (protocol spec, sections 4 and 5).
const INVALID: [&str; 15] = [
    "can't be blank",
    "is invalid",
    "must be",
    "must have",
    "should be",
    "should have",
    "does not exist",
    "not found",
    "no step_id",
    "no job_id",
    "missing property on log",
    "unexpected keys",
    "inconsistent reason",
    "no exit reason",
    "unrecognised reason",
];

fn meaning(words: &str) -> RefusalMeaning {
    let has = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if has(&["unmatched topic"]) {
        RefusalMeaning::ChannelGone
    } else if has(&["cannot mark run", "not been claimed"]) {
        RefusalMeaning::NotClaimed
    } else if has(&["already in completed state"]) {
        RefusalMeaning::AlreadyEnded
    } else if has(&["already"]) {
        RefusalMeaning::AlreadyThere
    } else if has(&["try again later"]) {
        RefusalMeaning::TryLater
    } else if has(&["no output_dataclip"]) {
        RefusalMeaning::DataclipWanted
    } else if has(&["too large", "too big"]) {
        RefusalMeaning::TooLarge
    } else if let Some(named) = missing(words) {
        RefusalMeaning::Missing(named)
    } else if has(&["must be a map", "dataclip", "body"]) {
        RefusalMeaning::BadDataclip
    } else if has(&RUN_DENIED) {
        RefusalMeaning::RunDenied
    } else if has(&INVALID) || has(&["no listeners on channel"]) {
        RefusalMeaning::Invalid
    } else {
        RefusalMeaning::Unknown
    }
}

/// Any word about these two fields says that Lightning does not know what they name; of the others only some do.
fn missing(words: &str) -> Option<Named> {
    if words.contains("input_dataclip") {
        return Some(Named::InputDataclip);
    }
    if words.contains("final_dataclip") {
        return Some(Named::FinalDataclip);
    }
    let gone = [
        "must be associated with the run",
        "not found",
        "does not exist",
    ];
    if !gone.iter().any(|text| words.contains(text)) {
        return None;
    }
    if words.contains("dataclip") {
        return Some(Named::Dataclip);
    }
    words.contains("step").then_some(Named::Step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_words_keep_their_meaning() {
        use RefusalMeaning as M;
        for (words, meaning) in [
            (r#"{"reason":"unmatched topic"}"#, M::ChannelGone),
            (r#"{"reason":"unauthorized"}"#, M::RunDenied),
            ("invalid_run_id", M::RunDenied),
            ("not_found", M::RunDenied),
            (
                r#"{"errors":{"state":["cannot mark run started that has not been claimed by a worker"]}}"#,
                M::NotClaimed,
            ),
            (
                r#"{"errors":{"state":["already in completed state"]}}"#,
                M::AlreadyEnded,
            ),
            (
                r#"{"errors":{"id":["has already been taken"]}}"#,
                M::AlreadyThere,
            ),
            (
                r#"{"errors":{"step_id":["must be associated with the run"]}}"#,
                M::Missing(Named::Step),
            ),
            ("step not found", M::Missing(Named::Step)),
            ("Step not found", M::Missing(Named::Step)),
            (
                r#"{"errors":{"input_dataclip_id":["is not known"]}}"#,
                M::Missing(Named::InputDataclip),
            ),
            (
                r#"{"errors":{"final_dataclip_id":["does not exist"]}}"#,
                M::Missing(Named::FinalDataclip),
            ),
            ("dataclip does not exist", M::Missing(Named::Dataclip)),
            (r#"{"errors":{"body":["must be a map"]}}"#, M::BadDataclip),
            ("no output_dataclip_id", M::DataclipWanted),
            ("the dataclip is too large", M::TooLarge),
            (r#"{"errors":{"job_id":["does not exist"]}}"#, M::Invalid),
            (r#"{"errors":{"job_id":["Job not found!"]}}"#, M::Invalid),
            (r#"{"errors":{"id":["Credential not found!"]}}"#, M::Invalid),
            (
                r#"{"errors":{"source":["should be at most 8 character(s)"]}}"#,
                M::Invalid,
            ),
            (
                "Could not reach the oauth provider. Try again later",
                M::TryLater,
            ),
            ("There are no listeners on channel run:x", M::Invalid),
            ("tcp connection refused", M::Unknown),
            (r#"{"reason":"timeout"}"#, M::Unknown),
            ("null", M::Unknown),
        ] {
            assert_eq!(Refusal::from_words(words).meaning(), meaning, "{words}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_and_kept(words in ".*") {
            prop_assert_eq!(Refusal::from_words(words.clone()).to_string(), words);
        }
    }
}

//! The grammar of workloops (protocol spec, section 8): which queues a worker claims from, and with how many slots.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::ids::WorkloopId;

/// A group of queues with slots of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workloop {
    /// The token text, with its position behind it where an earlier group has the same token.
    pub id: WorkloopId,
    /// Queue names in order of preference; `*` is any queue.
    pub queues: Vec<String>,
    /// Runs of this group at the same time.
    pub slots: u32,
}

impl Workloop {
    /// The group that a plain capacity stands for (protocol spec, section 8.3).
    pub fn from_capacity(slots: u32) -> Self {
        Self {
            id: WorkloopId::new(format!("manual>*:{slots}")),
            queues: vec!["manual".to_owned(), "*".to_owned()],
            slots,
        }
    }

    /// The queue list as it is written, without the count.
    pub fn queue_list(&self) -> String {
        self.queues.join(">")
    }
}

/// Why a configuration is refused; the texts are the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloopError {
    /// Nothing but white space.
    #[error("Workloop configuration cannot be empty")]
    Empty,
    /// The token has no colon, and so no count.
    #[error("Invalid token \"{token}\": missing :<count> suffix")]
    MissingCount {
        /// The token as it was written.
        token: String,
    },
    /// The count has a sign, a leading zero, a fraction or letters.
    #[error("Invalid count \"{count}\" in token \"{token}\": must be a positive integer")]
    NotAnInteger {
        /// What stands behind the last colon.
        count: String,
        /// The token as it was written.
        token: String,
    },
    /// A count of 0.
    #[error("Invalid count \"{count}\" in token \"{token}\": must be >= 1")]
    TooSmall {
        /// What stands behind the last colon.
        count: String,
        /// The token as it was written.
        token: String,
    },
    /// A name is missing, as in `a>>b:1` and `:5`.
    #[error("Empty queue name in token \"{token}\"")]
    EmptyName {
        /// The token as it was written.
        token: String,
    },
    /// A character that no queue name has.
    #[error(
        "Invalid queue name \"{name}\" in token \"{token}\": must match /^[a-zA-Z0-9_]+$/ or be \"*\""
    )]
    BadName {
        /// The name as written.
        name: String,
        /// The token as it was written.
        token: String,
    },
    /// `*` before another name, or twice.
    #[error("Wildcard \"*\" must be the last element in token \"{token}\"")]
    WildcardNotLast {
        /// The token as it was written.
        token: String,
    },
}

/// What is allowed, but hardly meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloopWarning {
    /// A name twice in one token.
    #[error("Warning: duplicate queue name \"{name}\" in token \"{token}\"")]
    DuplicateName {
        /// The name that stands there twice.
        name: String,
        /// The token as it was written.
        token: String,
    },
    /// Two tokens with the same queue list.
    #[error(
        "Warning: workloops at positions {first} and {second} have identical queue configurations: {first_token} and {second_token}"
    )]
    SameQueues {
        /// Position of the first, from 0.
        first: usize,
        /// Position of the second, from 0.
        second: usize,
        /// The first token.
        first_token: String,
        /// The second token.
        second_token: String,
    },
}

/// Reads a configuration such as `fast_lane:1 manual>*:4`.
///
/// # Errors
/// The first problem, token by token, in the order of the protocol spec, section 8.2.
pub fn parse(text: &str) -> Result<(Vec<Workloop>, Vec<WorkloopWarning>), WorkloopError> {
    let mut warnings = Vec::new();
    let tokens: Vec<_> = text.split_whitespace().collect();
    let mut groups = tokens
        .iter()
        .map(|token| parse_token(token, &mut warnings))
        .collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() {
        return Err(WorkloopError::Empty);
    }
    for (second, later) in groups.iter().enumerate() {
        if let Some(first) = groups[..second]
            .iter()
            .position(|earlier| earlier.queues == later.queues)
        {
            warnings.push(WorkloopWarning::SameQueues {
                first,
                second,
                first_token: tokens[first].to_owned(),
                second_token: tokens[second].to_owned(),
            });
        }
    }
    for (position, group) in groups.iter_mut().enumerate() {
        if tokens[..position].contains(&tokens[position]) {
            group.id = WorkloopId::new(format!("{} (position {position})", tokens[position]));
        }
    }
    Ok((groups, warnings))
}

fn parse_token(
    token: &str,
    warnings: &mut Vec<WorkloopWarning>,
) -> Result<Workloop, WorkloopError> {
    let (names, count) = token
        .rsplit_once(':')
        .ok_or_else(|| WorkloopError::MissingCount {
            token: token.to_owned(),
        })?;
    let slots = parse_count(count, token)?;
    let queues: Vec<String> = names.split('>').map(str::to_owned).collect();
    for name in &queues {
        if name.is_empty() {
            return Err(WorkloopError::EmptyName {
                token: token.to_owned(),
            });
        }
        if name != "*"
            && !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(WorkloopError::BadName {
                name: name.clone(),
                token: token.to_owned(),
            });
        }
    }
    if queues[..queues.len() - 1].iter().any(|name| name == "*") {
        return Err(WorkloopError::WildcardNotLast {
            token: token.to_owned(),
        });
    }
    let mut seen = HashSet::new();
    for name in &queues {
        if !seen.insert(name) {
            warnings.push(WorkloopWarning::DuplicateName {
                name: name.clone(),
                token: token.to_owned(),
            });
        }
    }
    Ok(Workloop {
        id: WorkloopId::new(token),
        queues,
        slots,
    })
}

fn parse_count(count: &str, token: &str) -> Result<u32, WorkloopError> {
    let not_an_integer = || WorkloopError::NotAnInteger {
        count: count.to_owned(),
        token: token.to_owned(),
    };
    let too_small = || WorkloopError::TooSmall {
        count: count.to_owned(),
        token: token.to_owned(),
    };
    // A canonical negative integer is an integer, only too small.
    let digits = count.strip_prefix('-').unwrap_or(count);
    let canonical = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if !canonical || count == "-0" {
        return Err(not_an_integer());
    }
    if count.starts_with('-') || digits == "0" {
        return Err(too_small());
    }
    digits.parse().map_err(|_| not_an_integer())
}

/// Slots of all groups together, at most `u32::MAX`.
pub fn capacity(groups: &[Workloop]) -> u32 {
    groups
        .iter()
        .fold(0, |sum, group| sum.saturating_add(group.slots))
}

/// The `queues` of the join of `worker:queue`: queue list → slots. Of two groups with the same list the later one's number
/// stays (protocol spec, section 3.1).
pub fn queues_by_group(groups: &[Workloop]) -> IndexMap<String, u32> {
    groups
        .iter()
        .map(|group| (group.queue_list(), group.slots))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_are_read_in_order() {
        let (groups, warnings) = parse("  fast_lane:1\t manual>*:4 ").unwrap();
        assert!(warnings.is_empty());
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].queues, ["fast_lane"]);
        assert_eq!(groups[1], Workloop::from_capacity(4));
        assert_eq!(capacity(&groups), 5);
        let queues = queues_by_group(&groups);
        assert_eq!(
            serde_json::to_string(&queues).unwrap(),
            r#"{"fast_lane":1,"manual>*":4}"#
        );
    }

    #[test]
    fn each_problem_has_its_text() {
        for (text, message) in [
            ("  ", "Workloop configuration cannot be empty"),
            (
                "manual",
                "Invalid token \"manual\": missing :<count> suffix",
            ),
            (
                "a:1.5",
                "Invalid count \"1.5\" in token \"a:1.5\": must be a positive integer",
            ),
            (
                "a:abc",
                "Invalid count \"abc\" in token \"a:abc\": must be a positive integer",
            ),
            (
                "a:",
                "Invalid count \"\" in token \"a:\": must be a positive integer",
            ),
            (
                "a:05",
                "Invalid count \"05\" in token \"a:05\": must be a positive integer",
            ),
            (
                "a:+5",
                "Invalid count \"+5\" in token \"a:+5\": must be a positive integer",
            ),
            (
                "a:1e1",
                "Invalid count \"1e1\" in token \"a:1e1\": must be a positive integer",
            ),
            ("a:0", "Invalid count \"0\" in token \"a:0\": must be >= 1"),
            (
                "a:-1",
                "Invalid count \"-1\" in token \"a:-1\": must be >= 1",
            ),
            ("a>>b:1", "Empty queue name in token \"a>>b:1\""),
            (":5", "Empty queue name in token \":5\""),
            (
                "my-queue:1",
                "Invalid queue name \"my-queue\" in token \"my-queue:1\": must match /^[a-zA-Z0-9_]+$/ or be \"*\"",
            ),
            (
                "a:b:5",
                "Invalid queue name \"a:b\" in token \"a:b:5\": must match /^[a-zA-Z0-9_]+$/ or be \"*\"",
            ),
            (
                "*>a:1",
                "Wildcard \"*\" must be the last element in token \"*>a:1\"",
            ),
            (
                "*>*:1",
                "Wildcard \"*\" must be the last element in token \"*>*:1\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn doubtful_configurations_warn() {
        let (_, warnings) = parse("a>a:1 b:1 b:2").unwrap();
        let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "Warning: duplicate queue name \"a\" in token \"a>a:1\"",
                "Warning: workloops at positions 1 and 2 have identical queue configurations: b:1 and b:2",
            ]
        );
    }

    #[test]
    fn groups_with_the_same_token_have_ids_of_their_own() {
        let (groups, _) = parse("a:1 b:1 a:1").unwrap();
        let ids: Vec<_> = groups.iter().map(|group| group.id.as_str()).collect();
        assert_eq!(ids, ["a:1", "b:1", "a:1 (position 2)"]);
    }

    proptest! {
        #[test]
        fn any_valid_text_round_trips(
            tokens in prop::collection::vec(("[a-zA-Z0-9_]{1,6}(>[a-zA-Z0-9_]{1,6}){0,3}(>\\*)?", 1u32..1000), 1..5)
        ) {
            let text = tokens.iter().map(|(names, count)| format!("{names}:{count}")).collect::<Vec<_>>().join(" ");
            let (groups, _) = parse(&text).unwrap();
            let again = groups.iter().map(|g| format!("{}:{}", g.queue_list(), g.slots)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(again, text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
            let _outcome = parse(&text);
        }
    }
}

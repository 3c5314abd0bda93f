//! An error with all its causes as one line, for logs and for those who only read a text.

use std::error::Error;

/// The error and what caused it, one after the other, separated by colons.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read")]
    struct Unreadable(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error() {
        let error = Unreadable(std::io::Error::other("disk gone"));
        assert_eq!(with_causes(&error), "the file cannot be read: disk gone");
    }
}

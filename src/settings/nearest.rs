//! The known name that a mistyped one was probably meant to be.

/// The candidate with the fewest edits from `name`, if that is few enough to be a slip: a third of its length, at least two.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and replacements of one character.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let names = ["capacity", "claim-timeout", "port"];
        assert_eq!(nearest("capactiy", names), Some("capacity"));
        assert_eq!(nearest("claim_timeout", names), Some("claim-timeout"));
        assert_eq!(nearest("prt", names), Some("port"));
    }

    #[test]
    fn a_name_like_no_other_finds_nothing() {
        assert_eq!(nearest("certificate", ["capacity", "port"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn edits_are_counted_by_character() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "né"), 2);
        assert_eq!(edits("same", "same"), 0);
    }
}

//! Collections: named lists of keys and values that jobs share.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

/// All collections by name. With a list of names given at the start, others do not exist.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    by_name: BTreeMap<String, BTreeMap<String, Item>>,
    open: bool,
}

/// One item. Its value is a text, JSON by convention.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) created: String,
    pub(crate) updated: String,
}

impl Collections {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let open = names.is_empty();
        Self {
            by_name: names
                .into_iter()
                .map(|name| (name, BTreeMap::new()))
                .collect(),
            open,
        }
    }

    pub(crate) fn named(&mut self, name: &str) -> Option<&mut BTreeMap<String, Item>> {
        if self.open {
            return Some(self.by_name.entry(name.to_owned()).or_default());
        }
        self.by_name.get_mut(name)
    }
}

pub(crate) fn page(
    items: &BTreeMap<String, Item>,
    query: &HashMap<String, String>,
    limit: usize,
    after: Option<String>,
) -> Value {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut selected = items
        .range((start, Bound::Unbounded))
        .map(|(_, item)| item)
        .filter(|item| selects(query, item));
    let page: Vec<&Item> = selected.by_ref().take(limit).collect();
    let more = selected.next().is_some();
    let cursor = page
        .last()
        .filter(|_| more)
        .map(|item| URL_SAFE_NO_PAD.encode(&item.key));
    json!({ "items": page, "cursor": cursor })
}

/// A cursor is the last key of the page before, so removals in between do not shift the next page.
pub(crate) fn read_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

pub(crate) fn selects(query: &HashMap<String, String>, item: &Item) -> bool {
    let text = |name: &str| query.get(name).map(String::as_str);
    matches(text("key").unwrap_or("*"), &item.key)
        && text("created_before").is_none_or(|time| item.created.as_str() < time)
        && text("created_after").is_none_or(|time| item.created.as_str() > time)
        && text("updated_before").is_none_or(|time| item.updated.as_str() < time)
        && text("updated_after").is_none_or(|time| item.updated.as_str() > time)
}

/// True if `key` is the pattern with each `*` replaced by some text.
fn matches(pattern: &str, key: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == key;
    };
    let Some(key) = key.strip_prefix(head) else {
        return false;
    };
    if !rest.contains('*') {
        return key.ends_with(rest);
    }
    let borders = key
        .char_indices()
        .map(|(place, _)| place)
        .chain([key.len()]);
    borders
        .into_iter()
        .any(|place| matches(rest, &key[place..]))
}

/// Seconds since the epoch as ISO 8601 in UTC. Such texts sort by time.
pub(crate) fn iso(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 0000-03-01, in eras of 400 years: a year that begins in March has its leap day at the end.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, key) in [
            ("*", ""),
            ("a*", "ab"),
            ("*b", "ab"),
            ("a*c*e", "abcde"),
            ("a*b*", "ab"),
            ("ab", "ab"),
        ] {
            assert!(matches(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [
            ("a*", "ba"),
            ("ab", "abc"),
            ("a*c*e", "abcd"),
            ("aba*aba", "aba"),
        ] {
            assert!(!matches(pattern, key), "{pattern} {key}");
        }
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn pages_follow_one_another_even_if_items_vanish() {
        let item = |key: &str| {
            let time = String::new();
            (
                key.to_owned(),
                Item {
                    key: key.to_owned(),
                    value: "1".to_owned(),
                    created: time.clone(),
                    updated: time,
                },
            )
        };
        let mut items: BTreeMap<String, Item> =
            ["a", "b", "c", "d"].into_iter().map(item).collect();
        let first = page(&items, &HashMap::new(), 2, None);
        items.remove("b");
        let second = page(
            &items,
            &HashMap::new(),
            2,
            read_cursor(first["cursor"].as_str().unwrap()),
        );
        assert_eq!(second["items"][0]["key"], json!("c"));
        assert_eq!(second["cursor"], Value::Null);
    }
}

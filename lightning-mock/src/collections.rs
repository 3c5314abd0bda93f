//! The collections API: what `@openfn/language-collections` asks of Lightning, with the run token as bearer token.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /collections/:name/:key` | 200 with the item, 204 if there is none |
//! | `GET /collections/:name?key=&limit=&cursor=` | `{"items":[…],"cursor":…}`; the cursor is null on the last page |
//! | `POST /collections/:name` | `{"items":[{"key","value"}]}` are stored: `{"upserted","error"}` |
//! | `DELETE /collections/:name/:key` or `?key=` | `{"deleted","key"}` |
//!
//! `key` is a pattern with `*` for any text. Lists can be narrowed with `created_before`, `created_after`,
//! `updated_before` and `updated_after` (ISO 8601 in UTC).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::{Shared, World, now};

type Data = web::Data<Shared>;
type Query = web::Query<HashMap<String, String>>;

/// Items on a page unless the request sets a limit, and the most that it may set.
const PAGE: usize = 1000;

/// All collections by name. With a list of names given at the start, others do not exist.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    by_name: BTreeMap<String, BTreeMap<String, Item>>,
    open: bool,
}

/// One item. Its value is a text, JSON by convention.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Item {
    key: String,
    value: String,
    created: String,
    updated: String,
}

#[derive(Deserialize)]
struct Upload {
    items: Vec<UploadedItem>,
}

#[derive(Deserialize)]
struct UploadedItem {
    key: String,
    value: String,
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

    fn named(&mut self, name: &str) -> Option<&mut BTreeMap<String, Item>> {
        if self.open {
            return Some(self.by_name.entry(name.to_owned()).or_default());
        }
        self.by_name.get_mut(name)
    }
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/collections/{name}", web::get().to(list))
        .route("/collections/{name}", web::post().to(upsert))
        .route("/collections/{name}", web::delete().to(remove_matching))
        .route("/collections/{name}/{key:.+}", web::get().to(get))
        .route("/collections/{name}/{key:.+}", web::delete().to(remove));
}

async fn get(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: Data,
) -> HttpResponse {
    let (name, key) = path.into_inner();
    answer(&request, &shared, &name, |items| match items.get(&key) {
        Some(item) => HttpResponse::Ok().json(item),
        None => HttpResponse::NoContent().finish(),
    })
}

async fn list(
    request: HttpRequest,
    name: web::Path<String>,
    query: Query,
    shared: Data,
) -> HttpResponse {
    let limit = match query.get("limit").map(|limit| limit.parse::<usize>()) {
        None => PAGE,
        Some(Ok(limit)) => limit.min(PAGE),
        Some(Err(_)) => return bad_request("limit is no number"),
    };
    let after = match query.get("cursor").map(|cursor| read_cursor(cursor)) {
        None => None,
        Some(Some(key)) => Some(key),
        Some(None) => return bad_request("cursor is none that was given out"),
    };
    answer(&request, &shared, &name, |items| {
        HttpResponse::Ok().json(page(items, &query, limit, after))
    })
}

async fn upsert(
    request: HttpRequest,
    name: web::Path<String>,
    body: web::Bytes,
    shared: Data,
) -> HttpResponse {
    let upload: Upload = match serde_json::from_slice(&body) {
        Ok(upload) => upload,
        Err(error) => return bad_request(&format!("the body is no list of items: {error}")),
    };
    answer(&request, &shared, &name, |items| {
        let time = iso(now() / 1_000_000);
        let upserted = upload.items.len();
        for UploadedItem { key, value } in upload.items {
            let created = items
                .get(&key)
                .map_or_else(|| time.clone(), |item| item.created.clone());
            items.insert(
                key.clone(),
                Item {
                    key,
                    value,
                    created,
                    updated: time.clone(),
                },
            );
        }
        HttpResponse::Ok().json(json!({ "upserted": upserted, "error": null }))
    })
}

async fn remove(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: Data,
) -> HttpResponse {
    let (name, key) = path.into_inner();
    answer(&request, &shared, &name, |items| {
        let deleted = u8::from(items.remove(&key).is_some());
        HttpResponse::Ok().json(json!({ "deleted": deleted, "key": key }))
    })
}

async fn remove_matching(
    request: HttpRequest,
    name: web::Path<String>,
    query: Query,
    shared: Data,
) -> HttpResponse {
    answer(&request, &shared, &name, |items| {
        let before = items.len();
        items.retain(|_, item| !selects(&query, item));
        HttpResponse::Ok().json(json!({ "deleted": before - items.len(), "key": query.get("key") }))
    })
}

/// Answers with the named collection's items, if the request has a valid run token and the collection exists.
fn answer(
    request: &HttpRequest,
    shared: &Shared,
    name: &str,
    act: impl FnOnce(&mut BTreeMap<String, Item>) -> HttpResponse,
) -> HttpResponse {
    shared.with(|world| {
        if !is_authorised(world, request) {
            return HttpResponse::Unauthorized().json(json!({ "error": "Unauthorized" }));
        }
        match world.collections.named(name) {
            Some(items) => act(items),
            None => HttpResponse::NotFound().json(json!({ "error": "Not Found" })),
        }
    })
}

fn is_authorised(world: &World, request: &HttpRequest) -> bool {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    token.is_some_and(|token| world.key.verify_any_run(token, now() / 1_000_000).is_ok())
}

fn bad_request(text: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": text }))
}

fn page(
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
fn read_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

fn selects(query: &HashMap<String, String>, item: &Item) -> bool {
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
fn iso(seconds: u64) -> String {
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

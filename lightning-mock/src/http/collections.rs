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

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::collections::{Item, iso, page, read_cursor, selects};
use crate::world::{Shared, World, now};

type Data = web::Data<Shared>;
type Query = web::Query<HashMap<String, String>>;

/// Items on a page unless the request sets a limit, and the most that it may set.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Upload {
    items: Vec<UploadedItem>,
}

#[derive(Deserialize)]
struct UploadedItem {
    key: String,
    value: String,
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

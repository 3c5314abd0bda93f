//! `/log`: what is logged, looked at and changed while the worker runs.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::{Routes, allowed, plain, refuses_steering, unauthorized};
use crate::http::Controls;
use crate::logging::{DEFAULT_STAY, LogFilter};

/// Longest time that a filter may be set for; who wants it for longer sets `--log`.
const LONGEST_STAY: u64 = 24 * 60 * 60;

/// The query of `PUT /log`.
#[derive(Debug, Deserialize)]
pub(super) struct Stay {
    /// For how long, s; 0 until the worker ends.
    #[serde(rename = "for")]
    seconds: Option<u64>,
}

/// `GET /log`: the filter that counts.
pub(super) async fn show<C: Controls>(
    request: HttpRequest,
    routes: Data<Routes<C>>,
) -> HttpResponse {
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    shown(&routes)
}

/// `PUT /log?for=SECONDS` with a filter as its body.
pub(super) async fn set<C: Controls>(
    request: HttpRequest,
    stay: Result<Query<Stay>, actix_web::Error>,
    filter: String,
    routes: Data<Routes<C>>,
) -> HttpResponse {
    if let Some(refusal) = refuses_steering(&routes, &request) {
        return refusal;
    }
    let stay = match stay.map(|stay| stay.seconds) {
        Ok(None) => Some(DEFAULT_STAY),
        Ok(Some(0)) => None,
        Ok(Some(seconds)) if seconds <= LONGEST_STAY => Some(Duration::from_secs(seconds)),
        Ok(Some(_)) | Err(_) => {
            return plain(
                StatusCode::BAD_REQUEST,
                format!(
                    "`for` takes seconds, {LONGEST_STAY} at most, or 0 until the worker ends: PUT /log?for=600"
                ),
            );
        }
    };
    let filter = filter.trim();
    if filter.is_empty() {
        return plain(
            StatusCode::BAD_REQUEST,
            "the body is the filter, as --log takes it: curl -X PUT --data debug …/log",
        );
    }
    match LogFilter::parse(filter) {
        Ok(filter) => {
            routes.sources.log.level.set(filter, stay, "http");
            shown(&routes)
        }
        Err(error) => plain(StatusCode::BAD_REQUEST, format!("{filter:?} {error}")),
    }
}

/// `DELETE /log`: back to the filter of the settings.
pub(super) async fn reset<C: Controls>(
    request: HttpRequest,
    routes: Data<Routes<C>>,
) -> HttpResponse {
    if let Some(refusal) = refuses_steering(&routes, &request) {
        return refusal;
    }
    routes.sources.log.level.reset("http");
    shown(&routes)
}

fn shown<C>(routes: &Routes<C>) -> HttpResponse {
    HttpResponse::Ok().json(routes.sources.log.level.shown())
}

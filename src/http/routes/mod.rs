//! The routes and their answers.

mod log;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType, WWW_AUTHENTICATE};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use actors::config::Secret;
use log_events::{event, table};
use protocol::ids::RunId;

use super::Controls;
use super::auth::{allowed, from_another_site};
use super::metrics::Exporter;
use super::page::{self, Sources, Status};

/// Longest run id that is looked for; Lightning's are UUIDs.
const LONGEST_ID: usize = 256;

/// The routes of one worker.
#[derive(Clone)]
pub(super) struct Routes<C> {
    controls: C,
    token: Option<Secret>,
    exporter: Exporter,
    sources: Sources,
}

impl<C: Controls> Routes<C> {
    pub(super) fn new(
        controls: C,
        token: Option<Secret>,
        exporter: Exporter,
        sources: Sources,
    ) -> Self {
        Self {
            controls,
            token,
            exporter,
            sources,
        }
    }

    /// Adds the routes to an application. A path or method that is not listed answers 404, as in the reference.
    pub(super) fn configure(&self, app: &mut ServiceConfig) {
        let resource = |path: &str| web::resource(path).default_service(web::to(not_found));
        app.app_data(Data::new(self.clone()))
            .service(
                resource("/")
                    .route(web::get().to(root))
                    .route(web::head().to(alive)),
            )
            .service(
                resource("/livez")
                    .route(web::get().to(alive))
                    .route(web::head().to(alive)),
            )
            .service(
                resource("/readyz")
                    .route(web::get().to(ready::<C>))
                    .route(web::head().to(ready::<C>)),
            )
            .service(resource("/status").route(web::get().to(status::<C>)))
            .service(resource("/events").route(web::get().to(events::<C>)))
            .service(resource("/metrics").route(web::get().to(metrics::<C>)))
            .service(resource("/claim").route(web::post().to(claim::<C>)))
            .service(resource("/runs/{id}").route(web::delete().to(cancel::<C>)))
            .service(
                resource("/log")
                    .route(web::get().to(log::show::<C>))
                    .route(web::put().to(log::set::<C>))
                    .route(web::delete().to(log::reset::<C>)),
            )
            .service(resource("/drain").route(web::post().to(drain::<C>)))
            .default_service(web::to(not_found));
    }
}

async fn alive() -> HttpResponse {
    plain(StatusCode::OK, "OK")
}

/// The status page for a browser, the reference's health check for everybody else.
async fn root(request: HttpRequest) -> HttpResponse {
    if page::is_wanted(&request) {
        page::page()
    } else {
        alive().await
    }
}

async fn events<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    page::events(routes.controls.clone(), routes.sources.clone())
}

async fn ready<C: Controls>(routes: Data<Routes<C>>) -> HttpResponse {
    match routes.controls.unready().await {
        None => plain(StatusCode::OK, "OK"),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn status<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    match routes.controls.status().await {
        Some(status) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(Status::new(status, &routes.sources)),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "the worker is ending"),
    }
}

async fn metrics<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    let status = routes.controls.status().await;
    HttpResponse::Ok()
        .content_type(prometheus::TEXT_FORMAT)
        .body(routes.exporter.text(status.as_ref()))
}

async fn claim<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if let Some(refusal) = refuses_steering(&routes, &request) {
        return refusal;
    }
    if routes.controls.claim_now().await {
        plain(StatusCode::OK, "complete")
    } else {
        HttpResponse::NoContent().finish()
    }
}

async fn cancel<C: Controls>(
    request: HttpRequest,
    id: Path<String>,
    routes: Data<Routes<C>>,
) -> HttpResponse {
    if let Some(refusal) = refuses_steering(&routes, &request) {
        return refusal;
    }
    let id = id.into_inner();
    if id.len() <= LONGEST_ID && routes.controls.cancel_run(RunId::new(id)).await {
        plain(StatusCode::ACCEPTED, "the run is being ended")
    } else {
        plain(StatusCode::NOT_FOUND, "no active run has this id")
    }
}

async fn drain<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if let Some(refusal) = refuses_steering(&routes, &request) {
        return refusal;
    }
    event!(table::WORKER_STOP_REQUESTED, cause = "http"; "draining: asked to by POST /drain");
    routes.controls.drain();
    plain(StatusCode::ACCEPTED, "draining")
}

async fn not_found() -> HttpResponse {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

/// The answer to a request that may not change what the worker does. A browser sends such a request for any page that its
/// user has open, and hides only the answer from that page: what another site asks for is refused, with and without a
/// token.
fn refuses_steering<C>(routes: &Routes<C>, request: &HttpRequest) -> Option<HttpResponse> {
    if !allowed(routes.token.as_ref(), request) {
        return Some(unauthorized());
    }
    from_another_site(request).then(|| {
        plain(
            StatusCode::FORBIDDEN,
            "refused: a page of another site has sent this request (its Origin or Sec-Fetch-Site header says so); \
             send it from the command line",
        )
    })
}

fn unauthorized() -> HttpResponse {
    HttpResponse::Unauthorized()
        .insert_header((WWW_AUTHENTICATE, "Bearer"))
        .content_type(ContentType::plaintext())
        .body("a bearer token is needed, the worker's WORKER_HTTP_TOKEN")
}

fn plain(status: StatusCode, body: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status)
        .content_type(ContentType::plaintext())
        .body(body.into())
}

#[cfg(test)]
mod tests;

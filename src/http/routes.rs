//! The routes and their answers.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType, WWW_AUTHENTICATE};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use actors::config::Secret;
use protocol::ids::RunId;

use super::Controls;
use super::auth::allowed;
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
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
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
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    let id = id.into_inner();
    if id.len() <= LONGEST_ID && routes.controls.cancel_run(RunId::new(id)).await {
        plain(StatusCode::ACCEPTED, "the run is being ended")
    } else {
        plain(StatusCode::NOT_FOUND, "no active run has this id")
    }
}

async fn drain<C: Controls>(request: HttpRequest, routes: Data<Routes<C>>) -> HttpResponse {
    if !allowed(routes.token.as_ref(), &request) {
        return unauthorized();
    }
    log::info!("draining: asked to by POST /drain");
    routes.controls.drain();
    plain(StatusCode::ACCEPTED, "draining")
}

async fn not_found() -> HttpResponse {
    plain(StatusCode::NOT_FOUND, "Not Found")
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
mod tests {
    use std::sync::{Arc, Mutex};

    use actix_web::http::Method;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, http::header};

    use actors::metrics::Metrics;
    use actors::supervisor::WorkerStatus;

    use super::super::testing;
    use super::*;

    #[derive(Clone, Default)]
    struct Fake {
        claims: bool,
        gone: bool,
        unready: Option<&'static str>,
        calls: Arc<Mutex<Vec<String>>>,
    }

    impl Fake {
        fn note(&self, call: impl Into<String>) {
            self.calls.lock().unwrap().push(call.into());
        }
    }

    impl Controls for Fake {
        async fn claim_now(&self) -> bool {
            self.note("claim");
            self.claims
        }
        async fn status(&self) -> Option<WorkerStatus> {
            (!self.gone).then(|| testing::status("running"))
        }
        async fn unready(&self) -> Option<String> {
            self.unready.map(str::to_owned)
        }
        async fn cancel_run(&self, id: RunId) -> bool {
            self.note(format!("cancel {id}"));
            id.as_str() == "active"
        }
        fn drain(&self) {
            self.note("drain");
        }
    }

    struct Answer {
        status: u16,
        kind: String,
        body: String,
    }

    async fn ask(
        worker: &Fake,
        token: Option<&str>,
        method: Method,
        path: &str,
        bearer: Option<&str>,
    ) -> Answer {
        let exporter = Exporter::new(&Metrics::default());
        let routes = Routes::new(
            worker.clone(),
            token.map(Secret::new),
            exporter,
            Sources::default(),
        );
        let app = init_service(App::new().configure(|app| routes.configure(app))).await;
        let mut request = TestRequest::with_uri(path).method(method);
        if let Some(bearer) = bearer {
            request = request.insert_header((header::AUTHORIZATION, format!("Bearer {bearer}")));
        }
        let response = call_service(&app, request.to_request()).await;
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .map_or("", |kind| kind.to_str().unwrap())
            .to_owned();
        let status = response.status().as_u16();
        let body = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        Answer { status, kind, body }
    }

    async fn open(worker: &Fake, method: Method, path: &str) -> Answer {
        ask(worker, None, method, path, None).await
    }

    #[actix_web::test]
    async fn health_is_ok_as_in_the_reference() {
        for path in ["/", "/livez"] {
            let answer = open(&Fake::default(), Method::GET, path).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
            assert_eq!(answer.kind, "text/plain; charset=utf-8");
            assert_eq!(open(&Fake::default(), Method::HEAD, path).await.status, 200);
        }
    }

    #[actix_web::test]
    async fn a_claim_says_whether_a_run_came_back() {
        let answer = open(
            &Fake {
                claims: true,
                ..Fake::default()
            },
            Method::POST,
            "/claim",
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "complete"));
        let answer = open(&Fake::default(), Method::POST, "/claim").await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    }

    #[actix_web::test]
    async fn everything_else_is_not_found() {
        let worker = Fake::default();
        let others = [
            (Method::GET, "/claim"),
            (Method::POST, "/"),
            (Method::GET, "/nothing"),
            (Method::GET, "/runs/x"),
        ];
        for (method, path) in others {
            let answer = open(&worker, method, path).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (404, "Not Found"),
                "{path}"
            );
        }
        assert!(worker.calls.lock().unwrap().is_empty());
    }

    #[actix_web::test]
    async fn readiness_is_refused_with_its_reason() {
        assert_eq!(
            open(&Fake::default(), Method::GET, "/readyz").await.status,
            200
        );
        let answer = open(
            &Fake {
                unready: Some("not connected"),
                ..Fake::default()
            },
            Method::GET,
            "/readyz",
        )
        .await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (503, "not connected")
        );
    }

    #[actix_web::test]
    async fn the_status_is_json_until_the_worker_ends() {
        let answer = open(&Fake::default(), Method::GET, "/status").await;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["state"]), (200, &"running".into()));
        assert_eq!(
            open(
                &Fake {
                    gone: true,
                    ..Fake::default()
                },
                Method::GET,
                "/status"
            )
            .await
            .status,
            503
        );
    }

    #[actix_web::test]
    async fn a_run_is_cancelled_and_the_worker_drained_by_request() {
        let worker = Fake::default();
        assert_eq!(
            open(&worker, Method::DELETE, "/runs/active").await.status,
            202
        );
        assert_eq!(
            open(&worker, Method::DELETE, "/runs/other").await.status,
            404
        );
        assert_eq!(open(&worker, Method::POST, "/drain").await.status, 202);
        assert_eq!(
            *worker.calls.lock().unwrap(),
            ["cancel active", "cancel other", "drain"]
        );
    }

    #[actix_web::test]
    async fn a_token_guards_all_but_health() {
        let worker = Fake::default();
        for (method, path) in [
            (Method::POST, "/claim"),
            (Method::GET, "/status"),
            (Method::GET, "/metrics"),
            (Method::GET, "/events"),
            (Method::DELETE, "/runs/active"),
            (Method::POST, "/drain"),
        ] {
            assert_eq!(
                ask(&worker, Some("t0ken"), method.clone(), path, None)
                    .await
                    .status,
                401,
                "{path}"
            );
            assert_eq!(
                ask(&worker, Some("t0ken"), method, path, Some("wrong"))
                    .await
                    .status,
                401,
                "{path}"
            );
        }
        assert!(worker.calls.lock().unwrap().is_empty());
        for path in ["/", "/livez", "/readyz"] {
            assert_eq!(
                ask(&worker, Some("t0ken"), Method::GET, path, None)
                    .await
                    .status,
                200,
                "{path}"
            );
        }
        assert_eq!(
            ask(
                &worker,
                Some("t0ken"),
                Method::GET,
                "/status",
                Some("t0ken")
            )
            .await
            .status,
            200
        );
    }
}

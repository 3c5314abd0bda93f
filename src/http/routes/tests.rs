//! What each route answers, with a worker that only notes what it is asked to do.

use std::sync::{Arc, Mutex};

use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, http::header};

use actors::metrics::Metrics;
use actors::supervisor::{WorkerState, WorkerStatus};

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
        (!self.gone).then(|| testing::status(WorkerState::Running))
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
    let mut request = TestRequest::with_uri(path).method(method);
    if let Some(bearer) = bearer {
        request = request.insert_header((header::AUTHORIZATION, format!("Bearer {bearer}")));
    }
    send(worker, token, request).await
}

async fn ask_with(
    worker: &Fake,
    method: Method,
    path: &str,
    header: (&'static str, &'static str),
) -> Answer {
    let request = TestRequest::with_uri(path)
        .method(method)
        .insert_header(header);
    send(worker, None, request).await
}

async fn send(worker: &Fake, token: Option<&str>, request: TestRequest) -> Answer {
    let exporter = Exporter::new(&Metrics::default());
    let routes = Routes::new(
        worker.clone(),
        token.map(Secret::new),
        exporter,
        Sources::default(),
    );
    let app = init_service(App::new().configure(|app| routes.configure(app))).await;
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

#[actix_web::test]
async fn a_page_of_another_site_cannot_steer_the_worker() {
    let worker = Fake::default();
    for (method, path) in [
        (Method::POST, "/claim"),
        (Method::DELETE, "/runs/active"),
        (Method::POST, "/drain"),
    ] {
        for header in [
            ("origin", "https://example.com"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let answer = ask_with(&worker, method.clone(), path, header).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(answer.body.contains("another site"), "{}", answer.body);
        }
    }
    assert!(worker.calls.lock().unwrap().is_empty());
}

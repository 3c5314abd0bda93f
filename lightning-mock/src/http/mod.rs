//! The HTTP API, and the upgrade of the worker's socket.

mod collections;

use std::sync::Arc;

use actix_http::ws::Codec;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, SEC_WEBSOCKET_EXTENSIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chaos::{Chaos, RuleError};
use crate::deflate;
use crate::keys::verify_worker;
use crate::messages::ToSocket;
use crate::recorder::{Direction, RecordedEvent};
use crate::rules::MESSAGE_LIMIT;
use crate::socket::Socket;
use crate::world::{Shared, World, now};

type Data = web::Data<Shared>;

const HELP: &str = "\
A mock Lightning.

GET  /worker/websocket  the worker's socket
POST /run               enqueue a plan (JSON); ?wakeup pushes work-available; answers {\"id\":…}
GET  /run/:id           state, reason, steps, logs, final state
POST /run/:id/lose      end an active run as lost
GET  /runs              all runs in short
GET  /statistics        claims, and how many runs were active at once
POST /disconnect        cut all connections
GET  /chaos             the chaos rules, and how often they struck
POST /chaos             new ones: {\"rules\":[\"step:complete@2=cut-after\",…],\"seed\":1}
     /collections/…     the collections API, for run tokens
";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route(
            "/",
            web::get().to(async || {
                HttpResponse::Ok()
                    .content_type(ContentType::plaintext())
                    .body(HELP)
            }),
        )
        .route("/worker/websocket", web::get().to(upgrade))
        .route("/run", web::post().to(enqueue))
        .route("/run/{id}", web::get().to(show_run))
        .route("/run/{id}/lose", web::post().to(lose))
        .route("/runs", web::get().to(list_runs))
        .route("/statistics", web::get().to(statistics))
        .route("/disconnect", web::post().to(disconnect))
        .route("/chaos", web::get().to(show_chaos))
        .route("/chaos", web::post().to(set_chaos))
        .configure(collections::routes);
}

#[derive(Deserialize)]
struct SocketQuery {
    token: Option<String>,
    vsn: Option<String>,
}

/// Version 2 of the wire format is needed; a missing version counts as 1, which this server does not speak.
async fn upgrade(
    request: HttpRequest,
    stream: web::Payload,
    query: web::Query<SocketQuery>,
    shared: Data,
) -> Result<HttpResponse, actix_web::Error> {
    let version_ok = query.vsn.as_deref().is_some_and(|vsn| {
        let mut parts = vsn.split('.');
        parts.next() == Some("2") && parts.next() == Some("0") && parts.next().is_some()
    });
    let token = query.token.as_deref();
    let refusal = shared.with(|world| {
        let refusal = match &world.rules.secret {
            Some(secret) if verify_worker(secret, token, now() / 1_000_000).is_err() => {
                Some(StatusCode::UNAUTHORIZED)
            }
            None if token.is_none_or(str::is_empty) => Some(StatusCode::UNAUTHORIZED),
            _ if !version_ok => Some(StatusCode::FORBIDDEN),
            _ if world.away_until > now() => Some(StatusCode::SERVICE_UNAVAILABLE),
            _ => None,
        };
        if let Some(status) = refusal {
            note_refusal(world, status);
        }
        refusal
    });
    if let Some(status) = refusal {
        log::warn!("refused a worker with {status}");
        return Ok(HttpResponse::build(status).body(status.canonical_reason().unwrap_or_default()));
    }
    let shared = shared.into_inner();
    let offer = request.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    let answer = offer
        .filter(|_| shared.read(|world| world.rules.compression))
        .and_then(|offer| deflate::accept(offer.to_str().ok()?));
    let socket = Socket::new(Arc::clone(&shared));
    if let Some(answer) = answer {
        let mut response = ws::handshake(&request)?;
        response.insert_header((SEC_WEBSOCKET_EXTENSIONS, answer));
        let codec = Codec::new().max_size(MESSAGE_LIMIT);
        let stream = deflate::inbound(stream, shared);
        let frames = ws::WebsocketContext::with_codec(socket, stream, codec);
        return Ok(response.streaming(deflate::outbound(frames)));
    }
    ws::WsResponseBuilder::new(socket, &request, stream)
        .frame_size(MESSAGE_LIMIT)
        .start()
}

fn note_refusal(world: &mut World, status: StatusCode) {
    world.recorder.record(|| RecordedEvent {
        seq: 0,
        time: now(),
        socket: 0,
        direction: Direction::Socket,
        join_ref: None,
        reference: None,
        topic: String::new(),
        event: "refused".to_owned(),
        payload: json!({ "status": status.as_u16() }),
    });
}

async fn enqueue(request: HttpRequest, body: web::Bytes, shared: Data) -> HttpResponse {
    let plan: Value = match serde_json::from_slice(&body) {
        Ok(plan) => plan,
        Err(error) => return bad_request(&format!("the plan is no JSON: {error}")),
    };
    match shared.with(|world| world.store.enqueue(plan, now())) {
        Ok(id) => {
            let wakeup = request
                .query_string()
                .split('&')
                .any(|key| key == "wakeup" || key.starts_with("wakeup="));
            if wakeup {
                shared.tell(&ToSocket::work_available());
            } else {
                shared.tell(&ToSocket::NewRun);
            }
            HttpResponse::Ok().json(json!({ "id": id }))
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

fn bad_request(text: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": text }))
}

fn no_such_run(id: &str) -> HttpResponse {
    HttpResponse::NotFound().json(json!({ "error": format!("there is no run {id:?}") }))
}

async fn show_run(id: web::Path<String>, shared: Data) -> HttpResponse {
    match shared.read(|world| world.store.runs.get(id.as_str()).cloned()) {
        Some(run) => HttpResponse::Ok().json(run),
        None => no_such_run(&id),
    }
}

async fn lose(id: web::Path<String>, shared: Data) -> HttpResponse {
    if shared.with(|world| world.store.lose(&id)) {
        HttpResponse::NoContent().finish()
    } else {
        no_such_run(&id)
    }
}

async fn list_runs(shared: Data) -> HttpResponse {
    let runs: Vec<Value> = shared.read(|world| {
        let short = |run: &crate::store::RunView| {
            json!({
                "id": run.id, "queue": run.queue, "state": run.state, "reason": run.reason,
                "error_type": run.error_type, "steps": run.steps.len(), "logs": run.logs.len(),
                "inserted_at": run.inserted_at, "claimed_at": run.claimed_at,
                "start_heard_at": run.start_heard_at, "complete_heard_at": run.complete_heard_at,
            })
        };
        world.store.runs.values().map(short).collect()
    });
    HttpResponse::Ok().json(json!({ "runs": runs }))
}

async fn statistics(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(shared.read(|world| world.store.statistics.clone()))
}

async fn disconnect(shared: Data) -> HttpResponse {
    shared.tell(&ToSocket::Disconnect(None));
    HttpResponse::NoContent().finish()
}

async fn show_chaos(shared: Data) -> HttpResponse {
    HttpResponse::Ok().json(shared.read(|world| world.chaos.view()))
}

#[derive(Deserialize)]
struct ChaosRequest {
    rules: Vec<String>,
    #[serde(default)]
    seed: u64,
}

/// Replaces all rules, or none if one of them is wrong.
async fn set_chaos(body: web::Bytes, shared: Data) -> HttpResponse {
    let request: ChaosRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return bad_request(&format!("the body holds no chaos rules: {error}")),
    };
    match request.rules.iter().map(|rule| rule.parse()).collect() {
        Ok(rules) => {
            let chaos = Chaos::new(rules, request.seed);
            let view = chaos.view();
            shared.with(|world| world.chaos = chaos);
            HttpResponse::Ok().json(view)
        }
        Err(error) => {
            let error: RuleError = error;
            bad_request(&error.to_string())
        }
    }
}

//! The service that the sample workflow speaks to: a clinic with a list of patients, behind a user name and a password.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::web::{self, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// User name and password, as the sample workflow's credential has them.
const USER: &str = "demo:demo-password";

/// The running service; it ends with the process, or when it is told to.
pub(super) struct SampleService {
    /// Its address, such as `http://127.0.0.1:41234`.
    pub(super) url: String,
    server: ServerHandle,
}

impl SampleService {
    /// Starts it on a free port of this machine.
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = HttpServer::new(|| App::new().route("/patients", web::get().to(patients)))
            .workers(1)
            .disable_signals()
            .listen(listener)?
            .run();
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                log::error!("the sample service ended: {error}");
            }
        });
        Ok(Self {
            url,
            server: handle,
        })
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn patients(request: HttpRequest, query: Query<BTreeMap<String, String>>) -> HttpResponse {
    let wanted = format!("Basic {}", STANDARD.encode(USER));
    if request
        .headers()
        .get(AUTHORIZATION)
        .is_none_or(|given| given.as_bytes() != wanted.as_bytes())
    {
        return HttpResponse::Unauthorized()
            .insert_header((WWW_AUTHENTICATE, "Basic"))
            .finish();
    }
    let clinic = query.get("clinic").map_or("north", String::as_str);
    HttpResponse::Ok().json(json!([
        { "name": "Ama", "born": 1987, "clinic": clinic },
        { "name": "Bilal", "born": 1954, "clinic": clinic },
        { "name": "Chiara", "born": 2011, "clinic": clinic },
    ]))
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};

    use super::*;

    async fn ask(user: &str) -> (u16, serde_json::Value) {
        let app = init_service(App::new().route("/patients", web::get().to(patients))).await;
        let request = TestRequest::with_uri("/patients?clinic=south")
            .insert_header((AUTHORIZATION, format!("Basic {}", STANDARD.encode(user))))
            .to_request();
        let response = call_service(&app, request).await;
        let status = response.status().as_u16();
        (
            status,
            if status == 200 {
                read_body_json(response).await
            } else {
                serde_json::Value::Null
            },
        )
    }

    #[actix_web::test]
    async fn patients_are_told_to_those_who_know_the_password() {
        let (status, patients) = ask(USER).await;
        assert_eq!((status, &patients[0]["clinic"]), (200, &json!("south")));
        assert_eq!(ask("demo:wrong").await.0, 401);
    }

    #[test]
    fn the_sample_workflow_has_the_credential_and_three_jobs_on_both_kinds_of_edge() {
        let plan: serde_json::Value = serde_json::from_str(super::super::WORKFLOW).unwrap();
        let credential = &plan["jobs"][0]["credential"];
        assert_eq!(
            format!(
                "{}:{}",
                credential["username"].as_str().unwrap(),
                credential["password"].as_str().unwrap()
            ),
            USER
        );
        assert_eq!(plan["jobs"].as_array().unwrap().len(), 3);
        let conditions: Vec<_> = plan["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["condition"].as_str().unwrap())
            .collect();
        assert_eq!(conditions, ["always", "on_job_success", "on_job_failure"]);
    }
}

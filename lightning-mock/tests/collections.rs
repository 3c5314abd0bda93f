//! The collections API, as `@openfn/language-collections` uses it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use awc::http::Method;
use lightning_mock::{MockLightning, MockServer};
use serde_json::{Value, json};

async fn request(
    mock: &MockServer,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let token = mock.run_token("r1").unwrap();
    let request = awc::Client::new()
        .request(method, format!("{}/collections/{path}", mock.url()))
        .bearer_auth(token);
    let mut response = match body {
        Some(body) => request.send_json(&body).await.unwrap(),
        None => request.send().await.unwrap(),
    };
    let body = response.body().await.unwrap();
    (
        response.status().as_u16(),
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

async fn set(mock: &MockServer, name: &str, keys: &[&str]) -> (u16, Value) {
    let items: Vec<Value> = keys
        .iter()
        .map(|key| json!({ "key": key, "value": "{\"n\":1}" }))
        .collect();
    request(mock, Method::POST, name, Some(json!({ "items": items }))).await
}

#[actix_web::test]
async fn items_are_set_got_listed_by_page_and_removed() {
    let mock = MockLightning::builder().start().await.unwrap();
    assert_eq!(
        set(&mock, "c", &["a1", "a2", "b/1"]).await,
        (200, json!({ "upserted": 3, "error": null }))
    );
    let (status, item) = request(&mock, Method::GET, "c/b/1", None).await;
    assert_eq!(
        (status, &item["key"], &item["value"]),
        (200, &json!("b/1"), &json!("{\"n\":1}"))
    );
    assert_eq!(request(&mock, Method::GET, "c/none", None).await.0, 204);

    let (_, first) = request(&mock, Method::GET, "c?limit=2", None).await;
    let cursor = first["cursor"].as_str().unwrap();
    let (_, second) = request(
        &mock,
        Method::GET,
        &format!("c?limit=2&cursor={cursor}"),
        None,
    )
    .await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&second["items"][0]["key"], &second["cursor"]),
        (&json!("b/1"), &Value::Null)
    );
    let (_, matching) = request(
        &mock,
        Method::GET,
        "c?key=*1&created_after=2020-01-01",
        None,
    )
    .await;
    assert_eq!(matching["items"].as_array().unwrap().len(), 2);

    assert_eq!(
        request(&mock, Method::DELETE, "c/a1", None).await.1,
        json!({ "deleted": 1, "key": "a1" })
    );
    assert_eq!(
        request(&mock, Method::DELETE, "c?key=*", None).await.1,
        json!({ "deleted": 2, "key": "*" })
    );
}

#[actix_web::test]
async fn only_run_tokens_and_known_names_are_let_in() {
    let mock = MockLightning::builder()
        .collection("known")
        .start()
        .await
        .unwrap();
    assert_eq!(set(&mock, "known", &["a"]).await.0, 200);
    assert_eq!(set(&mock, "unknown", &["a"]).await.0, 404);
    let url = format!("{}/collections/known/a", mock.url());
    let without = awc::Client::new().get(&url).send().await.unwrap();
    let wrong = awc::Client::new()
        .get(&url)
        .bearer_auth("x.y.z")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (without.status().as_u16(), wrong.status().as_u16()),
        (401, 401)
    );
    assert_eq!(
        request(&mock, Method::POST, "known", Some(json!([])))
            .await
            .0,
        400
    );
    assert_eq!(
        request(&mock, Method::GET, "known?limit=x", None).await.0,
        400
    );
    assert_eq!(
        request(&mock, Method::GET, "known?cursor=%25", None)
            .await
            .0,
        400
    );
}

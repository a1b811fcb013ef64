//! The OpenAPI document says what the API does: every path is served, and answers have the shape it promises.

use crate::served::{CLAUDE, GPT, Served, ask};
use crate::support::each_database;
use serde_json::Value;

#[tokio::test]
async fn the_document_is_served_and_its_promises_hold() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let document: Value = it.get("/openapi.json").send().await.unwrap().json().await.unwrap();
        let paths = document["paths"].as_object().unwrap();

        let source = include_str!("../../src/http/mod.rs");
        let routes: Vec<&str> = source.split("\"").filter(|text| text.starts_with("/v1/")).collect();
        assert!(routes.len() >= 7, "{routes:?}");
        for route in &routes {
            assert!(paths.contains_key(*route), "{route} is served but not documented");
        }

        for (path, methods) in paths {
            for (method, operation) in methods.as_object().unwrap() {
                let model = if path.contains("chat") { GPT } else { CLAUDE };
                let request = match method.as_str() {
                    "get" => it.get(path),
                    "post" => it.post(path, &ask(model, "Name three colours.", 50, false)),
                    other => panic!("{path}: {other}"),
                };
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 200, "{method} {path}");
                for header in operation["responses"]["200"]["headers"].as_object().into_iter().flatten() {
                    let optional = header.0 == "x-tokenbank-note";
                    assert!(optional || response.headers().contains_key(header.0), "{path} has no {}", header.0);
                }
                let body: Value = response.json().await.unwrap();
                let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
                fits(&document, schema, &body, path);

                let stranger =
                    it.server.http.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", it.url));
                let refused = stranger.send().await.unwrap();
                assert_eq!(refused.status(), 401, "{path} without a key");
                let body: Value = refused.json().await.unwrap();
                fits(&document, &operation["responses"]["401"]["content"]["application/json"]["schema"], &body, path);
            }
        }
    })
    .await;
}

/// As much of JSON Schema as the document uses.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&reference[1..]).unwrap(), value, place);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, part, value, place);
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{place}: unknown type {other}"),
    };
    match &schema["type"] {
        Value::String(kind) => assert!(is(kind), "{place} is no {kind}: {value}"),
        Value::Array(kinds) => {
            assert!(kinds.iter().any(|kind| is(kind.as_str().unwrap())), "{place} is none of {kinds:?}: {value}");
        }
        _ => {}
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{place} is none of {choices:?}: {value}");
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(name).is_some(), "{place}.{name} is promised: {value}");
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            fits(document, inner, value, &format!("{place}.{name}"));
        }
    }
    for (at, value) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], value, &format!("{place}[{at}]"));
    }
}

//! Owns: `/healthz` (the process answers), `/readyz` (the database does too) and `/metrics`.

use crate::{Server, metrics, on_read};
use axum::extract::State;
use axum::http::StatusCode;

/// 200 while the process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when the database answers, else 503, so that a load balancer waits.
pub async fn readyz(State(server): State<Server>) -> (StatusCode, &'static str) {
    let answer = on_read!(&server.db, conn => sqlx::query("select 1").execute(conn).await.map(drop));
    match answer {
        Ok(()) if server.tasks.is_stopping() => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

/// Counters and gauges in Prometheus' text format.
pub async fn metrics() -> (StatusCode, String) {
    match metrics::recorder() {
        Some(recorder) => (StatusCode::OK, recorder.render()),
        None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

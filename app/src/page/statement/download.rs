//! A month of the statement as a file: `/credits/statement/2026-11.pdf` and `.csv`.

use crate::page::sign_in;
use crate::site;
use crate::visitor::Visitor;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Redirect, Response};
use domain::denial::Denial;
use domain::statement::CalendarMonth;
use serde::Deserialize;
use server::Server;
use server::error::{Error, Result};
use server::statement::{self, Subject};

/// `GET /credits/statement/{file}`
pub async fn file(
    State(server): State<Server>,
    Extension(visitor): Extension<Visitor>,
    Path(file): Path<String>,
    request: Request,
) -> Response {
    let Some(user) = visitor.user.as_ref() else {
        return Redirect::to(&sign_in::address(&visitor.address)).into_response();
    };
    let made = async {
        let missing = || Denial::NotFound { what: "statement".to_owned() };
        let (month, kind) = file.rsplit_once('.').ok_or_else(missing)?;
        let month: CalendarMonth = month.parse().map_err(|_| missing())?;
        let subject = Subject::of(user, month, server.clock.now())?;
        match kind {
            "pdf" => pdf(&server, subject).await,
            "csv" => Ok(attachment("text/csv; charset=utf-8", month, "csv", csv(&server, subject))),
            _ => Err(missing().into()),
        }
    };
    match made.await {
        Ok(response) => response,
        Err(error) => site::render_failure(visitor.clone(), error, request).await,
    }
}

async fn pdf(server: &Server, subject: Subject) -> Result<Response> {
    let month = subject.month;
    let document = statement::load_document(server, subject).await?;
    let bytes = tokio::task::spawn_blocking(move || statement::pdf(&document))
        .await
        .map_err(|error| Error::internal("write a PDF", error))??;
    Ok(attachment("application/pdf", month, "pdf", Body::from(bytes)))
}

fn csv(server: &Server, subject: Subject) -> Body {
    Body::from_stream(statement::csv(server.clone(), subject))
}

fn attachment(kind: &'static str, month: CalendarMonth, ending: &str, body: Body) -> Response {
    let disposition = format!("attachment; filename=\"tokenbank-{month}.{ending}\"");
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_DISPOSITION, disposition),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    (headers, body).into_response()
}

/// The month that was typed and the form it is wanted in.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    month: String,
    #[serde(default, rename = "as")]
    kind: String,
}

/// `GET /credits/statement/download?month=2026-11&as=pdf`: to the file.
pub async fn choose(Query(wanted): Query<Wanted>) -> Redirect {
    let ending = if wanted.kind == "csv" { "csv" } else { "pdf" };
    match wanted.month.trim().parse::<CalendarMonth>() {
        Ok(month) => Redirect::to(&format!("/credits/statement/{month}.{ending}")),
        Err(_) => Redirect::to("/credits/statement#months"),
    }
}

//! Owns: what a page shows instead of itself: a denial with its remedies, or a failure with its reference.
//! The one place where the pages' errors are logged, once.

use crate::ui::notice::{Notice, Tone};
use crate::ui::wait::Wait;
use crate::ui::when::in_zone;
use crate::visitor::Visitor;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::denial::Denial;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use server::Server;
use server::error::Error;

/// A failure outside a page: answered in plain text, because the page itself cannot be rendered.
pub struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self.0 {
            Error::Denied(denial) => (status_of(&denial), denial.sentence()).into_response(),
            Error::Internal(cause) => {
                tracing::error!(%cause, "a request failed before its page");
                let text = "Tokenbank cannot answer right now. Nothing was charged. Reload the page in a minute.";
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}

/// What stands where the page's content would be; sets the response's status.
pub fn in_place_of_page(server: &Server, error: Error) -> AnyView {
    match error {
        Error::Denied(denial) => {
            set_status(status_of(&denial));
            let is_missing = matches!(&denial, Denial::NotFound { .. } | Denial::UnknownSkill { .. });
            let title = if is_missing { "Not found" } else { "This did not work" };
            denied(title, &denial).into_any()
        }
        Error::Internal(cause) => {
            set_status(StatusCode::INTERNAL_SERVER_ERROR);
            let reference = server.clock.new_id();
            tracing::error!(%cause, %reference, "a page failed");
            failed(&reference).into_any()
        }
    }
}

/// Sets the status of the page that is being rendered.
pub fn set_status(status: StatusCode) {
    if let Some(options) = use_context::<ResponseOptions>() {
        options.set_status(status);
    }
}

/// The status of a page or a form that a denial answers.
pub fn status_of(denial: &Denial) -> StatusCode {
    StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn denied(title: &'static str, denial: &Denial) -> impl IntoView {
    view! {
        <div class="grid max-w-prose gap-4">
            <h1 class="page-title">{title}</h1>
            <p>{denial.sentence()}</p>
            <Remedies denial=denial.clone() />
        </div>
    }
}

fn failed(reference: &str) -> impl IntoView {
    view! {
        <div class="grid max-w-prose gap-4">
            <h1 class="page-title">"This page could not be shown"</h1>
            <p>
                "A part of Tokenbank failed while it read this page. Your balance and your runs are as they were, and "
                "nothing was charged. Reload the page; if it fails again, tell support this reference."
            </p>
            <p>
                <code>{reference.to_owned()}</code>
            </p>
        </div>
    }
}

/// The buttons that would help about a denial.
#[component]
pub fn Remedies(denial: Denial) -> impl IntoView {
    let remedies = denial.remedies();
    (!remedies.is_empty()).then(|| {
        view! {
            <p class="flex flex-wrap gap-3">
                {remedies
                    .into_iter()
                    .map(|remedy| view! { <a class="button" href=remedy.href>{remedy.label}</a> })
                    .collect_view()}
            </p>
        }
    })
}

/// A denial as a notice above the form that was refused. One that waiting helps about counts down.
#[component]
pub fn DenialNotice(denial: Denial) -> impl IntoView {
    let helps_in = denial.retry_after_seconds().filter(|_| denial.after_waiting(u64::MAX).is_none());
    let Some(seconds) = helps_in else {
        return view! {
            <Notice tone=Tone::Danger title=denial.sentence()>
                <Remedies denial=denial />
            </Notice>
        }
        .into_any();
    };
    let place = denial.queue_position().filter(|place| *place > 1);
    view! {
        <div class="notice notice-caution">
            <Wait denial=denial.clone() />
            {until(seconds)
                .map(|from| {
                    let place = place.map(|place| format!("You are number {place} in line. "));
                    view! { <p>{place} {format!("It works again from {from} on.")}</p> }
                })} <Remedies denial=denial />
        </div>
    }
    .into_any()
}

/// The moment after so many seconds in the reader's zone: to the second while it is near.
fn until(seconds: u64) -> Option<String> {
    let visitor = use_context::<Visitor>()?;
    let zone = visitor.user.map_or_else(|| "UTC".to_owned(), |user| user.time_zone);
    let at = visitor.server.clock.now().plus_seconds(i64::try_from(seconds).ok()?);
    let format = if seconds < 3_600 { "%H:%M:%S" } else { "%-d %b, %H:%M" };
    Some(in_zone(at, &zone).strftime(format).to_string())
}

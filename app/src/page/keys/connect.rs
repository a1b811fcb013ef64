//! Connecting OpenRouter by its own sign-in: the button that leads there, and the address that it comes back to.

use crate::error::Failure;
use crate::page::sign_in;
use crate::post::ForAccount;
use crate::visitor::Visitor;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use leptos::prelude::*;
use serde::Deserialize;
use server::Server;
use server::provider_key::{Connected, NotConnected, Returned, finish_connection};

/// The button, with what it does.
pub fn button() -> AnyView {
    view! {
        <form class="grid justify-items-start gap-2 border-t border-line pt-4" method="post" action="/keys">
            <ForAccount />
            <input type="hidden" name="do" value="connect" />
            <p class="text-13 text-ink-muted" id="connect-hint">
                "OpenRouter can make the key for you: you agree on its own page and come back here. Nothing is copied."
            </p>
            <button class="button" aria-describedby="connect-hint">"Connect OpenRouter"</button>
        </form>
    }
    .into_any()
}

/// What OpenRouter adds to the address.
#[derive(Deserialize)]
pub struct Answer {
    code: Option<String>,
}

/// `GET /keys/openrouter/{state}`: back from OpenRouter, with a code or without one. Answered by a redirect, so that neither
/// stays in the address.
pub async fn returned(
    State(server): State<Server>,
    Extension(visitor): Extension<Visitor>,
    Path(state): Path<String>,
    Query(answer): Query<Answer>,
) -> Response {
    let not_connected = |problem: NotConnected| format!("/keys?connect={problem}");
    let Some(user) = &visitor.user else {
        return Redirect::to(&sign_in::address(&not_connected(NotConnected::Stranger))).into_response();
    };
    let returned = Returned { state: &state, code: answer.code.as_deref() };
    match finish_connection(&server, user, &visitor.session, returned).await {
        Ok(Connected::Saved(key)) => Redirect::to(&format!("/keys?done=connected&key={}", key.id)).into_response(),
        Ok(Connected::Not(problem)) => Redirect::to(&not_connected(problem)).into_response(),
        Err(error) => Failure::from(error).into_response(),
    }
}

//! Owns: the way from an HTTP request to a page: the visitor, forms, the pages' content policy, the built site.
//! Does not own: the API and the webhooks, the guard and the headers of every answer (`server::http`), the session
//! layer, which the binary puts around both.

use crate::page::{
    accounts, agents, alerts, api_keys, auto_top_up, confirm_email, credits, delete, explained, given, invitation,
    keys, limits, plan, plan_change, refund, reset_password, second_factor, settings, sign_in, sign_up, statement,
    tasks, team, unsubscribe, verify_email, webhooks,
};
use crate::post::Refused;
use crate::visitor::{Visitor, origin};
use crate::{asset, error, shell, theme, visitor};
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use domain::provider::Provider;
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use server::Server;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

/// Every address of the pages. The API and the webhooks are `server::http::router`.
pub fn router(server: Server) -> Router {
    // Leptos runs on tokio. A second router in one process finds it set, which is no failure.
    let _ = any_spawner::Executor::init_tokio();
    let pages = Router::new()
        .route("/theme", post(theme::submit))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/accounts/switch", post(accounts::switch))
        .route("/invitation", form(invitation::submit))
        .route("/confirm-email", form(confirm_email::submit))
        .route("/agents", form(agents::submit))
        .route("/api-keys", form(api_keys::submit))
        .route("/team", form(team::submit))
        .route("/settings", form(settings::submit))
        .route("/settings/webhooks", form(webhooks::submit))
        .route("/settings/webhooks/{id}", form(webhooks::submit_one))
        .route("/alerts", form(alerts::submit))
        .route("/alerts/settings", form(alerts::submit_settings))
        .route("/unsubscribe", form(unsubscribe::submit))
        .route("/settings/second-factor", form(second_factor::submit))
        .route("/sign-in/code", form(second_factor::submit_code))
        .route("/settings/delete", form(delete::submit))
        .route("/settings/delete-user", form(delete::submit_user))
        .route("/sign-up", form(sign_up::submit))
        .route("/sign-in", form(sign_in::submit))
        .route("/verify-email", form(verify_email::submit))
        .route("/reset-password", form(reset_password::submit))
        .route("/reset-password/new", form(reset_password::submit_new))
        .route("/credits", form(credits::submit))
        .route("/credits/code", form(given::submit))
        .route("/credits/explained", form(explained::submit))
        .route("/credits/statement/download", get(statement::download::choose))
        .route("/credits/statement/{file}", get(statement::download::file))
        .route("/credits/auto-top-up", form(auto_top_up::submit))
        .route("/credits/refund", form(refund::submit))
        .route("/keys", form(keys::submit))
        .route("/keys/openrouter/{state}", get(keys::returned))
        .route("/limits", form(limits::submit))
        .route("/plan", form(plan::submit))
        .route("/plan/change/{id}", form(plan_change::submit))
        .route("/tasks/{skill}", form(tasks::submit))
        .fallback(page)
        .layer(from_fn_with_state(server.clone(), visitor::load))
        .layer(CompressionLayer::new());
    Router::new()
        .route("/assets/{version}/{*path}", get(asset::serve))
        .merge(pages)
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
        ))
        .with_state(server)
}

/// A page with a form: its own address takes both.
fn form<H, T>(submit: H) -> MethodRouter<Server>
where
    H: Handler<T, Server>,
    T: 'static,
{
    get(page).post(submit)
}

/// Any page. The console's pages lead to sign-in when nobody is signed in, and back afterwards.
async fn page(State(_): State<Server>, visitor: axum::Extension<Visitor>, request: Request) -> Response {
    let axum::Extension(visitor) = visitor;
    if visitor.user.is_none() && shell::is_console(visitor.path()) {
        return Redirect::to(&sign_in::address(&visitor.address)).into_response();
    }
    render(visitor, Refused::default(), None, request).await
}

/// The page at the request's address. `status` is for a form that was refused; else the page sets its own.
pub async fn render(visitor: Visitor, refused: Refused, status: Option<StatusCode>, request: Request) -> Response {
    render_with(visitor, refused, status, request, shell::routes).await
}

/// The console's frame with a failure in it.
pub async fn render_failure(visitor: Visitor, cause: server::error::Error, request: Request) -> Response {
    let server = visitor.server.clone();
    let cause = std::sync::Mutex::new(Some(cause));
    render_with(visitor, Refused::default(), None, request, move || {
        let cause = cause.lock().ok().and_then(|mut cause| cause.take());
        crate::ui::layout::public("Not available", cause.map(|cause| error::in_place_of_page(&server, cause)))
    })
    .await
}

async fn render_with(
    visitor: Visitor,
    refused: Refused,
    status: Option<StatusCode>,
    request: Request,
    content: impl Fn() -> AnyView + Send + Sync + 'static,
) -> Response {
    let config = &visitor.server.config;
    let openrouter = config.key_urls.get(&Provider::OpenRouter).map_or("", |url| origin(url));
    let elsewhere = format!("{} {openrouter}", checkout_origin(&config.stripe.api_url));
    let content = std::sync::Arc::new(content);
    let context = move || {
        provide_context(visitor.clone());
        provide_context(refused.clone());
        if let Some(status) = status {
            error::set_status(status);
        }
        set_page_headers(&elsewhere);
    };
    leptos_axum::render_app_async_with_context(context, move || shell::document(content()))(request).await
}

/// Only our own files, the one script with this answer's nonce, and forms that end here, at Checkout or at OpenRouter's
/// sign-in: browsers hold a redirect after a form to `form-action` too.
fn set_page_headers(elsewhere: &str) {
    let (Some(options), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) else { return };
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
         font-src 'self'; connect-src 'self'; form-action 'self' {elsewhere}; base-uri 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        options.insert_header(CONTENT_SECURITY_POLICY, policy);
    }
    options.insert_header(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}

/// Where Checkout's, the portal's and the bank's pages (3-D Secure) are: Stripe's own, or wherever the settings say that Stripe is.
fn checkout_origin(stripe_api_url: &str) -> String {
    if stripe_api_url.starts_with("https://api.stripe.com") {
        return "https://checkout.stripe.com https://billing.stripe.com https://hooks.stripe.com".to_owned();
    }
    origin(stripe_api_url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkout_is_where_stripe_is() {
        assert_eq!(
            checkout_origin("https://api.stripe.com/"),
            "https://checkout.stripe.com https://billing.stripe.com https://hooks.stripe.com"
        );
        assert_eq!(checkout_origin("http://127.0.0.1:4000/stripe/"), "http://127.0.0.1:4000");
    }
}

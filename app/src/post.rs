//! Owns: how every form is answered. A form posts to the address of its own page. If it worked, the answer is a
//! redirect (303), so that a reload does not send it again. If it was refused, the answer is the same page again with
//! status 422 (or the denial's own, when waiting helps), the problem beside its field and what was typed kept.
//! This needs no JavaScript and no state between two requests. Passwords, keys and tokens are never put back.

use crate::error::{DenialNotice, Failure, status_of};
use crate::site;
use crate::visitor::Visitor;
use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use domain::denial::Denial;
use leptos::prelude::*;
use server::Server;
use server::account::User;
use server::error::{Error, Result};
use server::http::client_ip::ClientIp;
use std::net::IpAddr;
use tower_sessions::Session;

/// A form that was sent: its fields, and who sent it.
pub struct Post {
    pub server: Server,
    pub session: Session,
    pub visitor: Visitor,
    fields: Vec<(String, String)>,
    /// The request without its body, to render its page again.
    page: Parts,
}

impl FromRequest<Server> for Post {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Server) -> std::result::Result<Post, Response> {
        let (parts, body) = request.into_parts();
        let (Some(visitor), Some(session)) =
            (parts.extensions.get::<Visitor>().cloned(), parts.extensions.get::<Session>().cloned())
        else {
            let error = Error::Internal("a form was sent past the session layer".to_owned());
            return Err(Failure::from(error).into_response());
        };
        let page = parts.clone();
        let Form(fields) = Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), server)
            .await
            .map_err(axum::response::IntoResponse::into_response)?;
        Ok(Post { server: server.clone(), session, visitor, fields, page })
    }
}

impl Post {
    /// The same form with one more field, for what its page is to know when it comes back refused.
    #[must_use]
    pub fn also(mut self, name: &str, value: &str) -> Post {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A field as it was typed; empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// Every value of a field that may be sent several times.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// A field that says where to go next, if it is a path of this site, else `otherwise`.
    pub fn local_path(&self, name: &str, otherwise: &str) -> String {
        let path = self.text(name);
        let local = path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n']);
        if local { path.to_owned() } else { otherwise.to_owned() }
    }

    /// Where the form came from, for limits on attempts.
    pub fn ip(&self) -> Result<IpAddr> {
        match self.page.extensions.get::<ClientIp>() {
            Some(ClientIp(ip)) => Ok(*ip),
            None => Err(Error::Internal("a form was sent past the guard".to_owned())),
        }
    }

    /// What follows `prefix` in the address that the form was sent to.
    pub fn path_after(&self, prefix: &str) -> &str {
        self.visitor.path().strip_prefix(prefix).unwrap_or_default()
    }

    /// The page again with what was typed, for a form that asked to see something first.
    pub async fn again(self) -> Response {
        let refused = Refused { denial: None, typed: self.fields };
        site::render(self.visitor, refused, None, page_again(self.page)).await
    }

    /// The page again with these fields instead of what was typed, for what is shown once and kept nowhere.
    pub async fn again_with(self, fields: Vec<(String, String)>) -> Response {
        Post { fields, ..self }.again().await
    }

    /// Whoever is signed in; a denial when nobody is, or when the form was made for another account of theirs than the one
    /// they look at now, which happens with two tabs.
    pub fn user(&self) -> Result<&User> {
        let user = self.visitor.user.as_ref().ok_or(Denial::NotSignedIn)?;
        let made_for = self.text(FOR_ACCOUNT);
        if made_for.is_empty() || made_for == user.account_id.as_str() {
            return Ok(user);
        }
        let name = &user.account_name;
        let problem = format!("You look at {name} now, and this form was for another account. Nothing was done.");
        Err(Denial::Conflict { problem }.into())
    }

    /// What the browser calls itself.
    pub fn user_agent(&self) -> &str {
        self.page.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer: a redirect to where `outcome` says, or the page again with the denial.
    pub async fn answer(self, outcome: Result<String>) -> Response {
        match outcome {
            Ok(address) => Redirect::to(&address).into_response(),
            Err(Error::Denied(denial)) => {
                let waiting_helps = denial.retry_after_seconds().is_some() || denial.status() >= 500;
                let status = if waiting_helps { status_of(&denial) } else { StatusCode::UNPROCESSABLE_ENTITY };
                let typed = self.fields.into_iter().filter(|(name, _)| !is_secret(name)).collect();
                let request = page_again(self.page);
                site::render(self.visitor, Refused { denial: Some(denial), typed }, Some(status), request).await
            }
            Err(error @ Error::Internal(_)) => {
                let request = page_again(self.page);
                site::render_failure(self.visitor, error, request).await
            }
        }
    }
}

/// The field of a form that says for which account it was made.
const FOR_ACCOUNT: &str = "for_account";

/// Put it into a form that changes an account: [`Post::user`] then refuses what was made for another one.
#[component]
pub fn ForAccount() -> impl IntoView {
    let account_id = use_context::<Visitor>().and_then(|visitor| visitor.user).map(|user| user.account_id.to_string());
    account_id.map(|account_id| view! { <input type="hidden" name=FOR_ACCOUNT value=account_id /> })
}

/// The request that shows the page of a form.
fn page_again(mut form: Parts) -> Request {
    form.method = Method::GET;
    Request::from_parts(form, Body::empty())
}

fn is_secret(field: &str) -> bool {
    ["password", "secret", "token", "code"].iter().any(|secret| field.contains(secret))
}

/// The form that was just refused, for the page that is rendered again; empty when the page was merely opened.
#[derive(Clone, Default)]
pub struct Refused {
    denial: Option<Denial>,
    typed: Vec<(String, String)>,
}

impl Refused {
    /// The refusal that the page being rendered answers.
    pub fn current() -> Refused {
        use_context::<Refused>().unwrap_or_default()
    }

    /// Why, if the form was refused.
    pub fn denial(&self) -> Option<&Denial> {
        self.denial.as_ref()
    }

    /// The same, if it was the form called `name` (its field `do`) that was refused, else nothing.
    pub fn of(&self, name: &str) -> Refused {
        if self.typed("do").as_deref() == Some(name) { self.clone() } else { Refused::default() }
    }

    /// What was typed into a field.
    pub fn typed(&self, name: &str) -> Option<String> {
        self.typed.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    /// Every value of a field that there is several times.
    pub fn all_typed(&self, name: &str) -> Vec<String> {
        self.typed.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
    }

    /// What is wrong with a field, and what to do.
    pub fn problem(&self, name: &str) -> Option<String> {
        match &self.denial {
            Some(Denial::Invalid { field, problem, remedy }) if field == name => Some(format!("{problem}. {remedy}")),
            Some(_) | None => None,
        }
    }

    /// The denial as a notice, unless it stands beside one of `fields` already.
    pub fn notice(&self, fields: &[&str]) -> Option<impl IntoView + use<>> {
        let denial = self.denial.clone()?;
        let beside_field = fields.iter().any(|field| self.problem(field).is_some());
        (!beside_field).then(|| view! { <DenialNotice denial=denial /> })
    }
}

//! Owns: a small site behind the real session layer and the real guard, over HTTP on loopback, and a browser for it.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use secrecy::SecretString;
use server::error::Error;
use server::http::client_ip::ClientIp;
use server::http::guard;
use server::session::{self, Session};
use server::{Server, account};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often something that changes something ran.
#[derive(Clone, Default)]
pub struct Ran(Arc<AtomicUsize>);

impl Ran {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The address of a site of `server`, and what counts its changes.
pub async fn start(server: &Server) -> (String, Ran) {
    let ran = Ran::default();
    let router = Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(async |session: Session| session::end(&session).await.map_err(refused)))
        .route("/rotate", post(async |session: Session| session::rotate(&session).await.map_err(refused)))
        .route("/who", get(who))
        .route("/ip", get(async |ClientIp(ip): ClientIp| ip.to_string()))
        .route("/change", any(change))
        .route("/api/change", any(change))
        .route("/v1/change", any(change))
        .route("/webhooks/change", any(change))
        .fallback(change)
        .layer(Extension(ran.clone()))
        .layer(session::layer(server))
        .with_state(server.clone());
    let service = guard::protect(router, server).into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    server.tasks.spawn(async move { axum::serve(listener, service).await.unwrap() });
    (address, ran)
}

async fn sign_in(
    State(server): State<Server>,
    session: Session,
    ClientIp(ip): ClientIp,
    body: String,
) -> Result<(), Response> {
    let (email, password) = body.split_once('\n').unwrap_or_default();
    let user = account::sign_in(&server, email, &SecretString::from(password), ip).await.map_err(refused)?;
    session::start(&session, &user).await.map_err(refused)
}

async fn who(State(server): State<Server>, session: Session) -> Result<String, Response> {
    let user = session::load_signed_in(&server, &session).await.map_err(refused)?;
    Ok(user.map(|user| user.email).unwrap_or_default())
}

async fn change(Extension(ran): Extension<Ran>, body: String) -> String {
    ran.0.fetch_add(1, Ordering::SeqCst);
    format!("changed by {} bytes", body.len())
}

fn refused(error: Error) -> Response {
    let status = error.denial().map_or(500, domain::denial::Denial::status);
    (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response()
}

/// A browser: it keeps the session cookie and says where its requests come from.
pub struct Browser {
    client: reqwest::Client,
    address: String,
    pub cookie: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Browser {
    pub fn new(address: &str) -> Browser {
        Browser { client: client(), address: address.to_owned(), cookie: None }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("sec-fetch-site", "same-origin")], body).await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.post("/sign-in", &format!("{email}\n{password}")).await
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.address)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if let Some(cookie) = headers.get("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap_or_default();
            self.cookie = pair.split_once('=').filter(|(_, id)| !id.is_empty()).map(|_| pair.to_owned());
        }
        Answer { status, headers, body: response.text().await.unwrap() }
    }
}

#[allow(clippy::disallowed_methods)] // A browser of the tests, not a client of the server.
fn client() -> reqwest::Client {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

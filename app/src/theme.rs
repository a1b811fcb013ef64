//! Owns: light, dark or the system's choice, kept in a cookie so that the server renders it and nothing flashes.

use crate::post::Post;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::{IntoResponse as _, Response};
use domain::text_enum;

text_enum! {
    /// Which colours a visitor wants.
    Theme {
        System = "system",
        Light = "light",
        Dark = "dark",
    }
}

impl Theme {
    /// The choice in the cookie; the system's without one.
    pub fn from_headers(headers: &HeaderMap) -> Theme {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .find_map(|pair| pair.trim().strip_prefix("theme="))
            .and_then(|value| value.parse().ok())
            .unwrap_or(Theme::System)
    }

    /// What `<html data-theme>` says; nothing when the system decides.
    pub const fn attribute(self) -> Option<&'static str> {
        match self {
            Theme::System => None,
            Theme::Light => Some("light"),
            Theme::Dark => Some("dark"),
        }
    }
}

/// `POST /theme`: keeps the choice for a year and returns to the page it came from.
pub async fn submit(post: Post) -> Response {
    let theme: Theme = post.text("theme").parse().unwrap_or(Theme::System);
    let back = post.local_path("next", "/");
    let cookie = format!("theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax");
    ([(SET_COOKIE, cookie)], axum::response::Redirect::to(&back)).into_response()
}

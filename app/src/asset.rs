//! Owns: the files inside the binary: style sheet, WebAssembly, fonts, compressed when the site was built.
//! Their addresses carry a version made from all of them, so a browser keeps them for ever and never mixes two builds.

use axum::extract::Path;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

#[derive(RustEmbed)]
#[folder = "../target/site"]
#[allow_missing = true]
struct Site;

/// The folder of the script, the module and the style sheet, which have their hashes in their names.
pub const PACKAGE: &str = "pkg";

/// Names without a hash that pages ask for, and the files they stand for (`manifest.json` of the built site).
static ALIASES: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let manifest: BTreeMap<String, String> =
        Site::get("manifest.json").and_then(|file| serde_json::from_slice(&file.data).ok()).unwrap_or_default();
    [("js", "pkg/web.js"), ("wasm", "pkg/web_bg.wasm"), ("css", "pkg/web.css")]
        .into_iter()
        .filter_map(|(kind, alias)| Some((alias, manifest.get(kind)?.clone())))
        .collect()
});

/// `/assets/` and a version made from every file.
pub static ROOT: LazyLock<String> = LazyLock::new(|| {
    let mut files: Vec<Cow<'static, str>> = Site::iter().collect();
    files.sort();
    // FNV-1a over the files' own SHA-256: only equality matters.
    let hash = files
        .iter()
        .filter_map(|name| Site::get(name))
        .flat_map(|file| file.metadata.sha256_hash())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut root = String::from("/assets/");
    // Writing to a String cannot fail.
    let _ = write!(root, "{hash:016x}");
    root
});

/// The address of a file of the site.
pub fn url(path: &str) -> String {
    format!("{}/{path}", *ROOT)
}

/// Whether the browser half was built into this binary.
pub fn has_browser_half() -> bool {
    ALIASES.contains_key("pkg/web_bg.wasm")
}

/// `GET /assets/{version}/{path}`.
pub async fn serve(Path((_version, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let path = ALIASES.get(path.as_str()).map_or(path.as_str(), String::as_str);
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let compressed = [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .filter(|(encoding, _)| accepted.split(',').any(|offer| offer.trim().starts_with(encoding)))
        .find_map(|(encoding, suffix)| Some((encoding, Site::get(&format!("{path}{suffix}"))?)));
    let (encoding, file) = match compressed {
        Some((encoding, file)) => (Some(encoding), file),
        None => match Site::get(path) {
            Some(file) => (None, file),
            None => return StatusCode::NOT_FOUND.into_response(),
        },
    };
    let mut response = file.data.into_owned().into_response();
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

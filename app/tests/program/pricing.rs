//! The public pages for a stranger: no look into the database, no script, and how long the server takes.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Parser as _;
use server::Server;
use server::clock::Clock;
use server::config::{Config, Settings};
use std::path::PathBuf;
use std::time::Instant;
use tower::ServiceExt as _;

const PAGES: [&str; 6] = [
    "/pricing",
    "/pricing?mode=byok&seats=4",
    "/pricing/calculator",
    "/pricing/calculator?profile=strategic-leader&plan=team&seats=3",
    "/terms",
    "/",
];

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn config(name: &str, catalogue: &str) -> Config {
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&data);
    let flags = ["app", "--public-url=http://127.0.0.1:3000", "--stripe-secret-key=sk_test_it"].into_iter();
    let flags = flags.chain(["--stripe-webhook-secret=whsec_it", "--smtp-url=smtp://127.0.0.1:1"]);
    let mut settings = Flags::parse_from(flags).settings;
    settings.data = data;
    settings.database_url = None;
    settings.catalogue = Some(catalogue.into());
    settings.check(false).unwrap_or_else(|problems| panic!("{} settings are wrong", problems.len()))
}

async fn get(server: &Server, address: &str) -> (StatusCode, String) {
    let router = app::router(server.clone()).layer(server::session::layer(server));
    let request = Request::get(address).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_stranger_sees_the_prices_without_the_database() {
    for catalogue in ["tiers", "legionis"] {
        let server = Server::open(config(&format!("pricing-{catalogue}"), catalogue), Clock::system()).await.unwrap();
        // Whoever asks the database now fails.
        server.db.close().await;
        for page in PAGES {
            let (status, text) = get(&server, page).await;
            assert_eq!(status, StatusCode::OK, "{catalogue} {page}");
            assert!(!text.contains(".wasm") && !text.contains(r#"type="module""#), "{page} loads no code");
            let begun = Instant::now();
            for _ in 0..10 {
                get(&server, page).await;
            }
            eprintln!("{catalogue} {page}: {} µs, {} bytes", begun.elapsed().as_micros() / 10, text.len());
        }
    }
}

#[tokio::test]
async fn legionis_shows_its_modules() {
    let server = Server::open(config("pricing-modules", "legionis"), Clock::system()).await.unwrap();
    let (_, text) = get(&server, "/pricing?seats=3").await;
    for shown in ["$10", "$17", "$25", "$30.00 a month for 3 seats", "From credit"] {
        assert!(text.contains(shown), "{shown}");
    }
    assert!(!text.contains("Guest</h2>"), "what an account has before it chose is not for sale");
    assert!(!text.contains("% less"), "there is nothing to save");
    server.db.close().await;
}

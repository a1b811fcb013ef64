//! Field failure 17: what another site makes a browser send. Also the other things every request passes.

use crate::site::{self, Browser};
use crate::support::each_database;
use server::Server;

#[tokio::test]
async fn nothing_that_another_site_sends_runs() {
    each_database(async |world| {
        let (address, ran) = site::start(&world.server).await;
        let mut browser = Browser::new(&address);
        let attacks: [&[(&str, &str)]; 11] = [
            &[],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:3000.evil.example")],
            &[("origin", "http://127.0.0.1:1")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:3000")],
            &[("sec-fetch-site", "none"), ("origin", "https://evil.example")],
            &[("referer", "http://127.0.0.1:3000/credits")],
            &[("x-http-method-override", "GET"), ("origin", "https://evil.example")],
        ];
        for headers in attacks {
            for path in ["/change", "/api/change", "/sign-out", "/nowhere", "//v1/change", "/v1x/change", "/webhooks"] {
                for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"] {
                    let answer = browser.send(method, path, headers, "amount=1").await;
                    assert_eq!(answer.status, 403, "{method} {path} {headers:?}");
                    assert!(answer.body.contains("came from another site"), "{}", answer.body);
                }
            }
            for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/cbor"] {
                let headers: Vec<_> = headers.iter().copied().chain([("content-type", content_type)]).collect();
                assert_eq!(browser.send("POST", "/api/change", &headers, "x").await.status, 403);
            }
            // A server function declared with GET by mistake.
            assert_eq!(browser.send("GET", "/api/change?amount=1", headers, "").await.status, 403, "{headers:?}");
        }
        assert_eq!(ran.count(), 0);
    })
    .await;
}

#[tokio::test]
async fn our_own_pages_reading_and_callers_with_another_proof_pass() {
    each_database(async |world| {
        let (address, ran) = site::start(&world.server).await;
        let mut browser = Browser::new(&address);
        let passes: [(&str, &str, &[(&str, &str)]); 8] = [
            ("POST", "/change", &[("sec-fetch-site", "same-origin")]),
            ("POST", "/change", &[("sec-fetch-site", "none")]),
            ("POST", "/change", &[("origin", "http://127.0.0.1:3000")]),
            ("POST", "/change", &[("origin", &address)]),
            ("GET", "/change", &[("sec-fetch-site", "cross-site")]),
            ("GET", "/api/change", &[("sec-fetch-site", "same-origin")]),
            ("POST", "/v1/change", &[("origin", "https://evil.example")]),
            ("POST", "/webhooks/change", &[]),
        ];
        for (index, (method, path, headers)) in passes.into_iter().enumerate() {
            let answer = browser.send(method, path, headers, "four").await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, "changed by 4 bytes"),
                "{method} {path} {headers:?}"
            );
            assert_eq!(ran.count(), index + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_has_a_limit_whether_it_says_its_length_or_not() {
    each_database(async |world| {
        let (address, ran) = site::start(&world.server).await;
        let mut browser = Browser::new(&address);
        let (full, over) = ("x".repeat(1 << 20), "x".repeat((1 << 20) + 1));
        assert_eq!(browser.post("/change", &full).await.status, 200);
        assert_eq!(browser.post("/change", &over).await.status, 413);
        assert_eq!(browser.post("/v1/change", &over).await.status, 200);
        assert_eq!(ran.count(), 2);
        assert_eq!(chunked(&address, over.len()).await, 413);
        assert_eq!(ran.count(), 2);
    })
    .await;
}

/// Posts so many bytes without saying how many; the status of the answer.
async fn chunked(address: &str, length: usize) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = address.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /change HTTP/1.1\r\nhost: {host}\r\nsec-fetch-site: same-origin\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{length:x}\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let _closed_early = socket.write_all(&vec![b'x'; length]).await;
    let _closed_early = socket.write_all(b"\r\n0\r\n\r\n").await;
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[9..12]).parse().unwrap()
}

#[tokio::test]
async fn every_answer_carries_its_headers_and_an_id() {
    each_database(async |world| {
        let (address, _) = site::start(&world.server).await;
        let mut browser = Browser::new(&address);
        let refused = browser.send("POST", "/change", &[], "").await;
        let answered = browser.get("/who").await;
        for answer in [&refused, &answered] {
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "same-origin"),
                ("cross-origin-opener-policy", "same-origin"),
            ] {
                assert_eq!(answer.headers[name], value, "{name}");
            }
            assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
            assert!(!answer.headers.contains_key("strict-transport-security"), "on plain http it means nothing");
        }
        assert_ne!(refused.headers["x-request-id"], answered.headers["x-request-id"]);
    })
    .await;
}

#[tokio::test]
async fn a_forwarded_address_is_believed_from_a_trusted_proxy_only() {
    each_database(async |world| {
        let forged = [("x-forwarded-for", "192.0.2.99")];
        let (address, _) = site::start(&world.server).await;
        assert_eq!(Browser::new(&address).send("GET", "/ip", &forged, "").await.body, "127.0.0.1");
        let mut config = world.config.clone();
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        let behind_proxy = Server::open(config, world.clock.clone()).await.unwrap();
        let (address, _) = site::start(&behind_proxy).await;
        assert_eq!(Browser::new(&address).send("GET", "/ip", &forged, "").await.body, "192.0.2.99");
    })
    .await;
}

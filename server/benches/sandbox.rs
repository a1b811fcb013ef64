//! How much the sandbox can answer, so that the other benchmarks measure Tokenbank and not the sandbox.

use sandbox::{Options, start};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;
const REQUESTS: usize = 2_000;

pub fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(small_requests());
}

async fn small_requests() {
    let sandbox = start(Options::default()).await.unwrap();
    let body = r#"{"model":"gpt-4o","max_completion_tokens":16,"messages":[{"role":"user","content":"Hi"}]}"#;
    let request = format!(
        "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let began = Instant::now();
    let connections = (0..CONNECTIONS).map(async |_| {
        let mut stream = TcpStream::connect(sandbox.base_url.trim_start_matches("http://")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0_u8; 4_096];
        for _ in 0..REQUESTS {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut seen = 0;
            // The answer ends with its usage.
            while !buffer[..seen].ends_with(b"}}}") {
                seen += stream.read(&mut buffer[seen..]).await.unwrap();
            }
        }
    });
    futures::future::join_all(connections).await;
    let rate = (CONNECTIONS * REQUESTS) as u128 * 1_000_000 / began.elapsed().as_micros();
    println!("The sandbox answers {rate} small requests a second (target: at least 10,000)");
}

//! Owns: `tokenbank healthcheck`, for an image that has nothing in it to ask with.

use super::{Outcome, Problem};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the server on this machine whether it and its database answer (`/readyz`).
pub async fn ask(listen: SocketAddr) -> Result<Outcome, Problem> {
    // A server that listens everywhere is also here.
    let here = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let address = SocketAddr::new(here, listen.port());
    match tokio::time::timeout(PATIENCE, status_line(address)).await {
        Ok(Ok(line)) if line.split(' ').nth(1) == Some("200") => Ok(Outcome::Done),
        Ok(Ok(line)) => Err(Problem::Failed(format!("{address} is not ready: {line}"))),
        Ok(Err(error)) => Err(Problem::Failed(format!("{address} does not answer: {error}"))),
        Err(_) => Err(Problem::Failed(format!("{address} does not answer within {} s", PATIENCE.as_secs()))),
    }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

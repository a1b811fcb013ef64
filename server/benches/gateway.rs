//! What the gateway costs beside a bare proxy: requests a second, added time, CPU a request, time to the first token.
//!
//! Four processes, so that each one's CPU is its own: this one makes the load; the sandbox is the provider; `floor` is a
//! bare hyper proxy; `plain` is our router and provider code without key, price, ledger and usage row; `governed` is
//! the whole of `POST /v1/messages` on SQLite with full synchronisation. Rounds alternate, so that a disturbance meets
//! all of them. `--anyway` runs on a loaded machine; `--streams N` sets the streams at once.

use crate::served::{ANTHROPIC_KEY, CLAUDE, Node, ask};
use crate::support::World;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use domain::provider::Provider as ProviderName;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use server::Server;
use server::clock::Clock;
use server::provider::{CallBody, KeyOwner, Tap, UpstreamCall, send};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 3;
const REQUESTS_A_ROUND: usize = 2_000;
const ALONE_A_ROUND: usize = 150;
const KINDS: [&str; 3] = ["floor", "plain", "governed"];
/// The model's name at the provider, which all three accept.
const UPSTREAM_NAME: &str = "claude-sonnet-4-5-20250929";

/// One of the processes, if the arguments say so, else the measurement.
pub fn main(arguments: &[String]) {
    let value = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Some(pace) = value("--upstream") {
        runtime.block_on(upstream(pace.parse().unwrap()));
    } else if let Some(kind) = value("--gateway") {
        runtime.block_on(gateway(kind, value("--provider").unwrap()));
    } else {
        let streams = value("--streams").map_or(64, |streams| streams.parse().unwrap());
        crate::refuse_a_loaded_machine(arguments);
        runtime.block_on(measure(streams));
    }
}

// ── The processes ───────────────────────────────────────────────────────────────────────────────────────────────────

/// The sandbox as the provider, until stdin closes.
async fn upstream(pace: u32) {
    let sandbox = sandbox::start(sandbox::Options { pace, ..sandbox::Options::default() }).await.unwrap();
    ready(&sandbox.anthropic_url(), "");
}

/// One of the three gateways, until stdin closes.
async fn gateway(kind: &str, provider: &str) {
    if kind == "floor" {
        return floor(provider.to_owned()).await;
    }
    // With a clock that stands still the ids would have no order, and every insert would meet another page.
    World::sqlite_at(Clock::system())
        .await
        .run(async |world| {
            let node = Node::open(world, 1_000_000, (provider.to_owned(), provider.to_owned())).await;
            if kind == "governed" {
                return ready(&node.url, &node.key);
            }
            let app = Router::new().route("/v1/messages", post(plain)).with_state(node.server.clone());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            spawn(async move { axum::serve(listener, app).await.unwrap() });
            ready(&url, &node.key);
        })
        .await;
}

/// Says where it is, and ends when the parent does.
fn ready(url: &str, key: &str) {
    println!("ready {url} {key}");
    std::io::stdout().flush().unwrap();
    tokio::task::block_in_place(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
}

/// A bare proxy: another header with the key, nothing else.
async fn floor(provider: String) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (client, provider) = (client.clone(), provider.clone());
            let forward = service_fn(move |mut request: hyper::Request<Incoming>| {
                *request.uri_mut() = format!("{provider}{}", request.uri().path()).parse().unwrap();
                request.headers_mut().remove("host");
                request.headers_mut().insert("x-api-key", ANTHROPIC_KEY.parse().unwrap());
                request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
                client.request(request)
            });
            spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), forward).await;
            });
        }
    });
    ready(&url, "");
}

/// Our own router and provider code, without what governs it.
async fn plain(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    let provider = server.providers.choose(ProviderName::Anthropic).unwrap().clone();
    let call = CallBody::read(&body).unwrap();
    let streams = call.outline.streams;
    let body = provider.write_call(&call, &call.outline.model, call.outline.max_output_tokens.unwrap());
    let call = UpstreamCall { body, headers, streams, owner: KeyOwner::Platform };
    let answer = send(&server.http, &*provider, &call, server.providers.patience, &server.tasks).await.unwrap();
    if !streams {
        let body = answer.bytes().await.unwrap();
        let mut reading = server::provider::Reading::default();
        provider.read_whole(&body, &mut reading);
        return Response::new(Body::from(body));
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    server.tasks.spawn(async move {
        let mut tap = Tap::new(&*provider);
        let mut chunks = answer.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            tap.read(&chunk, &mut |_| ());
            if sender.send(Ok::<_, std::io::Error>(chunk)).await.is_err() {
                break;
            }
        }
    });
    Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

#[allow(clippy::disallowed_methods)] // It ends with the process.
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

// ── The load ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A process of this benchmark, ended when dropped.
struct Process {
    child: Child,
    url: String,
    key: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("gateway")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.trim_end_matches('\n').split(' ').skip(1).map(ToOwned::to_owned);
        Process { child, url: words.next().expect("a process that is ready"), key: words.next().unwrap_or_default() }
    }

    /// CPU so far, in user and kernel.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    async fn connect(&self) -> Connection {
        let address = self.url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn(async move {
            let _ = connection.await;
        });
        Connection { sender, host: address.to_owned(), key: self.key.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    key: String,
}

impl Connection {
    /// Sends one request; the time to the first bytes of the body, and to its end.
    async fn ask(&mut self, body: &Bytes) -> (Duration, Duration) {
        let request = hyper::Request::post("/v1/messages")
            .header("host", &self.host)
            .header("x-api-key", &self.key)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .unwrap();
        self.sender.ready().await.unwrap();
        let begun = Instant::now();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let mut body = response.into_body();
        let (mut first, mut whole) = (None, Vec::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                first.get_or_insert_with(|| begun.elapsed());
                whole.extend_from_slice(&data);
            }
        }
        let took = begun.elapsed();
        let text = String::from_utf8_lossy(&whole);
        let complete = text.ends_with('}') || text.ends_with("{\"type\":\"message_stop\"}\n\n");
        assert!(status == 200 && complete, "{status} {text}");
        (first.unwrap(), took)
    }
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    /// Requests a second of each round.
    rates: Vec<f64>,
    cpu: Duration,
    alone: Vec<Duration>,
}

async fn measure(streams: usize) {
    let sync = fdatasync_p50();
    let provider = Process::start(&["--upstream", "0"]);
    let gateways: Vec<Process> =
        KINDS.iter().map(|kind| Process::start(&["--gateway", kind, "--provider", &provider.url])).collect();
    let body = Bytes::from(ask(UPSTREAM_NAME, "Name three colours.", 20, false).to_string());
    debug_assert_ne!(CLAUDE, UPSTREAM_NAME);

    let mut measured: Vec<Measured> = KINDS.iter().map(|_| Measured::default()).collect();
    for round in 0..=ROUNDS {
        for (gateway, measured) in gateways.iter().zip(&mut measured) {
            let result = one_round(gateway, &body).await;
            // The first round warms up.
            if round > 0 {
                measured.times.extend(result.times);
                measured.rates.extend(result.rates);
                measured.cpu += result.cpu;
                measured.alone.extend(result.alone);
            }
        }
    }
    report(&mut measured, sync);
    drop(gateways);
    measure_streams(streams).await;
}

async fn one_round(gateway: &Process, body: &Bytes) -> Measured {
    let mut connection = gateway.connect().await;
    let mut alone = Vec::new();
    for _ in 0..ALONE_A_ROUND {
        alone.push(connection.ask(body).await.1);
    }
    let left = Arc::new(AtomicUsize::new(REQUESTS_A_ROUND));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(gateway.connect().await);
    }
    let (cpu, begun) = (gateway.cpu(), Instant::now());
    let loads = connections.into_iter().map(|mut connection| {
        let (left, body) = (left.clone(), body.clone());
        async move {
            let mut times = Vec::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                times.push(connection.ask(&body).await.1);
            }
            times
        }
    });
    let times: Vec<Duration> = futures::future::join_all(loads).await.into_iter().flatten().collect();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Measured { times, rates: vec![rate], cpu: gateway.cpu() - cpu, alone }
}

fn report(measured: &mut [Measured], sync: Duration) {
    println!(
        "POST /v1/messages, not streamed, {CONNECTIONS} connections, {ROUNDS} rounds of {REQUESTS_A_ROUND} requests; fdatasync p50 {}",
        ms(sync)
    );
    println!(
        "{:<10}{:>12}{:>12}{:>12}{:>14}{:>14}{:>16}",
        "", "requests/s", "added p50", "added p99", "CPU/request", "CPU ÷ floor", "alone, +p50"
    );
    let (mut floor, mut floor_alone) = ((Duration::ZERO, Duration::ZERO), Duration::ZERO);
    let mut floor_cpu = 0.0;
    let mut plain_rate = 0.0;
    for (kind, measured) in KINDS.iter().zip(measured) {
        let (p50, p99) = (quantile(&mut measured.times, 50), quantile(&mut measured.times, 99));
        let alone = quantile(&mut measured.alone, 50);
        let rate = measured.rates.iter().sum::<f64>() / measured.rates.len() as f64;
        let cpu = measured.cpu.as_secs_f64() * 1e6 / (ROUNDS * REQUESTS_A_ROUND) as f64;
        if *kind == "floor" {
            (floor, floor_alone, floor_cpu) = ((p50, p99), alone, cpu);
        }
        if *kind == "plain" {
            plain_rate = rate;
        }
        println!(
            "{kind:<10}{rate:>12.0}{:>12}{:>12}{:>11.0} µs{:>14.2}{:>16}",
            added(p50, floor.0),
            added(p99, floor.1),
            cpu,
            cpu / floor_cpu,
            added(alone, floor_alone)
        );
        if *kind == "governed" {
            let budget = sync.mul_f64(1.5) + Duration::from_micros(100);
            println!(
                "governed keeps {:.0} % of plain (target 65 %); alone it adds {} (target at most {})",
                100.0 * rate / plain_rate,
                added(alone, floor_alone),
                ms(budget)
            );
        }
    }
    println!("floor p50 {}, p99 {}; alone {}", ms(floor.0), ms(floor.1), ms(floor_alone));
}

/// The time to the first token with many streams at once.
async fn measure_streams(streams: usize) {
    let provider = Process::start(&["--upstream", "100"]);
    let gateways: Vec<Process> =
        KINDS.iter().map(|kind| Process::start(&["--gateway", kind, "--provider", &provider.url])).collect();
    let body = Bytes::from(ask(UPSTREAM_NAME, "Name three colours.", 80, true).to_string());
    let mut first: Vec<Vec<Duration>> = KINDS.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for (gateway, first) in gateways.iter().zip(&mut first) {
            let mut connections = Vec::new();
            for _ in 0..streams {
                connections.push(gateway.connect().await);
            }
            // Spread over the time that a stream takes, as people come.
            let asked = connections.into_iter().enumerate().map(|(at, mut connection)| {
                let (body, wait) = (body.clone(), Duration::from_micros(800_000 * at as u64 / streams as u64));
                async move {
                    tokio::time::sleep(wait).await;
                    connection.ask(&body).await.0
                }
            });
            let times = futures::future::join_all(asked).await;
            if round > 0 {
                first.extend(times);
            }
        }
    }
    println!("\nTime to the first token, {streams} streams at once, every frame counted");
    println!("{:<10}{:>12}{:>12}{:>12}{:>12}", "", "p50", "p99", "added p50", "added p99");
    let mut floor = (Duration::ZERO, Duration::ZERO);
    for (kind, first) in KINDS.iter().zip(&mut first) {
        let (p50, p99) = (quantile(first, 50), quantile(first, 99));
        if *kind == "floor" {
            floor = (p50, p99);
        }
        println!("{kind:<10}{:>12}{:>12}{:>12}{:>12}", ms(p50), ms(p99), added(p50, floor.0), added(p99, floor.1));
    }
}

fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn added(time: Duration, floor: Duration) -> String {
    format!("{:+.3} ms", (time.as_secs_f64() - floor.as_secs_f64()) * 1e3)
}

/// How long the disk of the database takes to make a page durable.
fn fdatasync_p50() -> Duration {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fdatasync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&[7; 4_096]).unwrap();
            let begun = Instant::now();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    std::fs::remove_file(path).unwrap();
    quantile(&mut times, 50)
}

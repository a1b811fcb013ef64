//! `tokenbank-sandbox`: the sandbox as a program. It ends when its standard input closes, so that it dies with whoever
//! started it, or when it is told to (SIGTERM, Ctrl-C).

use clap::Parser;
use std::io::Write as _;
use std::process::ExitCode;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// Stripe, Anthropic, OpenAI and a mailbox on 127.0.0.1, for the demo, the tests and the benchmarks. No money moves.
#[derive(Parser, Debug)]
#[command(name = "tokenbank-sandbox", version)]
struct Arguments {
    /// Port of the HTTP server; 0 takes a free one.
    #[arg(long, default_value_t = 4000)]
    port: u16,
    /// Port of the mail server; 0 takes a free one.
    #[arg(long, default_value_t = 2525)]
    smtp_port: u16,
    /// Where Stripe's webhooks go.
    #[arg(long, requires = "webhook_secret")]
    webhook_url: Option<String>,
    /// The secret that signs them.
    #[arg(long, env = "SANDBOX_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Where browsers find the hosted pages, if not at the address it listens on.
    #[arg(long)]
    public_url: Option<String>,
    /// How fast the models write, in tokens a second; 0 is as fast as possible.
    #[arg(long, default_value_t = 700)]
    pace: u32,
    /// Decides ids and texts; unset, each start has its own.
    #[arg(long)]
    seed: Option<u64>,
    /// Keep running when standard input closes.
    #[arg(long)]
    stay: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::new("sandbox=info,warn"))
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the sandbox could not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> std::io::Result<()> {
    let sandbox = sandbox::start(sandbox::Options {
        port: arguments.port,
        smtp_port: arguments.smtp_port,
        webhook: arguments.webhook_url.zip(arguments.webhook_secret),
        public_url: arguments.public_url,
        seed: arguments.seed.unwrap_or_else(sandbox::fresh_seed),
        pace: arguments.pace,
        now: None,
    })
    .await?;
    let mut out = std::io::stdout();
    writeln!(out, "ready {} {}", sandbox.base_url, sandbox.smtp_url())?;
    out.flush()?;

    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        () = input_closed(), if !arguments.stay => {}
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    // A blocked read of standard input must not keep the process alive.
    drop(sandbox);
    std::process::exit(0);
}

async fn input_closed() {
    let mut input = tokio::io::stdin();
    let mut ignored = [0_u8; 256];
    while matches!(input.read(&mut ignored).await, Ok(count) if count > 0) {}
}

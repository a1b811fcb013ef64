//! Owns: `tokenbank serve`, and running a server on an address until it is told to stop.

use super::{Outcome, Problem, say};
use axum::Router;
use server::clock::Clock;
use server::config::Settings;
use server::http::guard;
use server::{Server, session};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

pub async fn serve(settings: Settings) -> Result<Outcome, Problem> {
    log(Format::Json);
    let config = settings.check(false).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        Problem::Usage(format!("these settings must be mended before it can start:\n{}", lines.join("\n")))
    })?;
    let listener = bind(config.listen).await?;
    // Port 0 takes a free one, so the address is said as it came to be.
    let address = listener.local_addr().map_err(|error| Problem::Failed(error.to_string()))?;
    let server = Server::open(config, Clock::system()).await?;
    server.run_background();
    say(&format!("tokenbank listens on http://{address}"));
    until_told_to_stop(server, listener).await?;
    Ok(Outcome::Done)
}

/// Listens, or says what to do when the address is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Problem> {
    TcpListener::bind(address).await.map_err(|error| {
        Problem::Failed(format!("cannot listen on {address}: {error}. Choose another address, or stop what uses it."))
    })
}

/// Answers requests until SIGINT or SIGTERM, then lets running requests, runs and jobs end.
pub async fn until_told_to_stop(server: Server, listener: TcpListener) -> Result<(), Problem> {
    let router = everything(&server).into_make_service_with_connect_info::<SocketAddr>();
    // Small writes, such as the frames of a stream, leave at once.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(told_to_stop(server.clone()))
        .await
        .map_err(|error| Problem::Failed(format!("the server ended: {error}")))?;
    server.stop().await;
    Ok(())
}

/// The pages, the API and the webhooks, with the session around them and the guard in front of all.
fn everything(server: &Server) -> Router {
    let routes = app::router(server.clone()).merge(server::http::router(server.clone()));
    guard::protect(routes.layer(session::layer(server)), server)
}

async fn told_to_stop(server: Server) {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be received; stop with SIGINT");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
    tracing::info!("stopping: running work may end first");
    server.tasks.announce_stop();
}

/// How log lines look.
pub enum Format {
    /// For machines.
    Json,
    /// For the person who started the demo.
    Text,
}

/// Warnings and our own news. Stripe's client warns of every answer that is not 2xx; what matters of those we say ourselves.
const DEFAULT_LOG: &str = "warn,server=info,app=info,stripe=error,stripe_client_core=error";

/// Sends the log to standard error; `RUST_LOG` chooses what, by default warnings and our own news.
pub fn log(format: Format) {
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let builder = tracing_subscriber::fmt().with_env_filter(filter()).with_writer(std::io::stderr);
    let installed = match format {
        Format::Json => builder.json().try_init(),
        Format::Text => builder.with_target(false).compact().try_init(),
    };
    // Only a second call in one process fails, and then the first one stands.
    drop(installed);
}

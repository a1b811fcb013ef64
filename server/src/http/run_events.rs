//! Owns: `GET /runs/{id}/events`: a run as server-sent events, from its beginning, whenever one joins.
//! Events: `delta` {text}, `meter` {output_tokens, cost_nanos}, and last `end` {state, charge_nanos, cost_nanos, note}.

use crate::Server;
use crate::execution::{Live, Run, RunState, load_run};
use crate::session::{Session, load_signed_in};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::id::{AccountId, ExecutionId};
use domain::money::Usd;
use futures::stream::{self, Stream, StreamExt as _};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often a run on another server is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The run's events, for whoever is signed in to its account; 404 for everybody else.
pub async fn run_events(State(server): State<Server>, session: Session, Path(id): Path<String>) -> Response {
    let id = ExecutionId::new(id);
    let found = async {
        let Some(user) = load_signed_in(&server, &session).await? else { return Ok(None) };
        let run = load_run(&server, &user.account_id, &id).await?;
        Ok::<_, crate::error::Error>(run.map(|run| (user.account_id, run)))
    };
    let (account_id, run) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return (StatusCode::NOT_FOUND, "There is no such run.\n").into_response(),
        Err(error) => {
            tracing::error!(execution_id = %id, %error, "follow a run");
            return (StatusCode::INTERNAL_SERVER_ERROR, "The run cannot be followed right now.\n").into_response();
        }
    };
    let events = match (&run.state, server.runs.find(&id)) {
        (RunState::Ended { .. }, _) => stream::iter(replay(&run, 0)).map(Ok::<_, Infallible>).boxed(),
        (RunState::Running, Some(live)) => follow(live).boxed(),
        (RunState::Running, None) => wait_for_end(server, account_id, id).boxed(),
    };
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

/// Where a reader of a live run stands.
struct Place {
    live: Arc<Live>,
    changed: watch::Receiver<()>,
    seen: usize,
    metered: Option<(u64, Usd)>,
    ended: bool,
}

fn follow(live: Arc<Live>) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut changed = live.watch();
    changed.mark_changed();
    let place = Place { live, changed, seen: 0, metered: None, ended: false };
    stream::unfold(place, |mut place| async move {
        if place.ended {
            return None;
        }
        // The sender lives as long as `live`, which is kept here.
        place.changed.changed().await.ok()?;
        let news = place.live.since(place.seen);
        place.seen += news.delta.len();
        let mut events = Vec::new();
        if !news.delta.is_empty() {
            events.push(delta(&news.delta));
        }
        if let Some(run) = &news.ended {
            place.ended = true;
            events.extend(replay(run, place.seen));
        } else if place.metered != Some((news.output_tokens, news.cost)) {
            place.metered = Some((news.output_tokens, news.cost));
            events.push(meter(news.output_tokens, news.cost));
        }
        Some((events, place))
    })
    .flat_map(|events| stream::iter(events.into_iter().map(Ok)))
}

/// A run that goes on at another server: its text comes at its end.
fn wait_for_end(
    server: Server,
    account_id: AccountId,
    id: ExecutionId,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::once(async move {
        while !server.tasks.is_stopping() {
            match load_run(&server, &account_id, &id).await {
                Ok(Some(run)) if matches!(run.state, RunState::Ended { .. }) => return replay(&run, 0),
                Ok(Some(_)) => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(execution_id = %id, %error, "follow a run elsewhere");
                    break;
                }
            }
        }
        Vec::new()
    })
    .flat_map(|events| stream::iter(events.into_iter().map(Ok)))
}

/// An ended run's events, after the first `seen` bytes of its text.
fn replay(run: &Run, seen: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let RunState::Ended { state, charge, usage, note, .. } = &run.state else { return events };
    if let Some(rest) = run.output_text.get(seen..).filter(|rest| !rest.is_empty()) {
        events.push(delta(rest));
    }
    events.push(meter(usage.output.saturating_add(usage.reasoning), run.cost));
    let end = json!({ "state": state, "charge_nanos": charge, "cost_nanos": run.cost, "note": note });
    events.push(Event::default().event("end").data(end.to_string()));
    events
}

fn delta(text: &str) -> Event {
    Event::default().event("delta").data(json!({ "text": text }).to_string())
}

fn meter(output_tokens: u64, cost: Usd) -> Event {
    Event::default().event("meter").data(json!({ "output_tokens": output_tokens, "cost_nanos": cost }).to_string())
}

//! Owns: the task of one run, from the hold to its end, and where its output goes.
//! Does not own: the decision to start (`start`), carrying the stream (`forward`), what it costs (`finish`).
//! Invariant: every hold that is made here ends here, whatever happens to the reader.

use super::finish::{Closed, finish, finish_refused};
use super::forward::{self, Cut, Delivery, HOLD_SECONDS, forward, send_to_client};
use super::mask::Mask;
use super::own_key::{self, Used, learn};
use super::{Live, Who, refused};
use crate::Server;
use crate::error::{Error, Result};
use crate::ledger::{Held, HoldState, NewHold, Started};
use crate::provider::{Provider, Reading, Refusal, Rejection, UpstreamCall, send};
use crate::provider_key::Fallback;
use bytes::Bytes;
use domain::denial::Denial;
use domain::funding::{Funding, FundingSource};
use domain::id::{ExecutionId, ProviderKeyId};
use domain::money::Usd;
use domain::rate::Prices;
use std::io;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot};

/// Everything that was decided before a run begins.
pub(super) struct Plan {
    pub who: Who,
    pub execution_id: ExecutionId,
    pub started: Started,
    /// The hold: the most that can be charged.
    pub ceiling: Usd,
    /// What its agent lets it cost, where that stops it earlier than it would.
    pub shortened_to: Option<Usd>,
    /// Who may pay.
    pub funding: Funding,
    pub prices: Prices,
    /// What we believe the input to be, in case the provider does not say.
    pub input_tokens: u64,
    pub provider: Arc<dyn Provider>,
    /// The user's own key that it is sent with; `None` for ours.
    pub own_key: Option<ProviderKeyId>,
    /// It is paid from here in place of the account's own key.
    pub fallback: Option<Fallback>,
    /// The account has secrets that its run may not say.
    pub has_secrets: bool,
    pub call: UpstreamCall,
}

/// What an API client gets.
pub enum Answer {
    /// The provider says the request is wrong; nothing was charged.
    Rejected {
        execution_id: ExecutionId,
        rejection: Rejection,
    },
    Whole(Whole),
    /// Frames as they come; it ends after the run was recorded.
    Stream {
        execution_id: ExecutionId,
        source: FundingSource,
        frames: mpsc::Receiver<io::Result<Bytes>>,
    },
}

/// An answer that was not streamed, with what it cost.
pub struct Whole {
    pub execution_id: ExecutionId,
    pub body: Bytes,
    pub closed: Closed,
}

/// Where a run's output goes.
pub(super) enum Reader {
    Page(Arc<Live>),
    Client { head: Option<oneshot::Sender<Result<Answer>>>, frames: Option<mpsc::Sender<io::Result<Bytes>>> },
}

/// Runs it: hold, provider, stream, finish.
pub(super) async fn run(server: Server, mut plan: Plan, mut reader: Reader) {
    let new = NewHold {
        execution_id: plan.execution_id.clone(),
        account_id: plan.who.account_id.clone(),
        amount: plan.ceiling,
        funding: plan.funding.clone(),
        expires_at: server.clock.now().plus_seconds(HOLD_SECONDS),
        started: plan.started.clone(),
    };
    let asked_for = std::mem::take(&mut plan.call.body);
    let call = UpstreamCall { body: asked_for.clone(), ..plan.call.clone() };
    let (held, asked) = hold_and_ask(&server, new, &plan, call).await;
    let mut hold = match held {
        Ok(Held::New(hold)) => hold,
        Ok(Held::Repeated(state)) => return reader.repeated(&server, &plan, state),
        Err(error) => {
            let error = server.waiting.place(&server, &plan, &asked_for, error);
            let denial = refused::lacks_credit(&error).cloned();
            reader.refuse(&server, &plan, error);
            if let Some(denial) = denial {
                refused::note(&server, &plan, &denial).await;
            }
            return;
        }
    };
    server.waiting.leave(&plan, &asked_for);
    drop(asked_for);
    plan.started.source = hold.source();
    reader.admitted(hold.source());
    let Asked { answer, used, mask } = asked.await;
    let response = match answer {
        Ok(response) => response,
        Err(refusal) => {
            let closed = finish_refused(&server, &plan, hold, &refusal).await;
            learn(&server, used.as_ref(), Err(&refusal)).await;
            return reader.refused_upstream(&server, &plan, refusal, closed);
        }
    };

    if plan.call.streams {
        reader.begin_stream(&plan);
        let delivery = forward(&server, &plan, &mut hold, (response, mask.as_ref()), &mut reader).await;
        let cut = delivery.cut.clone();
        let error_was_sent = delivery.reading.error.is_some();
        let closed = finish(&server, &plan, hold, delivery, reader.text()).await;
        learn(&server, used.as_ref(), Ok(closed.cost)).await;
        reader.end_stream(&server, &plan, cut.filter(|_| !error_was_sent), closed).await;
    } else {
        let (delivery, body) = tokio::select! {
            read = forward::read_whole(&server, &plan, &mut hold, (response, mask.as_ref())) => read,
            () = stopped_for_long(&server) => (Delivery { cut: Some(Cut::Stopping), ..Delivery::default() }, Bytes::new()),
        };
        let cut = delivery.cut.clone();
        let closed = finish(&server, &plan, hold, delivery, None).await;
        learn(&server, used.as_ref(), Ok(closed.cost)).await;
        reader.end_whole(&server, &plan, (cut, body), closed);
    }
}

/// What came of asking the provider.
struct Asked {
    answer: Result<reqwest::Response, Refusal>,
    /// The account's own key that it was asked with.
    used: Option<Used>,
    /// What the answer may not say.
    mask: Option<Mask>,
}

/// Asks the provider as soon as the hold is decided, while it becomes durable; whoever waits for the answer must see
/// the hold first. If the hold is not made after all, the call is dropped, and what it cost is the platform's.
async fn hold_and_ask<'a>(
    server: &'a Server,
    new: NewHold,
    plan: &Plan,
    call: UpstreamCall,
) -> (Result<Held>, impl Future<Output = Asked> + use<'a>) {
    let (fits, provider) = (Arc::new(Notify::new()), plan.provider.clone());
    let mut held = Box::pin(server.ledger.hold_and_tell(new, fits.clone()));
    let (own_key, account_id, has_secrets) = (plan.own_key.clone(), plan.who.account_id.clone(), plan.has_secrets);
    let mut asking = Box::pin(async move {
        let (provider, used) = match own_key {
            Some(id) => match own_key::open(server, &account_id, &*provider, id).await {
                Ok((provider, used)) => (provider, Some(used)),
                Err(refusal) => return Asked { answer: Err(refusal), used: None, mask: None },
            },
            None => (provider, None),
        };
        let answer = async {
            tokio::select! {
                asked = send(&server.http, &*provider, &call, server.providers.patience, &server.tasks) => asked,
                () = stopped_for_long(server) => {
                    let problem = "had not answered when this server was restarted".to_owned();
                    Err(Refusal::Denied(Denial::Upstream { who: provider.name().to_owned(), problem }))
                }
            }
        };
        let (answer, mask) = if has_secrets {
            tokio::join!(answer, own_key::load_mask(server, &account_id))
        } else {
            (answer.await, Ok(None))
        };
        match mask {
            Ok(mask) => Asked { answer, used, mask },
            Err(refusal) => Asked { answer: Err(refusal), used, mask: None },
        }
    });
    let mut asked = None;
    let decided = tokio::select! {
        biased;
        held = &mut held => Some(held),
        () = fits.notified() => None,
    };
    let held = match decided {
        Some(held) => held,
        None => tokio::select! {
            held = &mut held => held,
            answer = &mut asking => {
                asked = Some(answer);
                held.await
            }
        },
    };
    let asked = async move {
        match asked {
            Some(answer) => answer,
            None => asking.await,
        }
    };
    (held, asked)
}

/// Ends a while after the server was told to stop: what has not ended by then is cut.
async fn stopped_for_long(server: &Server) {
    server.tasks.stopping().await;
    tokio::time::sleep(server.providers.patience.stopping).await;
}

impl Reader {
    /// It is decided who pays; the page may follow the run.
    fn admitted(&self, source: FundingSource) {
        match self {
            Reader::Page(live) => {
                live.paid_by(source);
                live.admit(Ok(()));
            }
            Reader::Client { .. } => {}
        }
    }

    /// The hold was refused, so there is no run.
    fn refuse(self, server: &Server, plan: &Plan, error: Error) {
        match self {
            Reader::Page(live) => {
                server.runs.remove(&plan.execution_id);
                live.admit(Err(error));
            }
            Reader::Client { head, .. } => answer(head, Err(error)),
        }
    }

    /// Somebody else runs this id, or ran it.
    fn repeated(self, server: &Server, plan: &Plan, state: HoldState) {
        match self {
            Reader::Page(live) => {
                server.runs.remove(&plan.execution_id);
                live.admit(Ok(()));
            }
            Reader::Client { head, .. } => {
                let problem = format!("Run {} exists already; its hold is {state}.", plan.execution_id);
                answer(head, Err(Denial::Conflict { problem }.into()));
            }
        }
    }

    fn refused_upstream(self, server: &Server, plan: &Plan, refusal: Refusal, closed: Closed) {
        match (self, refusal) {
            (Reader::Page(live), _) => close_page(server, plan, &live, closed),
            (Reader::Client { head, .. }, Refusal::Rejected(rejection)) => {
                answer(head, Ok(Answer::Rejected { execution_id: plan.execution_id.clone(), rejection }));
            }
            (Reader::Client { head, .. }, Refusal::Denied(denial) | Refusal::OwnKey { denial, .. }) => {
                answer(head, Err(denial.into()));
            }
        }
    }

    /// The provider's stream has begun: from here on nothing is tried again.
    fn begin_stream(&mut self, plan: &Plan) {
        match self {
            Reader::Page(_) => {}
            Reader::Client { head, frames } => {
                let (sender, receiver) = mpsc::channel(8);
                let execution_id = plan.execution_id.clone();
                let source = plan.started.source;
                answer(head.take(), Ok(Answer::Stream { execution_id, source, frames: receiver }));
                *frames = Some(sender);
            }
        }
    }

    /// Text for a person.
    pub(super) fn show(&self, text: &str) {
        match self {
            Reader::Page(live) => live.push(text),
            Reader::Client { .. } => {}
        }
    }

    /// What it has cost so far, for a person.
    pub(super) fn show_meter(&self, plan: &Plan, reading: &Reading) {
        match self {
            Reader::Page(live) => {
                let (usage, cost) = forward::cost_so_far(plan, reading);
                live.meter(usage.output.saturating_add(usage.reasoning), cost);
            }
            Reader::Client { .. } => {}
        }
    }

    /// Bytes for a client.
    pub(super) async fn pass(&mut self, frames: Bytes) {
        match self {
            Reader::Page(_) => {}
            Reader::Client { frames: client, .. } => {
                if let Some(sender) = client
                    && !frames.is_empty()
                    && !send_to_client(sender, Ok(frames)).await
                {
                    *client = None;
                }
            }
        }
    }

    /// Whether nobody reads any more. A page that is left is read again later.
    pub(super) fn has_left(&self) -> bool {
        match self {
            Reader::Page(_) => false,
            Reader::Client { frames, .. } => frames.as_ref().is_none_or(mpsc::Sender::is_closed),
        }
    }

    /// The text a person saw.
    fn text(&self) -> Option<String> {
        match self {
            Reader::Page(live) => Some(live.text()),
            Reader::Client { .. } => None,
        }
    }

    async fn end_stream(self, server: &Server, plan: &Plan, cut: Option<Cut>, closed: Closed) {
        match self {
            Reader::Page(live) => close_page(server, plan, &live, closed),
            Reader::Client { frames: Some(client), .. } => {
                if let Some(cut) = cut {
                    let words = cut.words(plan.provider.name());
                    let note = closed.note.as_deref().unwrap_or_default();
                    let event = crate::http::dialect::error_event(plan.provider.dialect(), &format!("{words}. {note}"));
                    send_to_client(&client, Ok(event)).await;
                }
            }
            Reader::Client { frames: None, .. } => {}
        }
    }

    fn end_whole(self, server: &Server, plan: &Plan, (cut, body): (Option<Cut>, Bytes), closed: Closed) {
        match (self, cut) {
            (Reader::Page(live), _) => close_page(server, plan, &live, closed),
            (Reader::Client { head, .. }, None) => {
                answer(head, Ok(Answer::Whole(Whole { execution_id: plan.execution_id.clone(), body, closed })));
            }
            (Reader::Client { head, .. }, Some(cut)) => {
                let problem = cut.words("").trim().to_owned();
                answer(head, Err(Denial::Upstream { who: plan.provider.name().to_owned(), problem }.into()));
            }
        }
    }
}

fn close_page(server: &Server, plan: &Plan, live: &Live, closed: Closed) {
    live.end(closed);
    server.runs.remove(&plan.execution_id);
}

/// A client that has left does not hear the answer; the run is recorded all the same.
fn answer(head: Option<oneshot::Sender<Result<Answer>>>, answer: Result<Answer>) {
    if let Some(head) = head {
        let _ = head.send(answer);
    }
}

//! Owns: the decision to start a run: standing, limit, route, funding, quote; then the hold, in the run's own task.
//! Does not own: what follows (`run`).
//! Invariant: nothing is spent before the hold is durable, and the hold is the most that the run can cost.

use super::run::{Plan, Reader, run};
use super::{Answer, Run, RunRequest, Who, load_run};
use crate::account::{Permission, User};
use crate::agent::Runner;
use crate::allowance::Standing;
use crate::error::{Error, Result};
use crate::ledger::Started;
use crate::provider::{CallBody, Dialect, KeyOwner, Prompt, Provider, UpstreamCall};
use crate::provider_key::{self, Fallback};
use crate::{Server, allowance, usage};
use axum::http::HeaderMap;
use bytes::Bytes;
use domain::agent::{Fitted, RunCap};
use domain::catalogue::Catalogue;
use domain::denial::Denial;
use domain::funding::{Funding, FundingSource, Payer};
use domain::id::{ExecutionId, ProviderKeyId, SkillId};
use domain::money::Usd;
use domain::quote::{Draft, History, Media, Quote, alternatives, quote};
use domain::rate::Prices;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What an API client asks for.
#[derive(Clone)]
pub struct Call {
    pub dialect: Dialect,
    pub body: Bytes,
    pub headers: HeaderMap,
    /// The run's id, if whoever calls has one for it already.
    pub execution_id: Option<ExecutionId>,
}

/// What was decided: who answers, at which price.
struct Decided {
    quote: Quote,
    /// What its agent lets it cost, where that stops it earlier than it would.
    shortened_to: Option<Usd>,
    prices: Prices,
    provider: Arc<dyn Provider>,
    upstream_name: String,
    funding: Funding,
    own_key: Option<ProviderKeyId>,
    fallback: Option<Fallback>,
    /// Whether there are secrets of the account that its run may not say.
    has_secrets: bool,
}

/// Starts a run from a page and returns once its credit is held. The same id again is the same run, and no second
/// charge. The run goes on whatever becomes of the page; follow it at `/runs/{id}`.
pub async fn start(server: &Server, user: &User, request: RunRequest) -> Result<ExecutionId> {
    user.require(Permission::RunTasks)?;
    let who = Who::from(user);
    let id = request.execution_id.clone();
    if let Some(live) = server.runs.find(&id)
        && live.run().account_id == who.account_id
    {
        live.admitted().await?;
        return Ok(id);
    }
    if load_run(server, &who.account_id, &id).await?.is_some() {
        return Ok(id);
    }

    let history = usage::history(server, &who.account_id, &request.skill).await?;
    let standing = allowance::load(server, &who.account_id).await?;
    let plan = plan_run(server, (who, &standing), request, &history)?;
    count_fallback(server, &plan).await?;

    let begun = Run::begun(plan.who.account_id.clone(), id.clone(), &plan.started);
    let Some((live, is_new)) = server.runs.insert(begun) else {
        return Err(Denial::TooManyAttempts { retry_after_seconds: 10 }.into());
    };
    if is_new {
        server.tasks.spawn(run(server.clone(), plan, Reader::Page(live.clone())));
    }
    live.admitted().await?;
    Ok(id)
}

/// Runs an API client's request; returns at the head of the answer. If the client leaves, the run goes on and is
/// charged what the provider bills.
pub async fn start_call(server: &Server, who: Who, call: Call) -> Result<Answer> {
    let agent = who.agent.as_ref().map(|agent| &agent.agent_id);
    let standing = allowance::load_for(server, &who.account_id, agent).await?;
    let plan = plan_call(server, (who, &standing), call)?;
    count_fallback(server, &plan).await?;
    let (head, answer) = oneshot::channel();
    server.tasks.spawn(run(server.clone(), plan, Reader::Client { head: Some(head), frames: None }));
    answer.await.map_err(|_| Error::Internal("a run ended without an answer".to_owned()))?
}

/// Counts a run that is paid in place of the account's own key against what it allowed for that.
async fn count_fallback(server: &Server, plan: &Plan) -> Result<()> {
    let Some(fallback) = &plan.fallback else { return Ok(()) };
    provider_key::count_fallback(server, &plan.who.account_id, &plan.execution_id, fallback, plan.ceiling).await
}

/// The quote for an API client's request, within its agent's cap, without running it, and those of the other models that could.
pub fn quote_call(
    server: &Server,
    agent: Option<&Runner>,
    body: &Bytes,
) -> std::result::Result<(Quote, Vec<Quote>), Denial> {
    let call = CallBody::read(body)?;
    let (catalogue, rates, now) = (server.catalogue.load(), server.rates.load(), server.clock.now());
    let draft = draft_of_call(&catalogue, &call)?;
    let history = History::default();
    let cap = cap_of(agent, call.outline.choices);
    let price = |draft: &Draft| quote(&catalogue, &rates, now, draft, &history);
    let mut others = alternatives(&catalogue, &rates, now, &draft, &history);
    if cap.is_some() {
        let within = |other: Quote| Some(fit(cap, &Draft { model: other.model, ..draft.clone() }, price).ok()?.quote);
        others = others.into_iter().filter_map(within).collect();
    }
    Ok((fit(cap, &draft, price)?.quote, others))
}

fn plan_run(
    server: &Server,
    (who, standing): (Who, &Standing),
    request: RunRequest,
    history: &History,
) -> std::result::Result<Plan, Denial> {
    let catalogue = server.catalogue.load();
    let skill = catalogue.skill(&request.skill)?;
    if request.input.trim().is_empty() {
        return Err(Denial::invalid("input", "is empty", "Describe what you want."));
    }
    let model = request.model.as_ref().unwrap_or(&skill.model);
    let draft = Draft {
        skill: Some(skill.id.clone()),
        model: model.clone(),
        input_bytes: request.input.len() as u64,
        media: Media::default(),
        max_output_tokens: None,
        writes_cache: false,
    };
    let mut decided = decide(server, standing, None, (&draft, history))?;
    decided.funding = decided.funding.at_most(request.shown_source);
    refuse_dearer(request.shown_ceiling, decided.quote.ceiling)?;
    let body = decided.provider.write_prompt(Prompt {
        upstream_name: &decided.upstream_name,
        system: &skill.prompt,
        input: &request.input,
        max_output_tokens: decided.quote.max_output_tokens,
    });
    let call = UpstreamCall { body, headers: HeaderMap::new(), streams: true, owner: decided.key_owner() };
    Ok(decided.into_plan(server, who, (request.execution_id, Some(skill.id.clone()), Some(request.input)), call))
}

fn plan_call(server: &Server, (who, standing): (Who, &Standing), call: Call) -> std::result::Result<Plan, Denial> {
    let body = CallBody::read(&call.body)?;
    let draft = draft_of_call(&server.catalogue.load(), &body)?;
    let decided =
        decide(server, standing, cap_of(who.agent.as_ref(), body.outline.choices), (&draft, &History::default()))?;
    let spoken = decided.provider.dialect();
    if spoken != call.dialect {
        return Err(Denial::invalid(
            "model",
            format!("`{}` is not served here", draft.model),
            format!("Send it to POST {}.", spoken.path()),
        ));
    }
    // With several answers each has its part of the cap that the hold was made for.
    let cap = decided.quote.max_output_tokens / body.outline.choices;
    let upstream = UpstreamCall {
        body: decided.provider.write_call(&body, &decided.upstream_name, cap.max(1)),
        streams: body.outline.streams,
        headers: call.headers,
        owner: decided.key_owner(),
    };
    let execution_id = call.execution_id.unwrap_or_else(|| ExecutionId::new(server.clock.new_id()));
    Ok(decided.into_plan(server, who, (execution_id, None, None), upstream))
}

fn draft_of_call(catalogue: &Catalogue, call: &CallBody<'_>) -> std::result::Result<Draft, Denial> {
    let outline = &call.outline;
    let model = catalogue.model_named(&outline.model)?;
    Ok(Draft {
        skill: None,
        model: model.id.clone(),
        input_bytes: outline.input_bytes,
        media: outline.media,
        max_output_tokens: outline.max_output_tokens.map(|cap| cap.saturating_mul(outline.choices)),
        writes_cache: outline.writes_cache,
    })
}

/// Which provider answers, what that can cost at most, and who may pay for it. Anything without a rate is refused here, before it is
/// called.
fn decide(
    server: &Server,
    standing: &Standing,
    cap: Option<RunCap<'_>>,
    (draft, history): (&Draft, &History),
) -> std::result::Result<Decided, Denial> {
    let (catalogue, rates, now) = (server.catalogue.load(), server.rates.load(), server.clock.now());
    let model = catalogue.model(&draft.model)?;
    let Fitted { quote, is_shortened } = fit(cap, draft, |draft| quote(&catalogue, &rates, now, draft, history))?;
    let shortened_to = cap.map(|cap| cap.most).filter(|_| is_shortened);
    let own_key = standing.own_key(model)?;
    let fallback = standing.fallback(model, quote.ceiling)?;
    let provider = match &own_key {
        // It knows the wire; the key itself is opened when the hold is made.
        Some(_) => server.providers.with_key(model.provider, SecretString::from("")),
        None => server.providers.choose(model.provider)?.clone(),
    };
    let rate = rates.rate_of(model, now).ok_or_else(|| Denial::UnpricedModel { model: model.id.clone() })?;
    let upstream_name = model.upstream_name.as_str().to_owned();
    let funding = standing.funding(model);
    let has_secrets = standing.own_keys.has_any();
    let prices = rate.prices.clone();
    Ok(Decided { quote, shortened_to, prices, provider, upstream_name, funding, own_key, fallback, has_secrets })
}

/// What the agent lets one run cost, that is to answer with so many choices.
fn cap_of(agent: Option<&Runner>, choices: u64) -> Option<RunCap<'_>> {
    let agent = agent?;
    Some(RunCap { agent: &agent.name, most: agent.run_cap?, fewest_tokens: choices.max(1) })
}

/// The draft's quote, within the cap.
fn fit(
    cap: Option<RunCap<'_>>,
    draft: &Draft,
    price: impl Fn(&Draft) -> std::result::Result<Quote, Denial>,
) -> std::result::Result<Fitted, Denial> {
    match cap {
        Some(cap) => cap.fit(draft, price),
        None => Ok(Fitted { quote: price(draft)?, is_shortened: false }),
    }
}

/// A run never costs more than what the person saw.
fn refuse_dearer(shown: Option<Usd>, now: Usd) -> std::result::Result<(), Denial> {
    match shown {
        Some(shown) if now > shown => Err(Denial::PriceChanged { shown, now }),
        Some(_) | None => Ok(()),
    }
}

impl Decided {
    const fn key_owner(&self) -> KeyOwner {
        if self.own_key.is_some() { KeyOwner::User } else { KeyOwner::Platform }
    }

    fn into_plan(
        self,
        server: &Server,
        who: Who,
        (execution_id, skill_id, input_text): (ExecutionId, Option<SkillId>, Option<String>),
        call: UpstreamCall,
    ) -> Plan {
        let Decided { quote, shortened_to, prices, provider, funding, own_key, fallback, has_secrets, .. } = self;
        let started = Started {
            user_id: Some(who.user_id.clone()),
            api_key_id: who.api_key_id.clone(),
            agent_id: who.agent.as_ref().map(|agent| agent.agent_id.clone()),
            title: server.catalogue.load().run_title(skill_id.as_ref(), &quote.model),
            skill_id,
            model_id: quote.model.clone(),
            provider: provider.kind(),
            // The first that may pay; the ledger says who does.
            source: funding.payers.first().map_or(FundingSource::Credits, Payer::source),
            rate_version: quote.rate_version.clone(),
            quote_likely: quote.likely,
            quote_p50: quote.p50,
            quote_p90: quote.p90,
            quote_ceiling: quote.ceiling,
            input_text,
            started_at: server.clock.now(),
        };
        Plan {
            who,
            execution_id,
            started,
            ceiling: quote.ceiling,
            shortened_to,
            funding,
            prices,
            input_tokens: quote.input_tokens,
            provider,
            own_key,
            fallback,
            has_secrets,
            call,
        }
    }
}

//! Owns: our own API beside the official clients' endpoints: models, estimate, balance, entitlements, usage.
//! Does not own: any of the answers; each is one call of this crate. Errors are said in OpenAI's shape.

use super::dialect::{error_response, json_response};
use super::gateway::{ReadBody, caller, caller_as, whole};
use crate::allowance::{load_for, purses};
use crate::error::Result;
use crate::execution::quote_call;
use crate::provider::Dialect;
use crate::provider_key::load_own_for;
use crate::usage::{Filter, list_executions};
use crate::{Server, entitlement, ledger};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::denial::Denial;
use domain::funding::choose;
use domain::id::{AgentId, ExecutionId, ModelId, SkillId};
use domain::quote::Quote;
use domain::route::offered;
use domain::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// `GET /v1/models`: what can be run now, with its prices; both official clients read it.
pub async fn models(State(server): State<Server>, headers: HeaderMap) -> Response {
    answer(&server, async {
        let who = caller_as(&server, &headers).await?;
        let agent = who.agent.as_ref().map(|agent| &agent.agent_id);
        let own = load_own_for(&server, &who.account_id, agent).await?;
        let (catalogue, rates, now) = (server.catalogue.load(), server.rates.load(), server.clock.now());
        let mut data = Vec::new();
        for model in offered(&catalogue, &rates, now) {
            let Some(rate) = rates.rate_of(model, now).filter(|_| own.can_run(&server, model)) else { continue };
            let created = rate.effective_at.seconds();
            let created_at = time::OffsetDateTime::from_unix_timestamp(created)
                .ok()
                .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
            data.push(json!({
                "id": model.id,
                "object": "model",
                "type": "model",
                "display_name": model.name,
                "created": created,
                "created_at": created_at,
                "owned_by": model.provider,
                "class": model.class,
                "endpoint": Dialect::of(model.provider).path(),
                "max_output_tokens": model.max_output_tokens,
                "context_tokens": model.context_tokens,
                "rate_version": rate.version,
                "prices_picos_per_token": rate.prices,
            }));
        }
        let edge = |model: Option<&Value>| model.map(|model| model["id"].clone());
        let (first, last) = (edge(data.first()), edge(data.last()));
        Ok(json!({ "object": "list", "data": data, "has_more": false, "first_id": first, "last_id": last }))
    })
    .await
}

/// `POST /v1/estimate`: what a chat or messages body would cost, without running it.
pub async fn estimate(State(server): State<Server>, headers: HeaderMap, body: ReadBody) -> Response {
    answer(&server, async {
        let who = caller_as(&server, &headers).await?;
        let (quote, alternatives) = quote_call(&server, who.agent.as_ref(), &whole(&server, body)?)?;
        let mut estimate = quote_json(&quote);
        let catalogue = server.catalogue.load();
        let agent = who.agent.as_ref().map(|agent| &agent.agent_id);
        let standing = load_for(&server, &who.account_id, agent).await?;
        let purses = purses(&server, &standing, &[catalogue.model(&quote.model)?]).await?;
        // Who would pay now, or why nobody would.
        let paid = purses.first().map(|purse| choose(purse, quote.ceiling, server.clock.now()));
        estimate["source"] = json!(paid.as_ref().and_then(|paid| paid.as_ref().ok()));
        if let Some(Err(denial)) = paid {
            estimate["refused"] = json!({ "code": denial.code(), "message": denial.sentence() });
        }
        estimate["alternatives"] = alternatives.iter().map(quote_json).collect();
        Ok(estimate)
    })
    .await
}

fn quote_json(quote: &Quote) -> Value {
    let Quote { likely, p50, p90, ceiling, .. } = quote;
    let mut json = json!(quote);
    let text = |usd: &domain::money::Usd| usd.to_string();
    json["text"] = json!({ "likely": text(likely), "p50": text(p50), "p90": text(p90), "ceiling": text(ceiling) });
    json
}

/// The moment whose balance is asked for.
#[derive(Debug, Deserialize)]
pub struct BalanceQuery {
    /// Such as `2026-11-24T12:00:00Z`; without it, now.
    at: Option<String>,
}

/// `GET /v1/balance?at=`: what the account has, or had at any moment.
pub async fn balance(State(server): State<Server>, headers: HeaderMap, Query(query): Query<BalanceQuery>) -> Response {
    answer(&server, async {
        let who = caller(&server, &headers).await?;
        let balance = match query.at {
            None => ledger::load_balance(&server, &who.account_id).await?,
            Some(text) => {
                let at: jiff::Timestamp = text.parse().map_err(|_| {
                    Denial::invalid(
                        "at",
                        "is no moment",
                        "Write it like 2026-11-24T12:00:00Z, or leave it out for now.",
                    )
                })?;
                let at = Timestamp::from_micros(at.as_microsecond());
                ledger::load_balance_at(&server, &who.account_id, at).await?
            }
        };
        let ledger::Balance { paid, bonus, promotional, trial, held, .. } = balance;
        Ok(json!({
            "spendable": balance.spendable(),
            "held": held,
            "by_kind": { "trial": trial, "promotional": promotional, "bonus": bonus, "paid": paid },
            "text": { "spendable": balance.spendable().to_string(), "held": held.to_string() },
        }))
    })
    .await
}

/// `GET /v1/entitlements`: what the account's plan lets it do and what of it is used, for the host product.
pub async fn entitlements(State(server): State<Server>, headers: HeaderMap) -> Response {
    answer(&server, async {
        let who = caller(&server, &headers).await?;
        Ok(json!(entitlement::load(&server, &who.account_id).await?))
    })
    .await
}

/// What a list of usage is narrowed to.
#[derive(Debug, Deserialize)]
pub struct UsageQuery {
    /// The last execution of the page before.
    before: Option<String>,
    limit: Option<i64>,
    model: Option<String>,
    skill: Option<String>,
    agent: Option<String>,
    state: Option<String>,
}

/// `GET /v1/usage?before=&limit=&model=&skill=&agent=&state=`: the account's executions, newest first.
pub async fn usage(State(server): State<Server>, headers: HeaderMap, Query(query): Query<UsageQuery>) -> Response {
    answer(&server, async {
        let who = caller(&server, &headers).await?;
        let state = query.state.map(|text| text.parse()).transpose();
        let filter = Filter {
            model: query.model.map(ModelId::new),
            skill: query.skill.map(SkillId::new),
            agent: query.agent.map(AgentId::new),
            state: state.map_err(|error: domain::text_enum::UnknownText| {
                Denial::invalid("state", error.to_string(), "Leave it out for all.")
            })?,
        };
        let before = query.before.map(ExecutionId::new);
        let limit = query.limit.unwrap_or(50).clamp(1, 200);
        let mut rows = list_executions(&server, &who.account_id, &filter, before.as_ref(), limit + 1).await?;
        let has_more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if has_more {
            rows.pop();
        }
        let next_before = has_more.then(|| rows.last().map(|row| row.execution_id.clone())).flatten();
        Ok(json!({ "object": "list", "data": rows, "has_more": has_more, "next_before": next_before }))
    })
    .await
}

async fn answer(server: &Server, asked: impl Future<Output = Result<Value>>) -> Response {
    match asked.await {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(error) => error_response(server, Dialect::OpenAi, error),
    }
}

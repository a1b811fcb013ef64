//! Owns: the demo's logins and its sample history, made through the ledger like everything else, on a clock that is
//! moved through the past days.
//! Does not own: the sandbox, or starting it. Nothing here runs under `tokenbank serve`.

use crate::Server;
use crate::account::{self, Email, NewAccount, NewUser, Role, User};
use crate::agent::{self, NewAgent};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ledger::{self, End, Ended, Finish, Grant, GrantKind, Held, NewHold, Started};
use crate::password::Password;
use crate::{allowance, on_read, on_tx};
use domain::agent::AgentState;
use domain::catalogue::Skill;
use domain::execution::{ExecutionState, TokenUsage, cost};
use domain::funding::FundingSource;
use domain::id::{AccountId, AgentId, ExecutionId, PackId, UserId};
use domain::money::Usd;
use domain::quote::{Draft, History, Media, quote};
use secrecy::SecretString;

/// The password of every demo login.
pub const PASSWORD: &str = "demo-password-1";
/// Runs on a usual day.
const RUNS_A_DAY: u64 = 7;

/// Makes the logins and `days` days of history, if the database has nobody yet; whether it did.
pub async fn seed(config: &Config, clock: &Clock, days: u32) -> Result<bool> {
    let today = clock.now();
    let past = Clock::manual(today.plus_seconds(-86_400 * i64::from(days)));
    let server = Server::open(config.clone(), past).await?;
    let outcome = seed_into(&server, days).await;
    server.stop().await;
    outcome
}

async fn seed_into(server: &Server, days: u32) -> Result<bool> {
    let users: i64 = on_read!(&server.db, conn => {
        sqlx::query_scalar(r#"select count(*) from "user""#).fetch_one(conn).await
    })?;
    if users > 0 {
        return Ok(false);
    }
    let (owner, member) = add_logins(server).await?;
    let agent_id = add_agents(server, &owner).await?;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for day in 0..days {
        if day.is_multiple_of(24) {
            buy(server, &owner, if day == 0 { "pack-50" } else { "pack-25" }).await?;
        }
        // Weekends are quiet; the team grows into it.
        let usual = if day % 7 >= 5 { 1 } else { RUNS_A_DAY * u64::from(day + days) / u64::from(2 * days) };
        for _ in 0..dice.between(usual / 2, usual + usual / 2) {
            server.clock.advance_seconds(dice.seconds(60, 3_000));
            // What the member runs is an agent's.
            let who = if dice.between(0, 2) == 0 { (&member, Some(&agent_id)) } else { (&owner, None) };
            run(server, who, &mut dice).await?;
        }
        let next_day = server.clock.now().plus_seconds(0);
        server.clock.advance_seconds(86_400 - next_day.seconds().rem_euclid(86_400));
    }
    Ok(true)
}

/// The owner, a member of the same account, and an admin with an account of its own.
async fn add_logins(server: &Server) -> Result<(User, User)> {
    let email = |text: &str| Email::parse(text);
    let hash = async |email: &Email| {
        let password = SecretString::from(PASSWORD.to_owned());
        server.passwords.hash(&server.clock, Password::check(&password, email)?).await
    };
    let new = async |text: &str, role: Role, account: NewAccount, is_admin: bool| -> Result<NewUser> {
        let email = email(text)?;
        Ok(NewUser { password: hash(&email).await?, email, account, role, is_admin })
    };
    let open = |name: &str| NewAccount::Open { name: name.to_owned(), time_zone: "UTC".to_owned() };
    let owner = new("owner@demo.test", Role::Owner, open("Northwind Product"), false).await?;
    let admin = new("admin@demo.test", Role::Owner, open("Administration"), true).await?;

    let mut tx = server.db.begin().await?;
    let owner = account::create_verified(&mut tx, server, owner).await?;
    account::create_verified(&mut tx, server, admin).await?;
    tx.commit().await?;

    let join = NewAccount::Join(owner.account_id.clone());
    let member = new("member@demo.test", Role::Developer, join, false).await?;
    let mut tx = server.db.begin().await?;
    let member = account::create_verified(&mut tx, server, member).await?;
    tx.commit().await?;
    Ok((owner, member))
}

/// Two agents, of which one runs.
async fn add_agents(server: &Server, owner: &User) -> Result<AgentId> {
    let stopped = NewAgent { name: "Nightly report", run_cap: "", state: AgentState::Stopped };
    agent::create(server, owner, stopped).await?;
    let running = NewAgent { name: "Support triage", run_cap: "2", state: AgentState::Running };
    agent::create(server, owner, running).await
}

/// A purchase that was paid, with its grants.
async fn buy(server: &Server, user: &User, pack_id: &str) -> Result<()> {
    let catalogue = server.catalogue.load_full();
    let pack = catalogue.pack(&PackId::new(pack_id))?;
    let purchase_id = server.clock.new_id();
    let grant = |kind, amount, price, memo: String| Grant {
        account_id: user.account_id.clone(),
        kind,
        amount,
        price,
        reference: purchase_id.clone(),
        memo,
        allowed_models: None,
        expires_at: None,
    };
    let price = pack.price;
    let mut tx = server.db.begin().await?;
    insert_paid_purchase(&mut tx, server, (&user.account_id, &user.user_id), (pack, &purchase_id)).await?;
    let memo = format!("Bought {} of credit", pack.amount);
    ledger::grant(&mut tx, &server.clock, grant(GrantKind::Paid, pack.amount, price, memo)).await?;
    if pack.bonus.is_positive() {
        let memo = format!("Bonus of the {} pack", pack.amount);
        ledger::grant(&mut tx, &server.clock, grant(GrantKind::Bonus, pack.bonus, Usd::ZERO, memo)).await?;
    }
    tx.commit().await
}

async fn insert_paid_purchase(
    tx: &mut Tx,
    server: &Server,
    (account_id, user_id): (&AccountId, &UserId),
    (pack, purchase_id): (&domain::pack::Pack, &str),
) -> Result<()> {
    let price_cents = pack.price_cents().map_or(0, |cents| cents.0);
    on_tx!(tx, conn => {
        sqlx::query(
            "insert into purchase (purchase_id, account_id, user_id, pack_id, amount_nanos, bonus_nanos, price_cents,
                                   currency, state, created_at, ended_at)
             values ($1, $2, $3, $4, $5, $6, $7, 'usd', 'paid', $8, $8)",
        )
        .bind(purchase_id)
        .bind(account_id)
        .bind(user_id)
        .bind(&pack.id)
        .bind(pack.amount)
        .bind(pack.bonus)
        .bind(price_cents)
        .bind(server.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// One run of some skill: held, and captured at what its tokens cost.
async fn run(server: &Server, (user, agent_id): (&User, Option<&AgentId>), dice: &mut Dice) -> Result<()> {
    let (catalogue, rates, now) = (server.catalogue.load_full(), server.rates.load_full(), server.clock.now());
    let Some(skill) = choose_skill(&catalogue.skills, dice) else { return Ok(()) };
    let model = catalogue.model(&skill.model)?;
    let input_tokens = dice.percent_of(skill.prior_input_tokens, 55, 130);
    let draft = Draft {
        skill: Some(skill.id.clone()),
        model: model.id.clone(),
        input_bytes: (input_tokens * 4).saturating_sub(skill.prompt_bytes),
        media: Media::default(),
        max_output_tokens: None,
        writes_cache: false,
    };
    let quoted = quote(&catalogue, &rates, now, &draft, &History::default())?;
    let Some(rate) = rates.rate_of(model, now) else { return Ok(()) };
    let started = Started {
        user_id: Some(user.user_id.clone()),
        api_key_id: None,
        agent_id: agent_id.cloned(),
        skill_id: Some(skill.id.clone()),
        model_id: model.id.clone(),
        title: catalogue.run_title(Some(&skill.id), &model.id),
        provider: model.provider,
        source: FundingSource::Credits,
        rate_version: quoted.rate_version.clone(),
        quote_likely: quoted.likely,
        quote_p50: quoted.p50,
        quote_p90: quoted.p90,
        quote_ceiling: quoted.ceiling,
        input_text: None,
        started_at: now,
    };
    let new = NewHold {
        execution_id: ExecutionId::new(server.clock.new_id()),
        account_id: user.account_id.clone(),
        amount: quoted.ceiling,
        funding: allowance::load(server, &user.account_id).await?.funding(model),
        expires_at: now.plus_seconds(900),
        started,
    };
    let hold = match server.ledger.hold(new).await {
        Ok(Held::New(hold)) => hold,
        Ok(Held::Repeated(_)) | Err(Error::Denied(_)) => return Ok(()), // No credit left that day.
        Err(error) => return Err(error),
    };

    let output = dice.percent_of(skill.prior_output_tokens, 60, 125).min(quoted.max_output_tokens);
    let is_waived = dice.between(0, 49) == 0;
    let usage = TokenUsage { input: input_tokens, output: if is_waived { 0 } else { output }, ..TokenUsage::default() };
    let cost = cost(&rate.prices, &usage).ok_or_else(|| Error::Internal("a sample run costs too much".to_owned()))?;
    server.clock.advance_seconds(dice.seconds(4, 60));
    let ended = Ended {
        state: if is_waived { ExecutionState::Waived } else { ExecutionState::Completed },
        usage,
        usage_estimated: false,
        raw_usage: None,
        cost,
        note: is_waived.then(|| "The model answered nothing. Nothing was charged.".to_owned()),
        output_text: None,
        first_token_at: Some(now.plus_seconds(1)),
        ended_at: server.clock.now(),
    };
    let end = if is_waived { End::Void } else { End::Capture { cost } };
    server.ledger.finish(hold, Finish { end, ended, jobs: Vec::new() }).await?;
    Ok(())
}

/// The cheap skills are run more often than the dear ones.
fn choose_skill<'a>(skills: &'a [Skill], dice: &mut Dice) -> Option<&'a Skill> {
    let count = u64::try_from(skills.len()).ok()?.checked_sub(1)?;
    let at = dice.between(0, count).min(dice.between(0, count)).min(dice.between(0, count));
    skills.get(usize::try_from(at).ok()?)
}

/// The same history at each start: a small linear generator, for samples alone.
struct Dice(u64);

impl Dice {
    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (self.0 >> 33) % (high.saturating_sub(low) + 1)
    }

    fn seconds(&mut self, low: u64, high: u64) -> i64 {
        i64::try_from(self.between(low, high)).unwrap_or(0)
    }

    fn percent_of(&mut self, number: u64, low: u64, high: u64) -> u64 {
        number * self.between(low, high) / 100
    }
}

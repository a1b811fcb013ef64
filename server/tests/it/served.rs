//! Owns: what tests of runs stand on: a server with two priced models, the sandbox as its providers, the API served
//! over HTTP, a user with credit and an API key.

use crate::support::{START, World};
use axum::Router;
use axum::routing::post;
use domain::catalogue::{Catalogue, Model, ModelClass, Skill};
use domain::execution::{TokenUsage, cost};
use domain::id::{AccountId, ExecutionId, ModelId, SkillId, UpstreamModel, UserId};
use domain::money::{Rate, Usd};
use domain::plan::Allowance;
use domain::provider::Provider;
use domain::rate::{ModelRate, Prices, RateBook};
use sandbox::{Fault, Rule, Sandbox};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use server::account::{Role, User, load_user};
use server::execution::{Run, RunRequest, RunState, load_run};
use server::ledger::{Balance, load_balance};
use server::session::{self, Session};
use server::{Server, api_key, member, on_tx};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Our own provider keys, which nobody outside may ever see.
pub const ANTHROPIC_KEY: &str = "sk-ant-api03-canary-of-the-anthropic-key";
pub const OPENAI_KEY: &str = "sk-proj-canary-of-the-openai-key";
/// On Anthropic, at $3 and $15 a million tokens.
pub const CLAUDE: &str = "claude-sonnet-4-5";
/// On OpenAI, at $0.15 and $0.60 a million tokens.
pub const GPT: &str = "gpt-4o-mini";
/// In the catalogue, but without a rate.
pub const UNPRICED: &str = "claude-unpriced";
pub const SKILL: &str = "user-story";

/// A served API and whoever uses it.
pub struct Served {
    pub sandbox: Sandbox,
    pub server: Server,
    pub url: String,
    pub user: User,
    pub account_id: AccountId,
    /// An API key of the account.
    pub key: String,
}

/// One node with its API served, and a user who bought credit for so many dollars.
pub struct Node {
    pub server: Server,
    pub url: String,
    pub user: User,
    pub key: String,
}

impl Node {
    pub async fn open(world: &World, dollars: i64, (anthropic_url, openai_url): (String, String)) -> Node {
        let mut config = world.config.clone();
        if let Some(base) = openai_url.strip_suffix("/openai") {
            config.key_urls = key_urls(base);
            // The sandbox's Ollama is on this machine.
            config.allow_private_urls = true;
        }
        config.anthropic.url = anthropic_url;
        config.anthropic.key = Some(ANTHROPIC_KEY.into());
        config.openai.url = openai_url;
        config.openai.key = Some(OPENAI_KEY.into());
        config.provider_timeout = Duration::from_secs(1);
        let server = Server::open(config, world.clock.clone()).await.unwrap();
        server.catalogue.store(Arc::new(catalogue(&server.catalogue.load())));
        server.rates.store(Arc::new(rates(Rate::from_picos(3_000_000))));

        let account_id = if dollars > 0 { world.account_with(dollars).await } else { world.account().await };
        let user = user_of(world, &account_id).await;
        let (_, key) = api_key::create(&server, &user, "it").await.unwrap();
        let url = serve(&server, &user).await;
        Node { server, url, user, key: key.expose_secret().to_owned() }
    }
}

/// Where a sandbox has the other providers.
pub fn key_urls(base: &str) -> BTreeMap<Provider, String> {
    [
        (Provider::Google, "gemini"),
        (Provider::Groq, "groq"),
        (Provider::DeepSeek, "deepseek"),
        (Provider::OpenRouter, "openrouter"),
        (Provider::Together, "together"),
    ]
    .map(|(provider, path)| (provider, format!("{base}/{path}")))
    .into()
}

impl Served {
    /// A node of this world's database whose providers are a sandbox.
    pub async fn open(world: &World, dollars: i64) -> Served {
        let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
        let Node { server, url, user, key } =
            Node::open(world, dollars, (sandbox.anthropic_url(), sandbox.openai_url())).await;
        Served { sandbox, server, url, account_id: user.account_id.clone(), user, key }
    }

    /// `POST` with the account's API key.
    pub fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.server.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key).json(body)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.server.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// The page's run of the skill with this input.
    pub fn request(&self, input: &str) -> RunRequest {
        RunRequest {
            execution_id: ExecutionId::new(self.server.clock.new_id()),
            skill: SkillId::new(SKILL),
            model: None,
            input: input.to_owned(),
            shown_ceiling: None,
            shown_source: None,
        }
    }

    /// Makes the next request to a provider go wrong.
    pub fn fault(&self, faults: &[Fault]) {
        self.faults(faults, Some(1));
    }

    pub fn faults(&self, faults: &[Fault], times: Option<u32>) {
        self.sandbox.inject(Rule { faults: faults.to_vec(), times, ..Rule::default() });
    }

    pub async fn balance(&self) -> Balance {
        load_balance(&self.server, &self.account_id).await.unwrap()
    }

    pub async fn spendable(&self) -> Usd {
        self.balance().await.spendable()
    }

    /// Waits until nothing is under way here.
    pub async fn idle(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.server.tasks.idle()).await.expect("what was begun ends");
    }

    /// The run, once it has ended.
    pub async fn ended(&self, id: &ExecutionId) -> Ended {
        self.idle().await;
        let run = load_run(&self.server, &self.account_id, id).await.unwrap().expect("the run is kept");
        let RunState::Ended { state, charge, usage, usage_estimated, note, .. } = run.state.clone() else {
            panic!("run {id} has not ended: {run:?}");
        };
        Ended { run, state: state.as_str(), charge, usage, usage_estimated, note: note.unwrap_or_default() }
    }

    /// What the provider really billed for its last request.
    pub fn billed(&self) -> TokenUsage {
        let billed = self.sandbox.requests().last().expect("a request to the provider").billed;
        TokenUsage {
            input: billed.input_tokens,
            cache_read: billed.cache_read_tokens,
            cache_write_5m: billed.cache_write_5m_tokens,
            cache_write_1h: billed.cache_write_1h_tokens,
            output: billed.output_tokens,
            reasoning: billed.reasoning_tokens,
        }
    }
}

/// A run that ended, taken apart.
#[derive(Debug)]
pub struct Ended {
    pub run: Run,
    pub state: &'static str,
    pub charge: Usd,
    pub usage: TokenUsage,
    pub usage_estimated: bool,
    pub note: String,
}

/// A body for both dialects: a question, a cap, streamed or not.
pub fn ask(model: &str, text: &str, cap: u64, stream: bool) -> Value {
    json!({ "model": model, "max_tokens": cap, "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

/// The endpoint of each model.
pub fn path_of(model: &str) -> &'static str {
    if model == GPT { "/v1/chat/completions" } else { "/v1/messages" }
}

/// What these tokens cost at the list prices of these tests.
pub fn priced(model: &str, usage: &TokenUsage) -> Usd {
    cost(&prices(model, Rate::from_picos(3_000_000)), usage).unwrap()
}

/// The id of the run that answered.
pub fn execution_of(response: &reqwest::Response) -> ExecutionId {
    ExecutionId::new(response.headers()["x-tokenbank-execution"].to_str().unwrap())
}

/// The `data` of each event of a stream.
pub fn events_of(body: &str) -> Vec<String> {
    body.replace("\r\n", "\n")
        .split("\n\n")
        .filter_map(|frame| {
            let data: Vec<&str> = frame.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            (!data.is_empty()).then(|| data.join("\n"))
        })
        .collect()
}

/// The text that a stream of either dialect says.
pub fn text_of(body: &str) -> String {
    events_of(body)
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|event| {
            let text = event.pointer("/delta/text").or_else(|| event.pointer("/choices/0/delta/content"))?;
            text.as_str().map(ToOwned::to_owned)
        })
        .collect()
}

/// Sonnet's input price may differ, to see a price change.
pub fn rates(claude_input: Rate) -> RateBook {
    let rate = |provider, model: &str, upstream: &str| ModelRate {
        version: "it-1".to_owned(),
        provider,
        model: UpstreamModel::new(upstream),
        // Also before the day on which a benchmark runs, on the machine's clock.
        effective_at: START.plus_seconds(-400 * 86_400),
        prices: prices(model, claude_input),
        source: "tests".to_owned(),
    };
    RateBook::new(vec![
        rate(Provider::Anthropic, CLAUDE, "claude-sonnet-4-5-20250929"),
        rate(Provider::OpenAi, GPT, "gpt-4o-mini"),
    ])
}

fn prices(model: &str, claude_input: Rate) -> Prices {
    let picos = Rate::from_picos;
    let (input, output, cache_read, write_5m, write_1h) = if model == GPT {
        (picos(150_000), picos(600_000), picos(75_000), None, None)
    } else {
        (claude_input, picos(15_000_000), picos(300_000), Some(picos(3_750_000)), Some(picos(6_000_000)))
    };
    Prices {
        input,
        output,
        cache_read: Some(cache_read),
        cache_write_5m: write_5m,
        cache_write_1h: write_1h,
        reasoning: None,
        per_request: Usd::ZERO,
        long_context: Vec::new(),
        batch_factor: None,
    }
}

fn catalogue(base: &Catalogue) -> Catalogue {
    let model = |id: &str, provider, upstream: &str| Model {
        id: ModelId::new(id),
        name: id.to_owned(),
        provider,
        upstream_name: UpstreamModel::new(upstream),
        class: ModelClass::Standard,
        max_output_tokens: 8_192,
        context_tokens: 200_000,
        image_tokens: Some(3_300),
    };
    let prompt = "You write user stories.";
    let mut catalogue = base.clone();
    // Credits pay here, unless a test gives the plan its executions back.
    for plan in &mut catalogue.plans {
        plan.limits.executions_a_month = Allowance::AtMost(0);
    }
    catalogue.models = vec![
        model(CLAUDE, Provider::Anthropic, "claude-sonnet-4-5-20250929"),
        model(GPT, Provider::OpenAi, "gpt-4o-mini"),
        model(UNPRICED, Provider::Anthropic, "claude-unpriced-1"),
        model("gemini", Provider::Google, "gemini-2.5-flash"),
    ];
    catalogue.skills = vec![Skill {
        id: SkillId::new(SKILL),
        name: "User story".to_owned(),
        description: "A user story".to_owned(),
        prompt: prompt.to_owned(),
        prompt_bytes: prompt.len() as u64,
        input_label: "What".to_owned(),
        input_example: String::new(),
        class: ModelClass::Standard,
        model: ModelId::new(CLAUDE),
        prior_input_tokens: 50,
        prior_output_tokens: 500,
        max_output_tokens: 2_000,
    }];
    catalogue.limits.execution_tokens = 50_000;
    catalogue.limits.prior_output_tokens = 500;
    catalogue.limits.prior_p50_percent = 90;
    catalogue.limits.prior_p90_percent = 140;
    catalogue
}

/// A user of the account, made without a password that anybody knows.
async fn user_of(world: &World, account_id: &AccountId) -> User {
    let user_id = UserId::new(world.clock.new_id());
    let mut tx = world.db().begin().await.unwrap();
    on_tx!(&mut tx, conn => {
        sqlx::query(
            r#"insert into "user" (user_id, account_id, email, password_hash, is_admin, email_verified_at, created_at)
               values ($1, $2, $3, '', 0, $4, $4)"#,
        )
        .bind(&user_id)
        .bind(account_id)
        .bind(format!("{user_id}@it.test"))
        .bind(world.clock.now())
        .execute(conn)
        .await
        .map(drop)
    })
    .unwrap();
    member::insert(&mut tx, &world.clock, account_id, &user_id, Role::Owner).await.unwrap();
    tx.commit().await.unwrap();
    load_user(&world.server, &user_id).await.unwrap().unwrap()
}

/// Serves the API on a free port, with a door that signs the user in.
#[allow(clippy::disallowed_methods)] // It ends with the test.
async fn serve(server: &Server, user: &User) -> String {
    let user = user.clone();
    let door =
        post(async move |session: Session| session::start(&session, &user).await.map_err(|error| error.to_string()));
    let app = Router::new()
        .route("/it/sign-in", door)
        .merge(server::http::router(server.clone()))
        .layer(session::layer(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

//! The skills, and the form that runs one: first the preview of its cost, then the run.

use crate::post::{Post, Refused};
use crate::ui::layout::{Section, console};
use crate::ui::money::{Digits, text};
use crate::ui::notice::{Notice, Tone};
use crate::ui::task_form::{Task, TaskForm};
use crate::ui::when::in_zone;
use crate::visitor::signed_in;
use axum::response::Response;
use domain::catalogue::{Catalogue, Model, Skill};
use domain::denial::Denial;
use domain::id::{ExecutionId, ModelId, SkillId};
use domain::money::Usd;
use domain::quote::{Tariff, typical};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use server::account::User;
use server::error::Result;
use server::execution::{self, RunRequest};
use server::{Server, allowance, provider_key, usage};

/// How many cheaper models the preview offers beside the skill's own.
const ALTERNATIVES: usize = 2;

/// `GET /tasks`.
#[component]
pub fn TasksPage() -> impl IntoView {
    console(Section::Tasks, "Tasks", async {
        let (server, _user) = signed_in()?;
        let (catalogue, rates, now) = (server.catalogue.load_full(), server.rates.load_full(), server.clock.now());
        let rows: Vec<_> = catalogue
            .skills
            .iter()
            .map(|skill| row(skill, &catalogue, typical(&catalogue, &rates, now, skill)).into_any())
            .collect();
        Ok(view! {
            <div class="grid gap-6">
                <div class="grid gap-1">
                    <h1 class="page-title">"Tasks"</h1>
                    <p class="lede">"Each shows what it will cost before it runs, and takes no more than that."</p>
                </div>
                <ul class="card divide-y divide-line p-0">{rows}</ul>
            </div>
        })
    })
}

fn row(skill: &Skill, catalogue: &Catalogue, typical: Option<Usd>) -> impl IntoView + use<> {
    let model = catalogue.model(&skill.model).map_or_else(|_| skill.model.to_string(), |model| model.name.clone());
    let price = typical.map(|usd| format!("≈ {}", text(usd, Digits::Short)));
    view! {
        <li>
            <a class="skill-row" href=format!("/tasks/{}", skill.id)>
                <span class="font-semibold">{skill.name.clone()}</span>
                <span class="money text-right font-semibold">{price}</span>
                <span class="text-ink-muted">{skill.description.clone()}</span>
                <span class="text-right text-13 text-ink-muted">{model}</span>
            </a>
        </li>
    }
}

/// `GET /tasks/{skill}`, and the same page again when its preview was asked for without JavaScript or it was refused.
#[component]
pub fn TaskPage() -> impl IntoView {
    let skill_id = SkillId::new(use_params_map().get_untracked().get("skill").unwrap_or_default());
    let refused = Refused::current();
    console(Section::Tasks, "Task", async move {
        let (server, user) = signed_in()?;
        let task = load_task(&server, &user, &skill_id, refused.typed("execution_id")).await?;
        let skill = task.tariff.skill.clone();
        let model = refused.typed("model").map(ModelId::new).filter(|id| task.tariff.model(id).is_some());
        let previewing = refused.denial().is_none() && refused.typed("step").is_some();
        Ok(view! {
            <div class="grid gap-6">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/tasks">"Tasks"</a>
                    </p>
                    <h1 class="page-title">{skill.name}</h1>
                    <p class="lede">{skill.description}</p>
                </div>
                {refused.notice(&[])}
                {task
                    .tariff
                    .models
                    .is_empty()
                    .then(|| {
                        view! {
                            <Notice tone=Tone::Caution title="No model is set up for this task">
                                <p>"The people who run this installation must add a provider's key first."</p>
                            </Notice>
                        }
                    })}
                <div class="max-w-3xl">
                    <TaskForm
                        input=refused.typed("input").unwrap_or_default()
                        model=model.unwrap_or(skill.model)
                        previewing=previewing
                        task=task
                    />
                </div>
            </div>
        })
    })
}

/// What the form needs: the skill, the models that can run it here what they cost, and who would pay.
async fn load_task(server: &Server, user: &User, skill_id: &SkillId, execution_id: Option<String>) -> Result<Task> {
    let (catalogue, rates, now) = (server.catalogue.load_full(), server.rates.load_full(), server.clock.now());
    let skill = catalogue.skill(skill_id)?;
    let own = provider_key::load_own(server, &user.account_id).await?;
    let mut priced: Vec<(Usd, &ModelId)> = catalogue
        .models
        .iter()
        .filter(|model| own.can_run(server, model))
        .filter_map(|model| {
            typical(&catalogue, &rates, now, &Skill { model: model.id.clone(), ..skill.clone() })
                .map(|usd| (usd, &model.id))
        })
        .collect();
    priced.sort();
    let own = priced.iter().filter(|(_, id)| *id == &skill.model);
    let others = priced.iter().filter(|(_, id)| *id != &skill.model).take(ALTERNATIVES);
    let choices: Vec<ModelId> = own.chain(others).map(|(_, id)| (*id).clone()).collect();
    let history = usage::history(server, &user.account_id, skill_id).await?;
    let models: Vec<&Model> = choices.iter().filter_map(|id| catalogue.model(id).ok()).collect();
    let purses = allowance::load_purses(server, &user.account_id, &models).await?;
    let purses = models.iter().map(|model| model.id.clone()).zip(purses).collect();
    Ok(Task {
        execution_id: ExecutionId::new(execution_id.unwrap_or_else(|| server.clock.new_id())),
        tariff: Tariff::new(&catalogue, &rates, now, skill, &models),
        now,
        history,
        purses,
        day_ends: in_zone(now.day().plus_seconds(86_400), &user.time_zone).strftime("%H:%M on %-d %b").to_string(),
    })
}

/// `POST /tasks/{skill}`: without JavaScript first `step=preview`, which shows the page again with its preview; then
/// `step=execute`, which starts the run and leads to it.
pub async fn submit(post: Post) -> Response {
    if post.text("step") == "preview" {
        return post.again().await;
    }
    let outcome = start(&post).await.map(|execution_id| format!("/runs/{execution_id}"));
    post.answer(outcome).await
}

async fn start(post: &Post) -> Result<ExecutionId> {
    let user = post.user()?;
    let shown_ceiling = match post.text("shown_ceiling_nanos") {
        "" => None,
        nanos => Some(
            nanos
                .parse()
                .map(Usd::from_nanos)
                .map_err(|_| Denial::invalid("shown_ceiling_nanos", "is not a number", "Preview the cost again."))?,
        ),
    };
    let request = RunRequest {
        execution_id: ExecutionId::new(post.text("execution_id")),
        skill: SkillId::new(post.path_after("/tasks/")),
        model: Some(post.text("model")).filter(|model| !model.is_empty()).map(ModelId::new),
        input: post.text("input").trim().to_owned(),
        shown_ceiling,
        shown_source: post.text("shown_source").parse().ok(),
    };
    execution::start(&post.server, user, request).await
}

//! Owns: the form that runs a skill, and the preview of its cost before it runs.
//! Does not own: the price; `domain::quote` says it here and on the server alike, so nothing is asked for each keystroke.
//! Without JavaScript the page comes back with the preview open, and `Execute` is an ordinary button of the form.

use crate::ui::band::Band;
use crate::ui::money::{Digits, grouped, text};
#[cfg(feature = "hydrate")]
use crate::ui::wait::count_seconds;
use domain::catalogue::{Model, Skill};
use domain::denial::Denial;
use domain::funding::{FundingSource, Payer, Purse, choose};
use domain::id::{ExecutionId, ModelId};
use domain::money::Usd;
use domain::plan::Allowance;
use domain::quote::{Draft, History, Media, Quote, Tariff};
use domain::time::Timestamp;
use leptos::html;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What the form needs to price a run by itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct Task {
    /// Made when the page was rendered: a second click finds the first run.
    pub execution_id: ExecutionId,
    /// The skill, and the models one may choose here, the skill's own first.
    pub tariff: Tariff,
    /// The moment of the rates.
    pub now: Timestamp,
    /// What past runs of the skill took.
    pub history: History,
    /// What there is to pay with, for each of them.
    pub purses: Vec<(ModelId, Purse)>,
    /// When the day ends that the plan's daily cap is for, in the account's zone.
    pub day_ends: String,
}

impl Task {
    /// What a run would cost on one of the models, by the function that the server asks too.
    pub fn quote(&self, model: &ModelId, input_bytes: usize) -> Result<Quote, Denial> {
        let draft = Draft {
            skill: Some(self.skill().id.clone()),
            model: model.clone(),
            input_bytes: u64::try_from(input_bytes).unwrap_or(u64::MAX),
            media: Media::default(),
            max_output_tokens: None,
            writes_cache: false,
        };
        self.tariff.quote(&draft, &self.history)
    }

    fn skill(&self) -> &Skill {
        &self.tariff.skill
    }

    /// Who would pay for such a run so many seconds after the page was made, by the rule that the ledger decides by.
    fn payer(&self, quote: &Quote, waited: u64) -> Result<FundingSource, Denial> {
        let now = self.now.plus_seconds(i64::try_from(waited).unwrap_or(i64::MAX));
        match self.purse(&quote.model) {
            Some(purse) => choose(purse, quote.ceiling, now),
            None => Err(Denial::UnknownModel { model: quote.model.to_string() }),
        }
    }

    fn purse(&self, model: &ModelId) -> Option<&Purse> {
        self.purses.iter().find(|(id, _)| id == model).map(|(_, purse)| purse)
    }

    fn model(&self, id: &ModelId) -> Option<&Model> {
        self.tariff.model(id)
    }

    /// Whether the plan's pace has a next moment that is not here yet.
    #[cfg(feature = "hydrate")]
    fn must_wait(&self) -> bool {
        self.purses.iter().any(|(_, purse)| purse.used.next_at > self.now)
    }
}

/// The input, the preview, and `Execute`.
#[island]
pub fn TaskForm(
    task: Task,
    /// What was typed before the page came back.
    input: String,
    /// The model that was chosen.
    model: ModelId,
    /// Whether the preview was asked for without JavaScript.
    previewing: bool,
) -> impl IntoView {
    let action = format!("/tasks/{}", task.skill().id);
    let execution_id = task.execution_id.to_string();
    let label = task.skill().input_label.clone();
    let example = task.skill().input_example.clone();
    let choices: Vec<ModelId> = task.tariff.models.iter().map(|(model, _)| model.id.clone()).collect();
    let task = StoredValue::new(task);
    let typed = RwSignal::new(input.clone());
    let chosen = RwSignal::new(model);
    let sending = RwSignal::new(false);
    // Seconds since the page was made, counted only where they matter.
    let waited = RwSignal::new(0_u64);
    #[cfg(feature = "hydrate")]
    if task.with_value(Task::must_wait) {
        count_seconds(waited);
    }
    let dialog = NodeRef::<html::Dialog>::new();
    let area = NodeRef::<html::Textarea>::new();
    // What stands in the field is what counts: it may have been typed, or restored, before this came alive.
    let read = move || {
        if let Some(area) = area.get() {
            typed.set(area.value());
        }
    };
    Effect::new(move |_| read());
    let quoted =
        Memo::new(move |_| task.with_value(|task| task.quote(&chosen.get(), typed.with(|typed| typed.trim().len()))));
    let payer = Memo::new(move |_| {
        let quote = quoted.get()?;
        task.with_value(|task| task.payer(&quote, waited.get()))
    });
    let is_empty = Memo::new(move |_| typed.with(|typed| typed.trim().is_empty()));

    let open = move |event: leptos::ev::MouseEvent| {
        read();
        if is_empty.get() {
            return; // The browser says which field is missing.
        }
        if let Some(dialog) = dialog.get().filter(|dialog| !dialog.open()) {
            event.prevent_default();
            // A browser too old for modal dialogs sends the form instead, and the page comes back with the preview.
            let _ = dialog.show_modal();
        }
    };
    let close = move |_| {
        if let Some(dialog) = dialog.get() {
            dialog.close();
        }
    };
    let send = move |event: leptos::ev::SubmitEvent| {
        if sending.get() {
            event.prevent_default();
        }
        sending.set(true);
    };

    view! {
        <form class="grid gap-5" method="post" action=action on:submit=send>
            <input type="hidden" name="execution_id" value=execution_id />
            <input type="hidden" name="shown_ceiling_nanos" value=move || shown_ceiling(&quoted.get()) />
            <input type="hidden" name="shown_source" value=move || shown_source(&payer.get()) />
            <div class="field">
                <label for="input">{label}</label>
                <textarea
                    class="input min-h-48"
                    id="input"
                    name="input"
                    required
                    placeholder=example
                    aria-describedby="input-price"
                    node_ref=area
                    on:input=move |_| read()
                >
                    {input}
                </textarea>
                <p class="field-hint" id="input-price" aria-live="polite">
                    {move || price_line(&quoted.get())}
                </p>
            </div>
            <div class="flex flex-wrap items-center gap-3">
                <button class="button button-primary button-large" name="step" value="preview" on:click=open>
                    "Preview the cost"
                </button>
                <span class="text-13 text-ink-muted">{move || before_it_runs(&payer.get())}</span>
            </div>
            <dialog
                class="dialog cost-preview"
                id="cost-preview"
                aria-labelledby="cost-preview-title"
                open=previewing
                node_ref=dialog
            >
                <h2 class="section-title px-6 pt-5" id="cost-preview-title">
                    {move || task.with_value(|task| task.skill().name.clone())}
                    " on "
                    {move || model_name(task, &chosen.get())}
                </h2>
                <div class="dialog-body grid gap-5">
                    {move || match quoted.get() {
                        Ok(quote) => {
                            view! { <Figures quote=quote /> }.into_any()
                        }
                        Err(denial) => {
                            view! {
                                <p class="notice notice-danger" role="alert">
                                    {denial.sentence()}
                                </p>
                            }
                                .into_any()
                        }
                    }}
                    {move || quoted.get().ok().map(|quote| view! { <Payment task=task quote=quote payer=payer.get() /> })}
                    <fieldset class="grid gap-1">
                        <legend class="field-label pb-1">"Model"</legend>
                        {choices
                            .into_iter()
                            .map(|id| view! { <Choice id=id task=task typed=typed chosen=chosen /> })
                            .collect_view()}
                    </fieldset>
                </div>
                <div class="dialog-foot">
                    <button class="button" type="button" on:click=close>
                        "Cancel"
                    </button>
                    <button
                        class="button button-primary"
                        name="step"
                        value="execute"
                        autofocus
                        aria-disabled=move || sending.get().then_some("true")
                        disabled=move || payer.with(Result::is_err)
                    >
                        {move || if sending.get() { "Starting…" } else { "Execute" }}
                    </button>
                </div>
            </dialog>
        </form>
    }
}

/// The big figure and the band.
#[component]
fn Figures(quote: Quote) -> impl IntoView {
    let (p50, p90, ceiling) = (quote.p50, quote.p90, quote.ceiling);
    view! {
        <div class="grid gap-2">
            <p class="figure" title=quote.likely.to_string()>
                "≈ "
                {text(quote.likely, Digits::Short)}
            </p>
            <Band p50=p50 likely=quote.likely p90=p90 ceiling=ceiling actual=None />
            <p class="flex flex-wrap justify-between gap-x-4 text-13 text-ink-muted">
                <span>
                    "usually " {text(p50, Digits::Short)} " to " {text(p90, Digits::Short)}
                </span>
                <span title=ceiling.to_string()>"at most " {text(ceiling, Digits::Short)}</span>
            </p>
            <p class="text-13 text-ink-muted">
                "About " {quote.input_tokens} " tokens in and " {quote.output_tokens} " out. It stops at "
                {quote.max_output_tokens} " out."
            </p>
        </div>
    }
}

/// Who pays, or why nobody does. What counts down is not read out each second.
#[component]
fn Payment(task: StoredValue<Task>, quote: Quote, payer: Result<FundingSource, Denial>) -> impl IntoView {
    let denial = match payer {
        Ok(source) => {
            let words = task.with_value(|task| paid_words(task, &quote, source));
            return view! { <p>{words}</p> }.into_any();
        }
        Err(denial) => denial,
    };
    let day_ends = matches!(denial, Denial::DailyCap { .. }).then(|| task.with_value(|task| task.day_ends.clone()));
    let role = denial.retry_after_seconds().is_none().then_some("status");
    let remedies = denial
        .remedies()
        .into_iter()
        .map(|remedy| view! { <a href=remedy.href>{remedy.label}</a> " · " })
        .collect_view();
    view! {
        <div class="notice notice-caution" role=role>
            <p class="notice-title">{denial.sentence()}</p>
            {day_ends.map(|day_ends| view! { <p>"For you that is " {day_ends} "."</p> })}
            <p>{remedies} "or choose another model below."</p>
        </div>
    }
    .into_any()
}

/// What stands beside the button: when the plan may run the next one, or that nothing is charged unseen.
fn before_it_runs(payer: &Result<FundingSource, Denial>) -> String {
    match payer {
        Err(Denial::Throttled { retry_after_seconds, .. }) => {
            format!("Your plan is slowed down: it may run the next one in {retry_after_seconds} s.")
        }
        Ok(_) | Err(_) => "Nothing runs before you have seen the price.".to_owned(),
    }
}

/// Who pays, and what is left of that.
fn paid_words(task: &Task, quote: &Quote, source: FundingSource) -> String {
    let Some(purse) = task.purse(&quote.model) else { return String::new() };
    let down = |from: Usd| {
        let after = from.saturating_sub(quote.likely);
        format!("{} → about {}", text(from, Digits::Cents), text(after, Digits::Cents))
    };
    match source {
        FundingSource::OwnKey => "Paid from: your own key · nothing is charged here".to_owned(),
        FundingSource::Trial => format!("Paid from: trial credit · {}", down(purse.trial)),
        FundingSource::Credits => format!("Paid from: credits · balance {}", down(purse.spendable)),
        FundingSource::Allowance => {
            let rule = purse.funding.payers.iter().find_map(|payer| match payer {
                Payer::Allowance(rule) => Some(rule),
                Payer::OwnKey | Payer::Trial(_) | Payer::Credits => None,
            });
            let left = rule.and_then(|rule| Some((rule.left(&purse.used)?, rule.executions)));
            match left {
                Some((left, Allowance::AtMost(limit))) => {
                    format!("Paid from: plan allowance · {} of {} left", grouped(left), grouped(limit))
                }
                Some((_, Allowance::Unlimited)) | None => "Paid from: plan allowance · no limit".to_owned(),
            }
        }
    }
}

/// One model with its price for this input.
#[component]
fn Choice(id: ModelId, task: StoredValue<Task>, typed: RwSignal<String>, chosen: RwSignal<ModelId>) -> impl IntoView {
    let name = model_name(task, &id);
    let class = task.with_value(|task| task.model(&id).map(|model| model.class.as_str()));
    let is_own = task.with_value(|task| task.skill().model == id);
    let value = id.to_string();
    let (priced, checked, choose) = (id.clone(), id.clone(), id);
    let likely = move || {
        task.with_value(|task| task.quote(&priced, typed.with(|typed| typed.trim().len()))).map_or_else(
            |_| "not for this input".to_owned(),
            |quote| format!("≈ {}", text(quote.likely, Digits::Short)),
        )
    };
    view! {
        <label class="choice">
            <input
                type="radio"
                name="model"
                value=value
                checked=chosen.get_untracked() == checked
                on:change=move |_| chosen.set(choose.clone())
            />
            <span class="min-w-0">
                <span class="clip font-medium">{name}</span>
                <span class="text-13 text-ink-muted">{class} {is_own.then_some(" · chosen for this task")}</span>
            </span>
            <span class="money ml-auto">{likely}</span>
        </label>
    }
}

fn model_name(task: StoredValue<Task>, id: &ModelId) -> String {
    task.with_value(|task| task.model(id).map_or_else(|| id.to_string(), |model| model.name.clone()))
}

fn shown_ceiling(quoted: &Result<Quote, Denial>) -> String {
    quoted.as_ref().map_or_else(|_| String::new(), |quote| quote.ceiling.nanos().to_string())
}

/// Who would pay; empty when nobody would, and then it cannot be executed.
fn shown_source(payer: &Result<FundingSource, Denial>) -> String {
    payer.as_ref().map_or_else(|_| String::new(), |source| source.as_str().to_owned())
}

fn price_line(quoted: &Result<Quote, Denial>) -> String {
    match quoted {
        Ok(quote) => format!(
            "About {} tokens with the task's own instructions: ≈ {}, at most {}.",
            quote.input_tokens,
            text(quote.likely, Digits::Short),
            text(quote.ceiling, Digits::Short)
        ),
        Err(denial) => denial.sentence(),
    }
}

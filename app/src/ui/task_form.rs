//! Owns: the form that runs a skill, and the preview of its cost before it runs.
//! Does not own: the price; `domain::quote` says it here and on the server alike, so nothing is asked for each keystroke.
//! Without JavaScript the page comes back with the preview open, and `Execute` is an ordinary button of the form.

use crate::ui::band::Band;
use crate::ui::money::{Digits, text};
use domain::catalogue::{Catalogue, Model, Skill};
use domain::denial::Denial;
use domain::id::{ExecutionId, ModelId};
use domain::money::Usd;
use domain::quote::{Draft, History, Quote, quote};
use domain::rate::RateBook;
use domain::time::Timestamp;
use leptos::html;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What the form needs to price a run by itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct Task {
    /// Made when the page was rendered: a second click finds the first run.
    pub execution_id: ExecutionId,
    pub skill: Skill,
    pub catalogue: Catalogue,
    pub rates: RateBook,
    /// The moment of the rates.
    pub now: Timestamp,
    /// What past runs of the skill took.
    pub history: History,
    /// The models one may choose here, the skill's own first.
    pub choices: Vec<ModelId>,
    pub spendable: Usd,
}

impl Task {
    /// What a run would cost on one of the models, by the function that the server asks too.
    pub fn quote(&self, model: &ModelId, input_bytes: usize) -> Result<Quote, Denial> {
        let draft = Draft {
            skill: Some(self.skill.id.clone()),
            model: model.clone(),
            input_bytes: u64::try_from(input_bytes).unwrap_or(u64::MAX),
            max_output_tokens: None,
            writes_cache: false,
        };
        quote(&self.catalogue, &self.rates, self.now, &draft, &self.history)
    }

    fn model(&self, id: &ModelId) -> Option<&Model> {
        self.catalogue.model(id).ok()
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
    let action = format!("/tasks/{}", task.skill.id);
    let execution_id = task.execution_id.to_string();
    let label = task.skill.input_label.clone();
    let example = task.skill.input_example.clone();
    let choices = task.choices.clone();
    let task = StoredValue::new(task);
    let typed = RwSignal::new(input.clone());
    let chosen = RwSignal::new(model);
    let sending = RwSignal::new(false);
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
                <span class="text-13 text-ink-muted">"Nothing runs before you have seen the price."</span>
            </div>
            <dialog
                class="dialog cost-preview"
                id="cost-preview"
                aria-labelledby="cost-preview-title"
                open=previewing
                node_ref=dialog
            >
                <h2 class="section-title px-6 pt-5" id="cost-preview-title">
                    {move || task.with_value(|task| task.skill.name.clone())}
                    " on "
                    {move || model_name(task, &chosen.get())}
                </h2>
                <div class="dialog-body grid gap-5">
                    {move || match quoted.get() {
                        Ok(quote) => {
                            view! { <Figures quote=quote spendable=task.with_value(|task| task.spendable) /> }.into_any()
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
                        disabled=move || !is_affordable(&quoted.get(), task)
                    >
                        {move || if sending.get() { "Starting…" } else { "Execute" }}
                    </button>
                </div>
            </dialog>
        </form>
    }
}

/// The big figure, the band, and who pays.
#[component]
fn Figures(quote: Quote, spendable: Usd) -> impl IntoView {
    let after = spendable.saturating_sub(quote.likely);
    let short = quote.ceiling.saturating_sub(spendable);
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
        {if short.is_positive() {
            view! {
                <div class="notice notice-caution" role="status">
                    <p class="notice-title">
                        {Denial::InsufficientCredit {
                            needed: ceiling,
                            spendable,
                        }
                            .sentence()}
                    </p>
                    <p>
                        <a href="/credits">"Add credits"</a>
                        ", or choose a cheaper model below. What a run does not use is given back at once."
                    </p>
                </div>
            }
                .into_any()
        } else {
            view! {
                <p>
                    "Paid from credits · balance " {text(spendable, Digits::Cents)} " → about "
                    {text(after, Digits::Cents)}
                </p>
            }
                .into_any()
        }}
    }
}

/// One model with its price for this input.
#[component]
fn Choice(id: ModelId, task: StoredValue<Task>, typed: RwSignal<String>, chosen: RwSignal<ModelId>) -> impl IntoView {
    let name = model_name(task, &id);
    let class = task.with_value(|task| task.model(&id).map(|model| model.class.as_str()));
    let is_own = task.with_value(|task| task.skill.model == id);
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

fn is_affordable(quoted: &Result<Quote, Denial>, task: StoredValue<Task>) -> bool {
    quoted.as_ref().is_ok_and(|quote| quote.ceiling <= task.with_value(|task| task.spendable))
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

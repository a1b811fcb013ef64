//! Owns: a run on its page while it goes on: the text as it arrives, and the cost as it grows.
//! Does not own: how it ends up in the books; when it has ended, the page is read again and shows that.
//! Without JavaScript the page reloads itself every few seconds instead.

use crate::ui::band::Band;
use crate::ui::money::{Digits, text};
use domain::id::ExecutionId;
use domain::money::Usd;
use leptos::prelude::*;

/// A run that goes on. It joins at the beginning, wherever the run is, so nothing is lost or doubled.
#[island]
pub fn LiveRun(
    execution_id: ExecutionId,
    likely: Usd,
    p50: Usd,
    p90: Usd,
    ceiling: Usd,
    /// What it said when the page was rendered, for readers without JavaScript.
    text_so_far: String,
    cost_so_far: Usd,
) -> impl IntoView {
    let output = RwSignal::new(text_so_far);
    let cost = RwSignal::new(cost_so_far);
    let tokens = RwSignal::new(0_u64);
    let lost = RwSignal::new(false);
    #[cfg(feature = "hydrate")]
    follow::follow(&execution_id, follow::Seen { output, cost, tokens, lost });
    #[cfg(not(feature = "hydrate"))]
    let _ = (execution_id, lost);

    view! {
        <div class="grid gap-6">
        <section class="card grid gap-2" aria-label="Cost so far">
            <p class="figure tabular-nums" data-live="cost">
                {move || text(cost.get(), Digits::Short)}
            </p>
            {move || view! { <Band p50=p50 likely=likely p90=p90 ceiling=ceiling actual=Some(cost.get()) /> }}
            <p class="flex flex-wrap justify-between gap-x-4 text-13 text-ink-muted">
                <span>
                    "estimated ≈ " {text(likely, Digits::Short)}
                    {move || match tokens.get() {
                        0 => String::new(),
                        tokens => format!(" · {tokens} tokens out"),
                    }}
                </span>
                <span>"stops at " {text(ceiling, Digits::Short)}</span>
            </p>
            <p class="text-13 text-caution" role="status">
                {move || {
                    lost.get()
                        .then_some("The connection to this page was lost. The run goes on; the page will catch up.")
                }}
            </p>
        </section>
        <section class="card" aria-label="Output" aria-busy="true">
            <div class="output">{move || output.get()}</div>
        </section>
        </div>
    }
}

#[cfg(feature = "hydrate")]
mod follow {
    use domain::id::ExecutionId;
    use domain::money::Usd;
    use leptos::prelude::*;
    use wasm_bindgen::JsCast as _;
    use wasm_bindgen::closure::Closure;
    use web_sys::{EventSource, MessageEvent};

    /// What the page shows of the run.
    #[derive(Clone, Copy)]
    pub struct Seen {
        pub output: RwSignal<String>,
        pub cost: RwSignal<Usd>,
        pub tokens: RwSignal<u64>,
        pub lost: RwSignal<bool>,
    }

    #[derive(serde::Deserialize)]
    struct Delta {
        text: String,
    }

    #[derive(serde::Deserialize)]
    struct Meter {
        output_tokens: u64,
        cost_nanos: Usd,
    }

    /// Follows the run's events until it ends, then reads the page again.
    pub fn follow(execution_id: &ExecutionId, seen: Seen) {
        let Ok(source) = EventSource::new(&format!("/runs/{execution_id}/events")) else { return };
        // Each connection tells the run from its beginning.
        on(&source, "open", move |_| {
            seen.output.set(String::new());
            seen.lost.set(false);
        });
        on(&source, "error", move |_| seen.lost.set(true));
        on(&source, "delta", move |data| {
            if let Ok(delta) = serde_json::from_str::<Delta>(&data) {
                seen.output.update(|output| output.push_str(&delta.text));
            }
        });
        on(&source, "meter", move |data| {
            if let Ok(meter) = serde_json::from_str::<Meter>(&data) {
                seen.tokens.set(meter.output_tokens);
                seen.cost.set(meter.cost_nanos);
            }
        });
        let ended = source.clone();
        on(&source, "end", move |_| {
            ended.close();
            let _ = window().location().reload();
        });
    }

    /// Calls `act` with the data of each event of this name, for as long as the page lives.
    fn on(source: &EventSource, name: &str, act: impl Fn(String) + 'static) {
        let listener = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            let data = event.dyn_ref::<MessageEvent>().and_then(|message| message.data().as_string());
            act(data.unwrap_or_default());
        });
        let _ = source.add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        listener.forget();
    }
}

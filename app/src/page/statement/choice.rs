//! What the statement is narrowed to: it stands in the address, so that a link shows the same again.

use crate::ui::form::Pick;
use crate::ui::table::Chips;
use domain::catalogue::Catalogue;
use domain::id::{ModelId, SkillId};
use domain::statement::LineKind;
use domain::time::Timestamp;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use server::ledger::LineFilter;
use server::statement::{day_in_zone, moment_in_zone};

/// The filters, as they were typed and chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub kind: Option<LineKind>,
    pub model: Option<ModelId>,
    pub skill: Option<SkillId>,
    /// Days, such as `2026-11-05`, in the account's zone; both are part of the time.
    pub from: Option<String>,
    pub to: Option<String>,
    /// The moment whose balance is asked for.
    pub at: Option<String>,
    /// The place before which the page begins.
    pub before: Option<i64>,
}

impl Choice {
    pub fn read(query: &ParamsMap) -> Choice {
        let typed = |name: &str| query.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Choice {
            kind: typed("kind").and_then(|kind| kind.parse().ok()),
            model: typed("model").map(ModelId::new),
            skill: typed("skill").map(SkillId::new),
            from: typed("from"),
            to: typed("to"),
            at: typed("at"),
            before: typed("before").and_then(|before| before.parse().ok()),
        }
    }

    /// Without the time, which the caller turns into places.
    pub fn filter(&self) -> LineFilter {
        let (model, skill) = (self.model.clone(), self.skill.clone());
        LineFilter { kind: self.kind, model, skill, after: None, until: None }
    }

    pub fn first_moment(&self, zone: &str) -> Option<Timestamp> {
        Some(day_in_zone(self.from.as_deref()?, zone)?.0)
    }

    /// The first moment of the day after the last.
    pub fn end_moment(&self, zone: &str) -> Option<Timestamp> {
        Some(day_in_zone(self.to.as_deref()?, zone)?.1)
    }

    pub fn at_moment(&self, zone: &str) -> Option<Timestamp> {
        moment_in_zone(self.at.as_deref()?, zone)
    }

    /// What was typed that is no day or moment, or leaves no time.
    pub fn problem(&self, zone: &str) -> Option<String> {
        let unread = |typed: &Option<String>, read: Option<Timestamp>| typed.is_some() && read.is_none();
        let (from, until) = (self.first_moment(zone), self.end_moment(zone));
        if unread(&self.from, from) || unread(&self.to, until) {
            return Some("A day is written like 2026-11-05. That filter was left out.".to_owned());
        }
        if unread(&self.at, self.at_moment(zone)) {
            return Some("A moment is written like 2026-11-05T14:30.".to_owned());
        }
        match (from, until) {
            (Some(from), Some(until)) if from >= until => Some("The last day is before the first one.".to_owned()),
            _ => None,
        }
    }

    pub fn is_narrowed(&self) -> bool {
        self.filter() != LineFilter::default() || self.from.is_some() || self.to.is_some()
    }
}

/// The address that shows this choice.
pub fn address(choice: &Choice) -> String {
    let safe = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)).then(|| text.to_owned())
    };
    let parts = [
        ("kind", choice.kind.map(|kind| kind.to_string())),
        ("model", choice.model.as_ref().and_then(|model| safe(model.as_str()))),
        ("skill", choice.skill.as_ref().and_then(|skill| safe(skill.as_str()))),
        ("from", choice.from.as_deref().and_then(safe)),
        ("to", choice.to.as_deref().and_then(safe)),
        ("before", choice.before.map(|before| before.to_string())),
    ];
    let query: Vec<String> = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/credits/statement{mark}{}#lines", query.join("&"))
}

/// A chip for each kind of line.
pub fn kinds(choice: &Choice) -> impl IntoView + use<> {
    let of = |kind| address(&Choice { kind, before: None, at: None, ..choice.clone() });
    let mut chips = vec![("Everything".to_owned(), of(None), choice.kind.is_none())];
    chips
        .extend(LineKind::ALL.iter().map(|&kind| (kind.words().to_owned(), of(Some(kind)), choice.kind == Some(kind))));
    view! { <Chips label="Show" chips=chips /> }
}

/// The rest of the filters: a time, a model, a task.
pub fn form(choice: &Choice, catalogue: &Catalogue) -> impl IntoView + use<> {
    let every = |label: &str, is_chosen: bool| (String::new(), label.to_owned(), is_chosen);
    let mut models = vec![every("Every model", choice.model.is_none())];
    models.extend(
        catalogue
            .models
            .iter()
            .map(|model| (model.id.to_string(), model.name.clone(), choice.model.as_ref() == Some(&model.id))),
    );
    let mut skills = vec![every("Every task", choice.skill.is_none())];
    skills.extend(
        catalogue
            .skills
            .iter()
            .map(|skill| (skill.id.to_string(), skill.name.clone(), choice.skill.as_ref() == Some(&skill.id))),
    );
    let kind = choice.kind.map(|kind| view! { <input type="hidden" name="kind" value=kind.as_str() /> });
    view! {
        <form class="flex flex-wrap items-end gap-3" method="get" action="/credits/statement#lines">
            {kind} {day("First day", "from", choice.from.clone())} {day("Last day", "to", choice.to.clone())}
            <Pick label="Model" name="model" options=models /> <Pick label="Task" name="skill" options=skills />
            <button class="button">"Show these"</button>
            {choice
                .is_narrowed()
                .then(|| {
                    view! {
                        <a class="button button-quiet" href="/credits/statement#lines">
                            "Show everything"
                        </a>
                    }
                })}
        </form>
    }
}

fn day(label: &'static str, name: &'static str, value: Option<String>) -> impl IntoView {
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <input class="input" id=name name=name type="date" placeholder="2026-11-05" value=value />
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_stands_in_its_address_and_nothing_else_does() {
        let choice = Choice {
            kind: Some(LineKind::Debit),
            from: Some("2026-11-05".to_owned()),
            model: Some(ModelId::new("a\"><script>")),
            before: Some(7),
            ..Choice::default()
        };
        assert_eq!(address(&choice), "/credits/statement?kind=debit&from=2026-11-05&before=7#lines");
        assert_eq!(address(&Choice::default()), "/credits/statement#lines");
    }

    #[test]
    fn days_are_the_accounts_and_what_is_no_day_is_said() {
        let of =
            |from: &str, to: &str| Choice { from: Some(from.to_owned()), to: Some(to.to_owned()), ..Choice::default() };
        let one_day = of("2026-11-05", "2026-11-05");
        let zone = "Europe/Vienna";
        let seconds = one_day.end_moment(zone).unwrap().seconds() - one_day.first_moment(zone).unwrap().seconds();
        assert_eq!((seconds, one_day.problem(zone)), (86_400, None));
        assert!(of("2026-11-06", "2026-11-05").problem(zone).unwrap().contains("before the first"));
        assert!(of("05.11.2026", "2026-11-05").problem(zone).unwrap().contains("2026-11-05"));
    }
}

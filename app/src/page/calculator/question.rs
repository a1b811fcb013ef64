//! What is asked, as it stands in the address.

use crate::page::pricing::seats_of;
use domain::calculator::MOST_RUNS;
use domain::catalogue::{Catalogue, Profile};
use domain::id::{PackId, PlanId, ProfileId, SkillId};
use domain::plan::Plan;
use domain::subscription::{KeyMode, MOST_SEATS};
use domain::time::Timestamp;
use leptos_router::params::ParamsMap;
use std::collections::BTreeMap;

/// Runs a month in the presets of one task alone.
const ONLY: u64 = 100;
/// The profile that is asked about until another is chosen.
const USUAL: &str = "regular";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub plan: PlanId,
    pub seats: u32,
    /// `None` takes the smallest pack that lasts for a month.
    pub pack: Option<PackId>,
    pub runs: BTreeMap<SkillId, u64>,
    /// What is wrong with a number that was typed.
    pub problems: BTreeMap<SkillId, String>,
    pub seats_problem: Option<String>,
}

/// The plans that have a price; those by agreement have none to work with.
pub fn priced(catalogue: &Catalogue, now: Timestamp) -> impl Iterator<Item = &Plan> {
    catalogue.plans.iter().filter(move |plan| plan.listed && plan.month(now, KeyMode::Standard, 1).is_some())
}

impl Question {
    /// A plan or pack that does not exist counts as the usual one; numbers that make no sense are told.
    pub fn from_query(query: &ParamsMap, catalogue: &Catalogue, now: Timestamp) -> Question {
        let named = query.get("plan").map(PlanId::new);
        let paid = |plan: &&Plan| plan.month(now, KeyMode::Standard, 1).is_some_and(|month| month.0 > 0);
        let plan = priced(catalogue, now)
            .find(|plan| Some(&plan.id) == named.as_ref())
            .or_else(|| priced(catalogue, now).find(paid))
            .map_or_else(|| catalogue.signup_plan.clone(), |plan| plan.id.clone());
        let pack = query.get("pack").map(PackId::new).filter(|id| catalogue.pack(id).is_ok());
        let typed = query.get("seats").unwrap_or_else(|| "1".to_owned());
        let seats = seats_of(&typed);
        let seats_problem = seats_problem(typed.trim(), seats);
        let (runs, problems) = (BTreeMap::new(), BTreeMap::new());
        let mut question = Question { plan, seats, pack, runs, problems, seats_problem };

        let profile = |id: &str| catalogue.profiles.iter().find(|profile| profile.id == ProfileId::new(id));
        if let Some(only) = query.get("only").map(SkillId::new).filter(|id| catalogue.skill(id).is_ok()) {
            question.runs.insert(only, ONLY);
        } else if let Some(profile) = query.get("profile").as_deref().and_then(profile) {
            question.runs.clone_from(&profile.runs);
        } else if catalogue.skills.iter().any(|skill| query.get(&name(&skill.id)).is_some()) {
            for skill in &catalogue.skills {
                question.read_runs(&skill.id, query.get(&name(&skill.id)).unwrap_or_default().trim());
            }
        } else if let Some(usual) = profile(USUAL).or(catalogue.profiles.first()) {
            question.runs.clone_from(&usual.runs);
        }
        question
    }

    fn read_runs(&mut self, skill: &SkillId, typed: &str) {
        if typed.is_empty() {
            return;
        }
        let problem = match typed.parse::<u64>() {
            Ok(0) => return,
            Ok(runs) if runs <= MOST_RUNS => {
                self.runs.insert(skill.clone(), runs);
                return;
            }
            Ok(_) => format!("Counted as none: more than {MOST_RUNS} are not worked out here."),
            Err(_) => "Counted as none: give a whole number of runs.".to_owned(),
        };
        self.problems.insert(skill.clone(), problem);
    }

    pub fn plan<'a>(&self, catalogue: &'a Catalogue) -> Option<&'a Plan> {
        catalogue.plan(&self.plan)
    }

    /// The same question about other work.
    pub fn address(&self, work: &str) -> String {
        let pack = self.pack.as_ref().map(|pack| format!("&pack={pack}")).unwrap_or_default();
        format!("/pricing/calculator?plan={}&seats={}{pack}&{work}", self.plan, self.seats)
    }

    pub fn is_profile(&self, profile: &Profile) -> bool {
        self.runs == profile.runs
    }

    pub fn is_only(&self, skill: &SkillId) -> bool {
        self.runs.len() == 1 && self.runs.get(skill) == Some(&ONLY)
    }
}

/// What is wrong with the number of people that was typed, and what it counts as.
fn seats_problem(typed: &str, seats: u32) -> Option<String> {
    let digits = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    match typed.parse::<u32>() {
        Ok(number) if number == seats => None,
        Ok(_) if seats == MOST_SEATS => Some(format!("Counted as {MOST_SEATS}: for more, write to us.")),
        Err(_) if digits => Some(format!("Counted as {seats}: there are at most {MOST_SEATS}.")),
        Ok(_) | Err(_) => Some(format!("Counted as {seats}: give a whole number from 1 to {MOST_SEATS}.")),
    }
}

/// What a skill's number is called in the form.
pub fn name(skill: &SkillId) -> String {
    format!("run-{skill}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const NOW: Timestamp = Timestamp::from_date(2026, 11, 24);

    fn ask(query: &[(&str, &str)]) -> Question {
        let catalogue = server::catalogue::load(Some(Path::new("tiers"))).unwrap();
        let mut map = ParamsMap::new();
        for (name, value) in query {
            map.insert((*name).to_owned(), (*value).to_owned());
        }
        Question::from_query(&map, &catalogue, NOW)
    }

    fn runs(question: &Question, skill: &str) -> u64 {
        question.runs.get(&SkillId::new(skill)).copied().unwrap_or_default()
    }

    #[test]
    fn an_empty_question_is_about_the_usual() {
        let question = ask(&[]);
        assert_eq!((question.plan.as_str(), question.seats, question.pack.clone()), ("pro", 1, None));
        assert_eq!(runs(&question, "prd"), 60);
    }

    #[test]
    fn presets_and_own_numbers() {
        assert_eq!(runs(&ask(&[("profile", "light")]), "user-story"), 125);
        let only = ask(&[("only", "plt-gateway")]);
        assert_eq!((runs(&only, "plt-gateway"), only.runs.len()), (100, 1));
        let own =
            ask(&[("plan", "team"), ("seats", "4"), ("pack", "pack-50"), ("run-prd", "7"), ("run-user-story", "")]);
        assert_eq!((own.plan.as_str(), own.seats), ("team", 4));
        assert_eq!((own.pack.clone(), runs(&own, "prd"), own.runs.len()), (Some(PackId::new("pack-50")), 7, 1));
        assert_eq!(own.address("only=prd"), "/pricing/calculator?plan=team&seats=4&pack=pack-50&only=prd");
    }

    #[test]
    fn what_makes_no_sense_is_told_or_left_out() {
        let question =
            ask(&[("plan", "enterprise"), ("pack", "pack-9"), ("run-prd", "-1"), ("run-user-story", "100001")]);
        assert_eq!((question.plan.as_str(), question.pack.clone()), ("pro", None));
        assert_eq!((question.runs.len(), question.problems.len()), (0, 2));
        assert_eq!(ask(&[("run-prd", "1000000000000")]).problems.len(), 1);
        for (typed, seats, counted) in [
            ("1", 1, None),
            ("1000", 1_000, None),
            ("0", 1, Some("Counted as 1: give")),
            ("10000", 1_000, Some("Counted as 1000: for more")),
            ("1000000000000", 1_000, Some("Counted as 1000: there are")),
            ("-3", 1, Some("Counted as 1: give")),
            ("", 1, Some("Counted as 1: give")),
            ("many", 1, Some("Counted as 1: give")),
        ] {
            let question = ask(&[("seats", typed)]);
            assert_eq!(question.seats, seats, "{typed}");
            let said = question.seats_problem.as_deref();
            assert!(
                said.map_or(counted.is_none(), |said| counted.is_some_and(|start| said.starts_with(start))),
                "{typed}: {said:?}"
            );
        }
    }
}

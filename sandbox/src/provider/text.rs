//! Owns: what the models say: documents that read like a product team's, the same for the same seed and prompt.
//! Each document is written once, when it is first asked for; an answer is a slice of it below a heading of its own.

use super::cache::fingerprint;
use super::words::{AREAS, CRITERIA, GAPS, Kind, SENTENCES, STORIES, Shape};
use super::{Prompt, tokens};
use crate::clock::mix;
use std::sync::OnceLock;

/// How many documents of each kind there are.
const VARIANTS: u64 = 4;
/// Bytes for a token.
const TOKEN_BYTES: u64 = 4;

/// The documents.
#[derive(Debug)]
pub struct Library {
    seed: u64,
    documents: Vec<OnceLock<String>>,
}

/// What a model says to one prompt.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    /// Whether it was cut at the cap.
    pub hit_limit: bool,
}

impl Library {
    pub fn new(seed: u64) -> Library {
        let count = Kind::ALL.len() * usize::try_from(VARIANTS).unwrap_or(1);
        Library { seed, documents: (0..count).map(|_| OnceLock::new()).collect() }
    }

    /// The answer to a prompt, at most `max_tokens` long (plus `overshoot` tokens that ignore the cap).
    pub fn answer(&self, prompt: &Prompt<'_>, max_tokens: Option<u64>, overshoot: u64) -> Answer {
        let kind = kind_of(prompt);
        let chosen = mix(fingerprint(self.seed, prompt.last.as_bytes()));
        let document = self.document(kind, chosen % VARIANTS);
        let topic = topic_of(prompt.last);
        // Between 85 % and 110 % of the usual length, ending with a paragraph.
        let usual = kind.usual_tokens() * TOKEN_BYTES;
        let wanted = usual * (85 + (chosen >> 8) % 26) / 100;
        let limit = max_tokens.map(|max| max.saturating_add(overshoot).saturating_mul(TOKEN_BYTES));
        let heading = if limit.is_some_and(|limit| limit < 64) {
            String::new()
        } else {
            format!("# {}: {topic}\n\n", kind.title())
        };

        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(document.len());
        let whole = document.get(..floor(document, wanted)).and_then(|text| text.rfind("\n\n").map(|end| &text[..end]));
        let body = whole.unwrap_or(document);
        let full = heading.len() + body.len();
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut text = String::with_capacity(limit.map_or(full, |limit| limit.min(full)) + 8);
        text.push_str(&heading);
        match limit {
            Some(limit) if limit < full || overshoot > 0 => {
                // Told to overshoot, it goes on until the cap is passed.
                while text.len() < limit {
                    let room = limit - text.len();
                    text.push_str(&document[..floor(document, room.min(document.len()))]);
                    if room < TOKEN_BYTES as usize {
                        break;
                    }
                }
                text.truncate(floor(&text, limit));
                Answer { text, hit_limit: true }
            }
            Some(_) | None => {
                text.push_str(body);
                Answer { text, hit_limit: false }
            }
        }
    }

    fn document(&self, kind: Kind, variant: u64) -> &str {
        let position = (kind as usize) * usize::try_from(VARIANTS).unwrap_or(1) + usize::try_from(variant).unwrap_or(0);
        match self.documents.get(position) {
            Some(document) => document.get_or_init(|| write(kind, mix(self.seed ^ mix(position as u64)))),
            None => "",
        }
    }
}

/// The largest place up to `limit` that does not split a letter.
fn floor(text: &str, limit: usize) -> usize {
    let mut place = limit.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// The kind of document that the system prompt, or else the message, asks for.
fn kind_of(prompt: &Prompt<'_>) -> Kind {
    let beginning = |text: &str| text.get(..floor(text, 2_000)).unwrap_or("").to_ascii_lowercase();
    let of = |text: &str| {
        [
            ("strategic bet", Kind::Bet),
            ("gateway", Kind::Gateway),
            ("plt", Kind::Gateway),
            ("user stor", Kind::Story),
            ("recall", Kind::Recall),
            ("product requirements", Kind::Requirements),
            ("prd", Kind::Requirements),
            ("spawn", Kind::Agent),
            ("@pm", Kind::Agent),
            ("product manager agent", Kind::Agent),
        ]
        .into_iter()
        .filter_map(|(word, kind)| text.find(word).map(|place| (place, kind)))
        .min_by_key(|(place, _)| *place)
        .map(|(_, kind)| kind)
    };
    of(&beginning(prompt.system)).or_else(|| of(&beginning(prompt.last))).unwrap_or(Kind::General)
}

/// The first line of the message that says something.
fn topic_of(message: &str) -> String {
    let line = message
        .lines()
        .map(|line| line.trim_start_matches(['#', '-', '*', ' ', '\t']).trim_end())
        .find(|line| !line.is_empty() && !line.starts_with("sandbox:"))
        .unwrap_or("your question");
    let mut topic: String = line.chars().take(72).collect();
    if topic.len() < line.len() {
        topic.push('…');
    }
    topic
}

/// Number after number, decided by the first.
struct Dice(u64);

impl Dice {
    fn roll<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        self.0 = mix(self.0);
        choices.get(usize::try_from(self.0 % (choices.len().max(1) as u64)).unwrap_or(0))
    }

    fn number(&mut self, below: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % below.max(1)
    }
}

/// Writes a document a little longer than its kind usually is.
fn write(kind: Kind, seed: u64) -> String {
    let mut dice = Dice(seed);
    let target = usize::try_from(kind.usual_tokens() * TOKEN_BYTES * 115 / 100).unwrap_or(usize::MAX);
    let mut out = String::with_capacity(target + 2_000);
    let sections = kind.sections();
    for (position, (heading, shape)) in sections.iter().enumerate() {
        let until = target * (position + 1) / sections.len();
        out.push_str("## ");
        out.push_str(heading);
        out.push_str("\n\n");
        let mut round = usize::try_from(dice.number(AREAS.len() as u64)).unwrap_or(0);
        loop {
            write_block(*shape, round, &mut dice, &mut out);
            round += 1;
            if out.len() >= until {
                break;
            }
            // A section that goes on does so under headings of its own.
            if *shape != Shape::Areas && tokens(out.len()) > 800 {
                write_area_heading(round, &mut out);
            }
        }
    }
    out
}

fn write_area_heading(round: usize, out: &mut String) {
    out.push_str("### ");
    out.push_str(AREAS.get(round % AREAS.len()).copied().unwrap_or(""));
    out.push_str("\n\n");
}

fn write_block(shape: Shape, round: usize, dice: &mut Dice, out: &mut String) {
    match shape {
        Shape::Prose => write_paragraph(dice, out),
        Shape::Bullets => write_lines("- ", SENTENCES, 4, dice, out),
        Shape::Steps => {
            for step in 1..=5 {
                out.push_str(&format!("{step}. "));
                write_sentence(SENTENCES, dice, out);
                out.push('\n');
            }
            out.push('\n');
        }
        Shape::Stories => write_lines("- ", STORIES, 4, dice, out),
        Shape::Criteria => write_lines("- [ ] ", CRITERIA, 4, dice, out),
        Shape::Measures => {
            write_table(&["Measure", "Now", "Target", "By"], &["{metric}", "{pct}", "{pct2}", "{when}"], dice, out);
        }
        Shape::Table => {
            write_table(&["Who", "What stops them", "What helps"], &["{who}", "{pain}", "{wish}"], dice, out);
        }
        Shape::Areas => {
            write_area_heading(round, out);
            write_paragraph(dice, out);
            write_lines("- ", SENTENCES, 3, dice, out);
        }
    }
}

fn write_paragraph(dice: &mut Dice, out: &mut String) {
    for _ in 0..3 + dice.number(3) {
        write_sentence(SENTENCES, dice, out);
        out.push(' ');
    }
    out.pop();
    out.push_str("\n\n");
}

fn write_lines(mark: &str, from: &[&str], least: u64, dice: &mut Dice, out: &mut String) {
    for _ in 0..least + dice.number(3) {
        out.push_str(mark);
        write_sentence(from, dice, out);
        out.push('\n');
    }
    out.push('\n');
}

fn write_table(heads: &[&str], cells: &[&str], dice: &mut Dice, out: &mut String) {
    out.push_str(&format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len())));
    for _ in 0..4 {
        for cell in cells {
            out.push_str("| ");
            fill(cell, dice, out);
            out.push(' ');
        }
        out.push_str("|\n");
    }
    out.push('\n');
}

fn write_sentence(from: &[&str], dice: &mut Dice, out: &mut String) {
    if let Some(sentence) = dice.roll(from) {
        fill(sentence, dice, out);
    }
}

/// Copies a sentence with its gaps filled; `{Who}` begins with a capital letter.
fn fill(sentence: &str, dice: &mut Dice, out: &mut String) {
    let mut rest = sentence;
    while let Some((before, from)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = from.split_once('}') else { break };
        let lower = name.to_ascii_lowercase();
        let choices = GAPS.iter().find(|(gap, _)| *gap == lower).map_or(&[][..], |(_, choices)| *choices);
        let filling = dice.roll(choices).copied().unwrap_or("");
        if lower == name {
            out.push_str(filling);
        } else {
            let mut letters = filling.chars();
            out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            out.push_str(letters.as_str());
        }
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::super::Block;
    use super::*;

    fn ask(library: &Library, text: &str, max_tokens: Option<u64>) -> Answer {
        library.answer(&Prompt::new(vec![Block { text, cached_for: None }], 0), max_tokens, 0)
    }

    #[test]
    fn a_document_is_about_as_long_as_its_kind_and_the_same_again() {
        let library = Library::new(7);
        for (prompt, kind) in [
            ("Recall the context of project Heron", Kind::Recall),
            ("Write user stories for invitations", Kind::Story),
            ("Write a PRD for the credit page", Kind::Requirements),
            ("Spawn an agent for onboarding", Kind::Agent),
            ("Assess this strategic bet", Kind::Bet),
            ("Prepare the PLT gateway", Kind::Gateway),
        ] {
            let answer = ask(&library, prompt, None);
            let (length, usual) = (tokens(answer.text.len()), kind.usual_tokens());
            assert!(length * 100 > usual * 80 && length * 100 < usual * 112, "{prompt}: {length}");
            assert!(answer.text.starts_with(&format!("# {}: {prompt}", kind.title())), "{}", &answer.text[..80]);
            assert!(!answer.text.contains(['{', '}']));
            assert_eq!(answer.text, ask(&Library::new(7), prompt, None).text);
        }
    }

    #[test]
    fn the_cap_is_kept_to_the_token() {
        let library = Library::new(7);
        for max in [1, 2, 15, 16, 17, 400, 3_000] {
            let answer = ask(&library, "Write a PRD for naïve café résumés — now", Some(max));
            assert!(answer.hit_limit);
            assert!(
                tokens(answer.text.len()) <= max && answer.text.len() as u64 + 4 > max * 4,
                "{max}: {}",
                answer.text.len()
            );
        }
        let over = library.answer(&Prompt::new(vec![Block { text: "Hi", cached_for: None }], 0), Some(1_000), 250);
        assert_eq!(tokens(over.text.len()), 1_250);
    }
}

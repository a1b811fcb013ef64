//! Owns: finding the parts of a prompt whose tokens their bytes do not tell: images, and files such as a PDF.
//! Does not own: what they can cost (`domain::quote`).
//! Invariant: what cannot be read here counts as a file, which may fill the model's context; so no way of writing a request
//! makes its hold smaller.

use domain::denial::Denial;
use domain::quote::Media;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What stands beside the text of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub media: Media,
    /// The size of the parts that are images, which is none of text.
    pub image_bytes: u64,
}

/// How deep results of tools may have parts of their own.
const DEEPEST: u32 = 3;

/// Looks through `messages`, which is JSON, in the way that both dialects write it. A denial if there is something that no rate
/// prices.
pub(super) fn find(messages: &str) -> Result<Found, Denial> {
    let mut found = Found::default();
    // A part has a `type`, however its letters are written.
    if !messages.contains("\"type\"") && !messages.contains("\\u") {
        return Ok(found);
    }
    match serde_json::from_str::<Vec<Message<'_>>>(messages) {
        Ok(messages) => {
            for message in messages {
                found.add_content(message.content, DEEPEST)?;
            }
        }
        Err(_) => found.media.has_file = true,
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Found {
    /// A text, or a list of parts.
    fn add_content(&mut self, content: Option<&RawValue>, deepest: u32) -> Result<(), Denial> {
        let Some(content) = content.map(RawValue::get) else { return Ok(()) };
        if content.starts_with('"') || content == "null" {
            return Ok(());
        }
        let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(content) else {
            self.media.has_file = true;
            return Ok(());
        };
        for part in parts {
            self.add_part(part, deepest)?;
        }
        Ok(())
    }

    fn add_part(&mut self, raw: &RawValue, deepest: u32) -> Result<(), Denial> {
        let Ok(part) = serde_json::from_str::<Part<'_>>(raw.get()) else {
            self.media.has_file = true;
            return Ok(());
        };
        match part.kind.as_deref().unwrap_or_default() {
            "text" | "thinking" | "redacted_thinking" | "tool_use" | "server_tool_use" | "search_result"
            | "refusal" => {}
            "tool_result" if deepest > 0 => self.add_content(part.content, deepest.saturating_sub(1))?,
            "image" | "image_url" => {
                self.media.images = self.media.images.saturating_add(1);
                self.image_bytes = self.image_bytes.saturating_add(raw.get().len() as u64);
            }
            "document" if is_text(part.source) => {}
            "audio" | "input_audio" => {
                return Err(Denial::invalid(
                    "messages",
                    "has audio, which is not priced here",
                    "Send its text instead.",
                ));
            }
            _ => self.media.has_file = true,
        }
        Ok(())
    }
}

/// Whether a document is its own text.
fn is_text(source: Option<&RawValue>) -> bool {
    let source = source.and_then(|source| serde_json::from_str::<Source<'_>>(source.get()).ok());
    source.is_some_and(|source| source.kind == "text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images_and_file(parts: &str) -> (u64, bool) {
        let Found { media: Media { images, has_file }, .. } =
            find(&format!(r#"[{{"role":"user","content":{parts}}}]"#)).unwrap();
        (images, has_file)
    }

    #[test]
    fn images_and_files_are_found_in_both_dialects() {
        for (parts, expected) in [
            (r#""a \"type\" of text""#, (0, false)),
            (r#"null"#, (0, false)),
            (r#"[{"type":"text","text":"{\"type\":\"image\"}"}]"#, (0, false)),
            (r#"[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]"#, (1, false)),
            (
                r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"?"}]"#,
                (1, false),
            ),
            (r#"[{"t\u0079pe":"im\u0061ge","source":{}},{"type":"image"}]"#, (2, false)),
            (
                r#"[{"type":"tool_result","tool_use_id":"a","content":[{"type":"image"},{"type":"document"}]}]"#,
                (1, true),
            ),
            (r#"[{"type":"tool_result","tool_use_id":"a","content":"a text"}]"#, (0, false)),
            (r#"[{"type":"tool_use","id":"a","name":"b","input":{"type":"image"}}]"#, (0, false)),
            (r#"[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"words"}}]"#, (0, false)),
            (
                r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}}]"#,
                (0, true),
            ),
            (r#"[{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}]"#, (0, true)),
            (r#"[{"type":"file","file":{"file_id":"file-1"}}]"#, (0, true)),
            // What is not known, or read in two ways, is not taken for cheap.
            (r#"[{"type":"hologram"}]"#, (0, true)),
            (r#"[{"text":"no type\u0021"}]"#, (0, true)),
            (r#"[{"type":"text","type":"image"}]"#, (0, true)),
            (r#"{"type":"image"}"#, (0, true)),
            (r#"["type", 7]"#, (0, true)),
        ] {
            assert_eq!(images_and_file(parts), expected, "{parts}");
        }
        assert!(find(r#"{"type":"x"}"#).unwrap().media.has_file, "messages that are no list");
    }

    #[test]
    fn results_of_tools_are_followed_only_so_deep() {
        let nest = |depth: usize| {
            let begin = r#"[{"type":"tool_result","content":"#.repeat(depth);
            format!("{begin}[]{}", "}]".repeat(depth))
        };
        assert_eq!(images_and_file(&nest(3)), (0, false));
        assert_eq!(images_and_file(&nest(4)), (0, true));
    }

    #[test]
    fn the_bytes_of_images_are_no_text_and_those_of_files_may_be() {
        let image = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}"#;
        let file = r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}}"#;
        let found = find(&format!(r#"[{{"role":"user","content":[{image}, {file}]}}]"#)).unwrap();
        assert_eq!(found.image_bytes, image.len() as u64);
    }

    #[test]
    fn audio_is_refused_by_name() {
        let denial = find(r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]"#).unwrap_err();
        assert!(matches!(&denial, Denial::Invalid { field, .. } if field == "messages"), "{denial:?}");
    }
}

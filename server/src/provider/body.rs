//! Owns: a client's request body: what money needs to know of it, and writing it again with as few changes as possible.
//! Does not own: the fields' meaning for the model; what is not named here passes through byte for byte.
//! Invariant: no field counts twice, and nothing that the rates do not price reaches a provider.

use super::media;
use bytes::{BufMut as _, Bytes, BytesMut};
use domain::denial::Denial;
use domain::quote::Media;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What money needs to know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// As the client named it.
    pub model: String,
    /// The cap the client set on one answer.
    pub max_output_tokens: Option<u64>,
    /// How many answers it wants.
    pub choices: u64,
    pub streams: bool,
    /// The size of everything the model may read, without its images.
    pub input_bytes: u64,
    pub media: Media,
    /// It asks the provider to write its cache, which costs more than plain input.
    pub writes_cache: bool,
}

/// A client's body, read once and borrowed from its bytes.
#[derive(Debug)]
pub struct CallBody<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Its length in bytes.
    length: usize,
    pub outline: Outline,
}

/// Fields that change the price in ways no rate of ours knows.
const UNPRICED: [(&str, &str); 7] = [
    ("web_search_options", "web search is charged per search, which is not priced here"),
    ("audio", "audio is not priced here"),
    ("mcp_servers", "remote tools read an unknown number of tokens"),
    ("container", "containers are charged by time, which is not priced here"),
    ("speed", "other speeds have other prices, which are not known here"),
    ("batch_size", "batches are not offered here"),
    ("background", "background answers are not offered here"),
];

/// Tools that the provider runs itself, at a price or with input of its own.
const PROVIDER_TOOLS: [&str; 4] = ["web_search", "web_fetch", "code_execution", "mcp_toolset"];

impl<'a> CallBody<'a> {
    /// Reads the body in one pass; a denial says which field cannot be used.
    pub fn read(body: &'a Bytes) -> Result<CallBody<'a>, Denial> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| {
            Denial::invalid("body", format!("is not a JSON object that can be read ({error})"), "Send one as JSON.")
        })?;
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Denial::invalid(name, "stands twice in the body", "Send it once."));
            }
        }
        let mut call = CallBody {
            outline: Outline {
                model: String::new(),
                max_output_tokens: None,
                choices: 1,
                streams: false,
                input_bytes: body.len() as u64,
                media: Media::default(),
                writes_cache: fields.iter().any(|(_, value)| value.get().contains("\"cache_control\"")),
            },
            fields,
            length: body.len(),
        };
        call.refuse_unpriced()?;
        if let Some(messages) = call.raw("messages") {
            let found = media::find(messages)?;
            call.outline.media = found.media;
            call.outline.input_bytes = call.outline.input_bytes.saturating_sub(found.image_bytes);
        }
        call.outline.model = call
            .parse::<Cow<'_, str>>("model")?
            .ok_or_else(|| Denial::invalid("model", "is missing", "GET /v1/models lists the models you can use."))?
            .into_owned();
        let caps = [call.parse::<u64>("max_tokens")?, call.parse::<u64>("max_completion_tokens")?];
        call.outline.max_output_tokens = caps.into_iter().flatten().max();
        call.outline.choices = call.parse::<u64>("n")?.unwrap_or(1).max(1);
        call.outline.streams = call.parse::<bool>("stream")?.unwrap_or(false);
        Ok(call)
    }

    /// Whether the client sent the field with a value.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        let value = self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.get())?;
        (value != "null").then_some(value)
    }

    fn parse<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Denial> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw).map(Some).map_err(|_| {
            Denial::invalid(
                name,
                format!("cannot be `{}`", raw.chars().take(40).collect::<String>()),
                "See the API's reference.",
            )
        })
    }

    fn refuse_unpriced(&self) -> Result<(), Denial> {
        let refuse = |name: &str, why: &str| Err(Denial::invalid(name, why, "Leave it out."));
        for (name, why) in UNPRICED {
            if self.has(name) {
                return refuse(name, why);
            }
        }
        if let Some(tier) = self.parse::<Cow<'_, str>>("service_tier")?
            && !matches!(&*tier, "auto" | "default" | "standard_only")
        {
            return refuse("service_tier", "other tiers have other prices, which are not known here");
        }
        if let Some(tools) = self.parse::<Vec<Tool<'_>>>("tools")? {
            for kind in tools.iter().filter_map(|tool| tool.kind.as_deref()) {
                if PROVIDER_TOOLS.iter().any(|tool| kind.starts_with(tool)) {
                    return refuse(
                        "tools",
                        &format!("`{kind}` runs at the provider, at a price that is not known here"),
                    );
                }
            }
        }
        Ok(())
    }

    /// The client's `stream_options`, with usage asked for.
    pub fn stream_options_with_usage(&self) -> String {
        let mut options = self
            .raw("stream_options")
            .and_then(|raw| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(raw).ok())
            .unwrap_or_default();
        options.insert("include_usage".to_owned(), true.into());
        serde_json::Value::Object(options).to_string()
    }

    /// The body again, with the model's name at the provider and `changes` in place of fields, or added.
    pub fn write(&self, upstream_name: &str, changes: &[(&str, String)]) -> Bytes {
        let model = serde_json::Value::from(upstream_name).to_string();
        let spare: usize = changes.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = BytesMut::with_capacity(self.length + model.len() + spare + 2);
        let mut put = |name: &str, value: &str| {
            out.put_u8(if out.is_empty() { b'{' } else { b',' });
            // A name with an escape in it is rare; it is written with its escapes.
            out.put_slice(serde_json::Value::from(name).to_string().as_bytes());
            out.put_u8(b':');
            out.put_slice(value.as_bytes());
        };
        for (name, value) in &self.fields {
            let changed = changes.iter().find(|(change, _)| change == name).map(|(_, value)| value.as_str());
            put(name, if name == "model" { &model } else { changed.unwrap_or(value.get()) });
        }
        for (name, value) in changes {
            if !self.fields.iter().any(|(field, _)| field == name) {
                put(name, value);
            }
        }
        out.put_u8(b'}');
        out.freeze()
    }
}

/// The fields of an object in their order, unread.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(serde::Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.len() == 256 {
                        return Err(serde::de::Error::custom("more than 256 fields"));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_money_does_not_need_passes_byte_for_byte() {
        let body = Bytes::from_static(
            br#"{ "model":"m", "messages":[{"role":"user","content":"h\u00e9 \ud83d\ude00 1.0"}],"new_field":{"a":[1.50,null]}, "max_tokens":null,"n":2}"#,
        );
        let call = CallBody::read(&body).unwrap();
        assert_eq!((call.outline.max_output_tokens, call.outline.choices, call.outline.streams), (None, 2, false));
        let written = call.write("up/stream", &[("max_tokens", "7".to_owned()), ("x", "{}".to_owned())]);
        assert_eq!(
            written,
            r#"{"model":"up/stream","messages":[{"role":"user","content":"h\u00e9 \ud83d\ude00 1.0"}],"new_field":{"a":[1.50,null]},"max_tokens":7,"n":2,"x":{}}"#
        );
    }

    #[test]
    fn a_clients_stream_options_are_kept_and_usage_is_asked_for() {
        let body = Bytes::from_static(br#"{"model":"m","stream":true,"stream_options":{"include_usage":false,"x":1}}"#);
        let options = CallBody::read(&body).unwrap().stream_options_with_usage();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&options).unwrap(),
            serde_json::json!({"include_usage":true,"x":1})
        );
    }

    #[test]
    fn a_picture_counts_as_a_picture_and_its_data_not_as_text() {
        let image = |data: &str| {
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{data}"}}}}]}}]}}"#
            )
        };
        let (small, large) = (Bytes::from(image("")), Bytes::from(image(&"A".repeat(300_000))));
        let (small, call) = (CallBody::read(&small).unwrap(), CallBody::read(&large).unwrap());
        assert_eq!(call.outline.media, Media { images: 1, has_file: false });
        assert_eq!(call.outline.input_bytes, small.outline.input_bytes);
        assert_eq!(call.write("m", &[]).len(), large.len(), "it is sent all the same");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            ("{\"model\":\"m\"", "body"),
            ("{}", "model"),
            (r#"{"model":7}"#, "model"),
            (r#"{"model":"cheap","model":"dear"}"#, "model"),
            (r#"{"model":"m","max_tokens":-1}"#, "max_tokens"),
            (r#"{"model":"m","max_tokens":1.5}"#, "max_tokens"),
            (r#"{"model":"m","stream":"yes"}"#, "stream"),
            (r#"{"model":"m","service_tier":"priority"}"#, "service_tier"),
            (r#"{"model":"m","web_search_options":{}}"#, "web_search_options"),
            (r#"{"model":"m","tools":[{"type":"web_search_20250305","name":"web_search"}]}"#, "tools"),
        ] {
            let bytes = Bytes::from(body);
            let denial = CallBody::read(&bytes).unwrap_err();
            assert!(matches!(&denial, Denial::Invalid { field: named, .. } if named == field), "{body}: {denial:?}");
        }
    }
}

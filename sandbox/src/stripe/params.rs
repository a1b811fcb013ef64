//! Owns: Stripe's form encoding, `line_items[0][price_data][currency]=usd`, as a tree.

use super::error::ApiError;
use std::collections::BTreeMap;

/// One parameter: a text, or named parts (a list has numbers for names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    Text(String),
    Parts(BTreeMap<String, Param>),
}

/// The parameters of one request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Params(BTreeMap<String, Param>);

impl Params {
    /// Reads a query or a form body; what cannot be placed in the tree is left out.
    pub fn parse(form: &str) -> Params {
        let mut root = BTreeMap::new();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name);
            let (first, rest) = name.split_once('[').unwrap_or((&name, ""));
            let path: Vec<&str> = std::iter::once(first)
                .chain(rest.split('[').filter(|_| !rest.is_empty()).map(|part| part.trim_end_matches(']')))
                .collect();
            insert(&mut root, &path, decode(value));
        }
        Params(root)
    }

    /// The parameter at a path, such as `["payment_intent_data", "metadata"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Param> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |param, name| match param {
            Param::Text(_) => None,
            Param::Parts(parts) => parts.get(*name),
        })
    }

    /// A text; an empty one counts as not given.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        match self.at(path)? {
            Param::Text(text) if text.is_empty() => None,
            Param::Text(text) => Some(text),
            Param::Parts(_) => None,
        }
    }

    pub fn owned(&self, path: &[&str]) -> Option<String> {
        self.text(path).map(str::to_owned)
    }

    pub fn required(&self, path: &[&str]) -> Result<&str, ApiError> {
        self.text(path).ok_or_else(|| ApiError::missing(&spelled(path)))
    }

    pub fn integer(&self, path: &[&str]) -> Result<Option<i64>, ApiError> {
        self.text(path)
            .map(|text| {
                text.parse().map_err(|_| ApiError::invalid(&spelled(path), &format!("Invalid integer: {text}")))
            })
            .transpose()
    }

    pub fn boolean(&self, path: &[&str]) -> Result<Option<bool>, ApiError> {
        match self.text(path) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(&spelled(path), &format!("Invalid boolean: {other}"))),
        }
    }

    /// The elements of a list, in order.
    pub fn list(&self, path: &[&str]) -> Vec<Params> {
        let Some(Param::Parts(parts)) = self.at(path) else { return Vec::new() };
        let mut elements: Vec<(usize, &Param)> =
            parts.iter().filter_map(|(name, part)| Some((name.parse().ok()?, part))).collect();
        elements.sort_by_key(|(position, _)| *position);
        elements
            .into_iter()
            .map(|(_, part)| match part {
                Param::Text(text) => Params(BTreeMap::from([("".to_owned(), Param::Text(text.clone()))])),
                Param::Parts(parts) => Params(parts.clone()),
            })
            .collect()
    }

    /// The texts of a list, such as `expand[]=customer`.
    pub fn texts(&self, path: &[&str]) -> Vec<String> {
        self.list(path).iter().filter_map(|element| element.owned(&[""])).collect()
    }

    /// Metadata: at most 50 names of 40 characters with texts of 500.
    pub fn metadata(&self, path: &[&str]) -> Result<BTreeMap<String, String>, ApiError> {
        let Some(Param::Parts(parts)) = self.at(path) else { return Ok(BTreeMap::new()) };
        let name = spelled(path);
        if parts.len() > 50 {
            return Err(ApiError::invalid(&name, "Metadata can have at most 50 keys."));
        }
        let mut metadata = BTreeMap::new();
        for (key, value) in parts {
            let Param::Text(text) = value else {
                return Err(ApiError::invalid(&name, &format!("Metadata value for {key} must be a string.")));
            };
            if key.chars().count() > 40 || text.chars().count() > 500 {
                let message =
                    format!("Metadata key or value too long: {key}. Keys have at most 40 characters, values 500.");
                return Err(ApiError::invalid(&name, &message));
            }
            metadata.insert(key.clone(), text.clone());
        }
        Ok(metadata)
    }

    /// Refuses a parameter that the endpoint does not have.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| name.as_str() != "expand" && !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::unknown_parameter(name)),
            None => Ok(()),
        }
    }
}

fn spelled(path: &[&str]) -> String {
    let mut name = String::new();
    for (position, part) in path.iter().enumerate() {
        if position == 0 {
            name.push_str(part);
        } else {
            name.push('[');
            name.push_str(part);
            name.push(']');
        }
    }
    name
}

fn insert(parts: &mut BTreeMap<String, Param>, path: &[&str], value: String) {
    let Some((first, rest)) = path.split_first() else { return };
    let name = if first.is_empty() { parts.len().to_string() } else { (*first).to_owned() };
    if rest.is_empty() {
        parts.insert(name, Param::Text(value));
        return;
    }
    let below = parts.entry(name).or_insert_with(|| Param::Parts(BTreeMap::new()));
    if let Param::Parts(below) = below {
        insert(below, rest, value);
    }
}

/// Undoes percent-encoding and `+`; bytes that are no UTF-8 become the replacement character.
pub fn decode(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()) {
                Some(digits) if u8::from_str_radix(digits, 16).is_ok() => {
                    bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'%'));
                    rest = after.get(2..).unwrap_or_default();
                }
                Some(_) | None => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_brackets_become_a_tree() {
        let params = Params::parse(
            "mode=payment&line_items[0][price_data][unit_amount]=1150&line_items%5B0%5D%5Bquantity%5D=1\
             &expand[]=payment_intent&expand[]=customer&metadata[note]=a+b%20%E2%82%AC&empty=",
        );
        assert_eq!(params.text(&["mode"]), Some("payment"));
        let items = params.list(&["line_items"]);
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].integer(&["price_data", "unit_amount"]).unwrap(), Some(1150));
        assert_eq!(items[0].integer(&["quantity"]).unwrap(), Some(1));
        assert_eq!(params.texts(&["expand"]), ["payment_intent", "customer"]);
        assert_eq!(params.metadata(&["metadata"]).unwrap()["note"], "a b €");
        assert_eq!(params.text(&["empty"]), None);
        assert!(params.only(&["mode", "line_items", "metadata"]).is_err());
    }
}

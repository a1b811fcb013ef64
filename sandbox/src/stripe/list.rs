//! Owns: Stripe's lists: newest first, with filters, `limit`, `starting_after` and `ending_before`.

use super::error::ApiError;
use super::params::Params;
use super::store::{Object, Table};
use crate::world::Parts;
use serde_json::{Value, json};

/// A page of the objects that `matches` picks.
pub fn page<T: Object>(
    table: &Table<T>,
    world: &Parts,
    url: &str,
    params: &Params,
    matches: impl Fn(&T) -> bool,
) -> Result<Value, ApiError> {
    let limit = params.integer(&["limit"])?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::invalid("limit", "Limit must be between 1 and 100."));
    }
    let limit = usize::try_from(limit).unwrap_or(10);
    let created = |bound: &'static str| params.integer(&["created", bound]);
    let (gte, gt, lte, lt) = (created("gte")?, created("gt")?, created("lte")?, created("lt")?);
    let in_time = |at: i64| {
        gte.is_none_or(|bound| at >= bound)
            && gt.is_none_or(|bound| at > bound)
            && lte.is_none_or(|bound| at <= bound)
            && lt.is_none_or(|bound| at < bound)
    };
    let all: Vec<&T> = table.iter().rev().filter(|object| in_time(object.created()) && matches(object)).collect();
    let place = |cursor: &str| all.iter().position(|object| object.id() == cursor);
    let (rows, has_more) = match (params.text(&["starting_after"]), params.text(&["ending_before"])) {
        (_, Some(cursor)) => {
            let end = place(cursor).ok_or_else(|| ApiError::no_such_param("object", "ending_before", cursor))?;
            let start = end.saturating_sub(limit);
            (all.get(start..end), start > 0)
        }
        (Some(cursor), None) => {
            let start = place(cursor).ok_or_else(|| ApiError::no_such_param("object", "starting_after", cursor))? + 1;
            (all.get(start..all.len().min(start + limit)), all.len() > start + limit)
        }
        (None, None) => (all.get(..all.len().min(limit)), all.len() > limit),
    };
    let data: Vec<Value> = rows.unwrap_or_default().iter().map(|object| object.json(world)).collect();
    Ok(json!({"object": "list", "data": data, "has_more": has_more, "url": url}))
}

//! How the page's forms are answered: `do` says which one was sent.

use super::policy;
use crate::post::Post;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::{ModelId, ProviderKeyId};
use domain::time::Timestamp;
use server::error::Result;
use server::provider_key::{self, Change, KeySummary, NewKey};

/// `POST /keys`.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    post.answer(outcome).await
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let id = ProviderKeyId::new(post.text("key_id"));
    let new = |replaces| -> Result<NewKey<'_>> {
        let unknown = |_| Denial::invalid("provider", "is not one we know", "Choose one from the list.");
        let provider = post.text("provider").parse().map_err(unknown)?;
        Ok(NewKey { provider, secret: post.text("secret"), url: post.text("url"), label: post.text("label"), replaces })
    };
    let done = match post.text("do") {
        "save" => provider_key::save(server, user, new(None)?).await.map(|_| "saved"),
        "replace" => provider_key::save(server, user, new(Some(&id))?).await.map(|_| "replaced"),
        "change" => {
            let change = Change {
                label: post.text("label"),
                allowed_models: post.texts("model").map(ModelId::new).collect(),
                is_enabled: post.text("enabled") == "yes",
                is_first: false,
                expires_at: end_of(post.text("expires"))?,
            };
            provider_key::change(server, user, &id, change).await.map(|()| "changed")
        }
        "move" => {
            let keys = provider_key::list(server, &user.account_id).await?;
            provider_key::reorder(server, user, &moved(&keys, &id, post.text("to"))).await.map(|()| "moved")
        }
        "policy" => policy::save(post).await.map(|()| "policy"),
        "delete" => provider_key::delete(server, user, &id).await.map(|()| "deleted"),
        other => return Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }?;
    Ok(format!("/keys?done={done}"))
}

/// The end of the day that a date field names, in UTC.
fn end_of(date: &str) -> Result<Option<Timestamp>> {
    if date.is_empty() {
        return Ok(None);
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(date, &format)
        .map_err(|_| Denial::invalid("expires", "is no date", "Write it as 2027-12-31, or leave it empty."))?;
    let midnight = date.midnight().assume_utc().unix_timestamp();
    Ok(Some(Timestamp::from_seconds(midnight).plus_seconds(86_400)))
}

/// The order of the keys after one of them was moved past its neighbour of the same provider.
fn moved(keys: &[KeySummary], id: &ProviderKeyId, to: &str) -> Vec<ProviderKeyId> {
    let mut order: Vec<ProviderKeyId> = keys.iter().map(|key| key.id.clone()).collect();
    let Some(at) = keys.iter().position(|key| key.id == *id) else { return order };
    let of_same = |other: &usize| keys[*other].provider == keys[at].provider;
    let neighbour = if to == "up" { (0..at).rev().find(of_same) } else { (at + 1..keys.len()).find(of_same) };
    if let Some(neighbour) = neighbour {
        order.swap(at, neighbour);
    }
    order
}

//! How the page's forms are answered: `do` says which one was sent.

use super::policy;
use crate::post::Post;
use axum::response::Response;
use domain::denial::Denial;
use domain::id::{AgentId, ModelId, ProviderKeyId};
use domain::key;
use domain::provider::Provider;
use domain::time::Timestamp;
use server::error::Result;
use server::provider_key::{self, Change, KeySummary, NewKey};

/// `POST /keys`.
pub async fn submit(post: Post) -> Response {
    let outcome = change(&post).await;
    // A key of another provider than was chosen is offered to that one; the page learns which, and not the key.
    let other = key::recognise(key::tidy(post.text("secret"))).filter(|other| Some(*other) != chosen(&post));
    let post = match (post.text("do"), other) {
        ("save", Some(other)) => post.also("looks_like", other.as_str()),
        _ => post,
    };
    post.answer(outcome).await
}

/// The provider that a key is for: the one that was offered after a refusal, or the one of the list.
fn chosen(post: &Post) -> Option<Provider> {
    let offered = post.text("move_to");
    if offered.is_empty() { post.text("provider") } else { offered }.parse().ok()
}

async fn change(post: &Post) -> Result<String> {
    let (server, user) = (&post.server, post.user()?);
    let id = ProviderKeyId::new(post.text("key_id"));
    let new = |replaces| -> Result<NewKey<'_>> {
        let unknown = || Denial::invalid("provider", "is not one we know", "Choose one from the list.");
        let provider = chosen(post).ok_or_else(unknown)?;
        Ok(NewKey { provider, secret: post.text("secret"), url: post.text("url"), label: post.text("label"), replaces })
    };
    let done = match post.text("do") {
        "save" => {
            let key = provider_key::save(server, user, new(None)?).await?;
            return Ok(format!("/keys?done=saved&key={}", key.id));
        }
        "connect" => return provider_key::begin_connection(server, user, &post.session).await,
        "replace" => provider_key::save(server, user, new(Some(&id))?).await.map(|_| "replaced"),
        "change" => {
            let change = Change {
                label: post.text("label"),
                allowed_models: post.texts("model").map(ModelId::new).collect(),
                allowed_agents: post.texts("agent").map(AgentId::new).collect(),
                is_enabled: post.text("enabled") == "yes",
                is_first: false,
                expires_at: end_of(post.text("expires"))?,
            };
            provider_key::change(server, user, &id, change).await.map(|()| "changed")
        }
        "move" => {
            let keys = provider_key::list(server, &user.account_id).await?;
            let to = match (post.text("at").parse(), post.text("to")) {
                (Ok(at), _) => Move::To(at),
                (Err(_), "up") => Move::Earlier,
                (Err(_), _) => Move::Later,
            };
            provider_key::reorder(server, user, &moved(&keys, &id, to)).await.map(|()| "moved")
        }
        "policy" => return policy::save(post).await,
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

/// Where a key is to go among those of its provider.
enum Move {
    Earlier,
    Later,
    /// To this place, counted from 0.
    To(usize),
}

/// The order of all keys after one of them was moved among those of its provider.
fn moved(keys: &[KeySummary], id: &ProviderKeyId, to: Move) -> Vec<ProviderKeyId> {
    let mut order: Vec<ProviderKeyId> = keys.iter().map(|key| key.id.clone()).collect();
    let Some(moving) = keys.iter().find(|key| key.id == *id) else { return order };
    let places: Vec<usize> = (0..keys.len()).filter(|at| keys[*at].provider == moving.provider).collect();
    let mut theirs: Vec<ProviderKeyId> = places.iter().map(|at| keys[*at].id.clone()).collect();
    let Some(from) = theirs.iter().position(|other| other == id) else { return order };
    let to = match to {
        Move::Earlier => from.saturating_sub(1),
        Move::Later => from + 1,
        Move::To(at) => at,
    };
    let key = theirs.remove(from);
    theirs.insert(to.min(theirs.len()), key);
    for (place, key) in places.into_iter().zip(theirs) {
        order[place] = key;
    }
    order
}

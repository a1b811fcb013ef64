//! Which of their accounts a user looks at, and opening another.

use crate::post::Post;
use crate::ui::layout::is_entry;
use axum::response::Response;
use domain::id::AccountId;
use server::error::Result;
use server::{member, session};

/// `POST /accounts/switch`: looks at another account, on the same page where that exists in every account.
pub async fn switch(post: Post) -> Response {
    let outcome = choose(&post).await;
    post.answer(outcome).await
}

async fn choose(post: &Post) -> Result<String> {
    let user = post.user()?;
    let account_id = AccountId::new(post.text("account_id"));
    member::choose_account(&post.server, user, &account_id).await?;
    session::choose_account(&post.session, &account_id).await?;
    let next = post.local_path("next", "/overview");
    Ok(if is_entry(&next) { next } else { "/overview".to_owned() })
}

//! The skills, and the form that runs one.

use crate::post::Post;
use crate::ui::layout::{Section, console};
use crate::visitor::signed_in;
use axum::response::Response;
use leptos::prelude::*;

#[component]
pub fn TasksPage() -> impl IntoView {
    console(Section::Tasks, "Tasks", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Tasks"</h1> })
    })
}

#[component]
pub fn TaskPage() -> impl IntoView {
    console(Section::Tasks, "Task", async {
        let (_server, _user) = signed_in()?;
        Ok(view! { <h1 class="page-title">"Task"</h1> })
    })
}

/// `POST /tasks/{skill}`: starts the run.
pub async fn submit(post: Post) -> Response {
    post.answer(Ok("/tasks".to_owned())).await
}

//! The second factor: turning it on with an authenticator app, its recovery codes, turning it off, and the second step of
//! signing in.

use crate::page::sign_in;
use crate::post::{Post, Refused};
use crate::ui::form::{Field, Submit};
use crate::ui::layout::{Section, console, form_page};
use crate::ui::notice::{Notice, Tone};
use crate::visitor::signed_in;
use axum::response::Response;
use domain::denial::Denial;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use secrecy::SecretString;
use server::account::{self, SecondFactor, User, load_second_factor};
use server::error::Result;
use server::session;

/// The field that carries a new recovery code to the page that shows it.
const SHOWN: &str = "shown_code";

/// `GET /settings/second-factor`, and the same page again with the recovery codes, once.
#[component]
pub fn SecondFactorPage() -> impl IntoView {
    let refused = Refused::current();
    console(Section::Settings, "Second factor", async move {
        let (server, user) = signed_in()?;
        let codes = refused.all_typed(SHOWN);
        let part = match load_second_factor(&server, &user.user_id).await? {
            SecondFactor::Off => off(&refused).into_any(),
            SecondFactor::Waiting { key } => waiting(&key, &user, &refused).into_any(),
            SecondFactor::On { recovery_codes_left } => on(recovery_codes_left, &refused).into_any(),
        };
        Ok(view! {
            <div class="grid max-w-2xl grid-cols-1 gap-8">
                <div class="grid gap-1">
                    <p class="text-13">
                        <a href="/settings">"Settings"</a>
                    </p>
                    <h1 class="page-title">"Second factor"</h1>
                    <p class="lede">"Signing in then asks for a code of an app on your phone, beside your password."</p>
                </div>
                {refused.notice(&["code", "current_password"])}
                {(!codes.is_empty()).then(|| new_codes(codes))}
                {part}
            </div>
        })
    })
}

fn off(refused: &Refused) -> impl IntoView + use<> {
    view! {
        <form class="card grid gap-4" method="post" action="/settings/second-factor">
            <input type="hidden" name="do" value="begin" />
            <p>"It is off. You need an authenticator app, such as the one your phone brings with it."</p>
            <Field
                label="Your password"
                name="current_password"
                kind="password"
                problem=refused.problem("current_password")
                autocomplete="current-password"
            />
            <div>
                <Submit label="Set it up" />
            </div>
        </form>
    }
}

fn waiting(key: &str, user: &User, refused: &Refused) -> impl IntoView + use<> {
    let letters: Vec<char> = key.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let link = format!("otpauth://totp/Tokenbank:{}?secret={key}&issuer=Tokenbank", user.email.replace('+', "%2B"));
    view! {
        <section class="card grid grid-cols-1 gap-4" aria-labelledby="key">
            <h2 class="section-title" id="key">
                "1. Give the key to your app"
            </h2>
            <p>
                "On this phone: " <a href=link>"open it in the app"</a>
                ". Elsewhere, choose \"enter a key\" in the app and type it; it is time-based, with 6 digits."
            </p>
            <p>
                <code class="text-16">{groups.join(" ")}</code>
            </p>
        </section>
        <form class="card grid gap-4" method="post" action="/settings/second-factor">
            <h2 class="section-title">"2. Type the code that it shows"</h2>
            <input type="hidden" name="do" value="confirm" />
            <Field label="Code" name="code" problem=refused.problem("code") autocomplete="one-time-code" />
            <div>
                <Submit label="Turn it on" />
            </div>
        </form>
    }
}

fn new_codes(codes: Vec<String>) -> impl IntoView {
    let rows = codes.into_iter().map(|code| view! { <li><code class="text-16">{code}</code></li> }).collect_view();
    view! {
        <Notice tone=Tone::Caution title="Keep these recovery codes now: they are not shown again">
            <p>"Each signs you in once when you do not have the app. Print them, or keep them where your passwords are."</p>
            <ul class="grid gap-1 pt-2 sm:grid-cols-2" aria-label="Recovery codes">
                {rows}
            </ul>
        </Notice>
    }
}

fn on(recovery_codes_left: i64, refused: &Refused) -> impl IntoView + use<> {
    let (renew, end) = (refused.of("renew"), refused.of("end"));
    let left = if recovery_codes_left == 1 {
        "1 recovery code is left.".to_owned()
    } else {
        format!("{recovery_codes_left} recovery codes are left.")
    };
    view! {
        <p>
            <span class="state state-positive">"It is on"</span>
            ". "
            {left}
        </p>
        <details open=renew.denial().is_some()>
            <summary class="font-medium">"Make new recovery codes"</summary>
            <form class="grid max-w-md gap-4 pt-4" method="post" action="/settings/second-factor">
                <input type="hidden" name="do" value="renew" />
                <Field
                    label="Code of the app"
                    id="renew-code"
                    name="code"
                    hint="The codes you have now stop working."
                    problem=renew.problem("code")
                    autocomplete="one-time-code"
                />
                <div>
                    <Submit label="Make new codes" />
                </div>
            </form>
        </details>
        <details open=end.denial().is_some()>
            <summary class="font-medium">"Turn it off"</summary>
            <form class="grid max-w-md gap-4 pt-4" method="post" action="/settings/second-factor">
                <input type="hidden" name="do" value="end" />
                <Field
                    label="Your password"
                    name="current_password"
                    kind="password"
                    problem=end.problem("current_password")
                    autocomplete="current-password"
                />
                <Field
                    label="Code of the app, or a recovery code"
                    id="end-code"
                    name="code"
                    problem=end.problem("code")
                    autocomplete="one-time-code"
                />
                <div>
                    <button class="button button-danger">"Turn it off"</button>
                </div>
            </form>
        </details>
    }
}

/// `POST /settings/second-factor`: `do` says which of the page's forms was sent. Recovery codes are in the answer itself, for
/// nothing keeps them.
pub async fn submit(post: Post) -> Response {
    match change(&post).await {
        Ok(codes) if codes.is_empty() => post.answer(Ok("/settings/second-factor".to_owned())).await,
        Ok(codes) => post.again_with(codes.into_iter().map(|code| (SHOWN.to_owned(), code)).collect()).await,
        Err(error) => post.answer(Err(error)).await,
    }
}

async fn change(post: &Post) -> Result<Vec<String>> {
    let (server, user, code) = (&post.server, post.user()?, post.text("code"));
    let password = SecretString::from(post.text("current_password"));
    match post.text("do") {
        "begin" => {
            account::begin_second_factor(server, user, &password, post.ip()?).await?;
            Ok(Vec::new())
        }
        "confirm" => account::confirm_second_factor(server, user, code).await,
        "renew" => account::renew_recovery_codes(server, user, code).await,
        "end" => {
            account::end_second_factor(server, user, (&password, code), post.ip()?).await?;
            Ok(Vec::new())
        }
        other => Err(Denial::invalid("do", format!("`{other}` is no form of this page"), "Reload it.").into()),
    }
}

/// `GET /sign-in/code`: the second step of signing in.
#[component]
pub fn SignInCodePage() -> impl IntoView {
    let refused = Refused::current();
    let next = refused.typed("next").or_else(|| use_query_map().get_untracked().get("next")).unwrap_or_default();
    form_page(
        "Second step",
        view! {
            <div class="grid gap-2">
                <h1 class="page-title">"Second step"</h1>
                <p class="lede">"Your password is right. Now the code that your authenticator app shows."</p>
            </div>
            {refused.notice(&["code"])}
            <form class="grid gap-5" method="post" action="/sign-in/code">
                <input type="hidden" name="next" value=next />
                <Field
                    label="Code"
                    name="code"
                    hint="Without the app, type one of your recovery codes."
                    problem=refused.problem("code")
                    autocomplete="one-time-code"
                />
                <Submit label="Sign in" wide=true />
            </form>
            <p class="lede text-14">
                <a href="/sign-in">"Begin again"</a>
            </p>
        },
    )
}

/// `POST /sign-in/code`: starts the session of somebody whose password was right a moment ago.
pub async fn submit_code(post: Post) -> Response {
    let outcome = async {
        let awaited = session::load_awaited(&post.server, &post.session).await?;
        let user_id = awaited.ok_or(Denial::NotSignedIn)?;
        let user = account::sign_in_second(&post.server, &user_id, post.text("code")).await?;
        sign_in::start(&post, &user).await?;
        Ok(post.local_path("next", "/overview"))
    }
    .await;
    post.answer(outcome).await
}

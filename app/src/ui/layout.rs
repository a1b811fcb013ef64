//! Owns: the two frames around every page: the console, and the public pages.

use crate::error;
use crate::theme::Theme;
use crate::ui::icon::{Glyph, Icon};
use crate::ui::live_balance::LiveBalance;
use crate::ui::plan::past_due_banner;
use crate::ui::press_once::PressOnce;
use crate::visitor::{self, Visitor};
use leptos::prelude::*;
use leptos_meta::{Meta, Title};
use server::account::User;
use server::error::Result;

/// The parts of the console, in the order of the rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Tasks,
    Agents,
    Usage,
    Credits,
    Plan,
    Keys,
    Team,
    Settings,
    /// At the top, beside the balance; not in the rail, which is full on a phone.
    Alerts,
}

impl Section {
    const ALL: [Section; 9] = [
        Section::Overview,
        Section::Tasks,
        Section::Agents,
        Section::Usage,
        Section::Credits,
        Section::Plan,
        Section::Keys,
        Section::Team,
        Section::Settings,
    ];

    const fn entry(self) -> (&'static str, &'static str, Glyph) {
        match self {
            Section::Overview => ("Overview", "/overview", Glyph::Overview),
            Section::Tasks => ("Tasks", "/tasks", Glyph::Tasks),
            Section::Agents => ("Agents", "/agents", Glyph::Agent),
            Section::Usage => ("Usage", "/usage", Glyph::Usage),
            Section::Credits => ("Credits", "/credits", Glyph::Credits),
            Section::Plan => ("Plan", "/plan", Glyph::Plan),
            Section::Keys => ("Keys", "/keys", Glyph::Key),
            Section::Team => ("Team", "/team", Glyph::Team),
            Section::Settings => ("Settings", "/settings", Glyph::Settings),
            Section::Alerts => ("Alerts", "/alerts", Glyph::Bell),
        }
    }
}

/// Whether an address is one of the rail's, which every account has.
pub fn is_entry(address: &str) -> bool {
    Section::ALL.into_iter().any(|section| section.entry().1 == address)
}

/// A page of the console. `content` reads what it shows and may end in a denial or a failure, which then stands in
/// its place with the right status.
pub fn console<V>(
    section: Section,
    title: &'static str,
    content: impl Future<Output = Result<V>> + Send + 'static,
) -> AnyView
where
    V: IntoView + 'static,
{
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    let server = visitor.server.clone();
    let content = Suspend::new(async move {
        match content.await {
            Ok(view) => view.into_any(),
            Err(cause) => error::in_place_of_page(&server, cause),
        }
    })
    .into_any();
    let user = visitor.user.clone();
    view! {
        <Title text=format!("{title} · Tokenbank") />
        <a class="skip-link" href="#content">
            "Skip to the content"
        </a>
        <div class="console">
            <div class="banners">{demo_banner(&visitor)} {payment_banner(&visitor)}</div>
            <nav class="rail" aria-label="Console">
                <a class="rail-mark" href="/overview" aria-label="Tokenbank, overview">
                    <Mark />
                </a>
                <ul class="rail-list">
                    {Section::ALL.into_iter().map(|entry| rail_link(entry, section, &visitor)).collect_view()}
                </ul>
            </nav>
            <header class="console-bar">
                <a class="bar-mark" href="/overview" aria-label="Tokenbank, overview">
                    <Mark />
                </a>
                {visitor
                    .spendable
                    .map(|spendable| {
                        view! {
                            <a class="button button-quiet" href="/credits">
                                <span class="text-ink-muted max-sm:sr-only">"Spendable"</span>
                                <LiveBalance spendable=spendable />
                            </a>
                        }
                    })} {visitor.user.is_some().then(|| alerts_link(section, visitor.unread))}
                {user.as_ref().map(|user| account_menu(user, &visitor))} {theme_menu(&visitor)}
                {user.map(|user| user_menu(&user))}
            </header>
            <main class="console-main" id="content" tabindex="-1">
                {content}
            </main>
            <PressOnce />
        </div>
    }
    .into_any()
}

/// What a page is about, for search engines and previews of links, where it has no words of its own for that.
const ABOUT: &str =
    "Tokenbank: plans, prepaid credit and your own provider keys for AI agents. Every run shows its price first.";

/// A public page: a thin header, generous width.
pub fn public(title: &'static str, content: impl IntoView + 'static) -> AnyView {
    public_about(title, ABOUT, content)
}

/// A public page that says in a sentence of its own what it is about.
pub fn public_about(title: &'static str, about: &'static str, content: impl IntoView + 'static) -> AnyView {
    let Ok(visitor) = visitor::current() else { return ().into_any() };
    // Types are erased part by part, or the compiler would carry the type of the whole page around.
    let content = content.into_any();
    let is_signed_in = visitor.user.is_some();
    view! {
        <Title text=format!("{title} · Tokenbank") />
        <Meta name="description" content=about />
        <a class="skip-link" href="#content">
            "Skip to the content"
        </a>
        <div class="public">
            {demo_banner(&visitor)} <header class="public-bar">
                <a class="mr-auto" href="/" aria-label="Tokenbank, start page">
                    <Mark />
                </a>
                <nav class="max-sm:hidden" aria-label="Site">
                    <a class="button button-quiet" href="/pricing">
                        "Pricing"
                    </a>
                </nav>
                {theme_menu(&visitor)}
                <nav class="flex gap-2" aria-label="Account">
                    {if is_signed_in {
                        view! {
                            <a class="button" href="/overview">
                                "Open the console"
                            </a>
                        }
                            .into_any()
                    } else {
                        view! {
                            <a class="button button-quiet" href="/sign-in">
                                "Sign in"
                            </a>
                            <a class="button" href="/sign-up">
                                "Sign up"
                            </a>
                        }
                            .into_any()
                    }}
                </nav>
            </header>
            <main class="public-main" id="content" tabindex="-1">
                {content}
            </main>
            <footer class="public-foot flex flex-wrap justify-between gap-x-8 gap-y-2">
                <p>"Tokenbank is open source under the MIT licence. Prices are in US dollars."</p>
                <nav class="flex gap-5" aria-label="More">
                    <a href="/pricing">"Pricing"</a>
                    <a href="/pricing/calculator">"Calculator"</a>
                    <a href="/terms">"Terms"</a>
                </nav>
            </footer>
        </div>
    }
    .into_any()
}

/// A narrow public page with one form.
pub fn form_page(title: &'static str, content: impl IntoView + 'static) -> AnyView {
    let content = content.into_any();
    public(title, view! { <div class="mx-auto grid w-full max-w-md gap-6 pt-6 sm:pt-12">{content}</div> })
}

/// The name, with its mark.
#[component]
fn Mark() -> impl IntoView {
    view! {
        <span class="flex items-center gap-2 text-16 font-semibold tracking-tight text-ink">
            <svg class="size-6" viewBox="0 0 32 32" aria-hidden="true">
                <rect width="32" height="32" rx="7" fill="var(--color-accent)"></rect>
                <path d="M8 9h16v3.6h-6.1V23.5h-3.8V12.6H8z" fill="var(--color-on-accent)"></path>
            </svg>
            // On the smallest screens the sign alone has room.
            <span class="max-[22.5rem]:sr-only">"Tokenbank"</span>
        </span>
    }
}

fn rail_link(entry: Section, section: Section, visitor: &Visitor) -> AnyView {
    let (label, href, glyph) = entry.entry();
    let current = (entry == section).then_some(if visitor.path() == href { "page" } else { "true" });
    view! {
        <li>
            <a class="rail-link" href=href aria-current=current>
                <Icon glyph=glyph />
                {label}
            </a>
        </li>
    }
    .into_any()
}

/// The way to what the account was told, with a mark while something is unread.
fn alerts_link(section: Section, unread: u64) -> AnyView {
    let label = match unread {
        0 => "Alerts".to_owned(),
        100.. => "Alerts, 100 or more new".to_owned(),
        many => format!("Alerts, {many} new"),
    };
    let shown = if unread >= 100 { "99+".to_owned() } else { unread.to_string() };
    let current = (section == Section::Alerts).then_some("true");
    view! {
        <a class="button button-quiet relative px-2" href="/alerts" aria-label=label aria-current=current>
            <Icon glyph=Glyph::Bell />
            {(unread > 0).then(|| view! { <span class="unread" aria-hidden="true">{shown}</span> })}
        </a>
    }
    .into_any()
}

fn demo_banner(visitor: &Visitor) -> AnyView {
    visitor
        .server
        .config
        .demo
        .then(|| {
            view! {
                <aside class="banner" aria-label="Demo">
                    "Demo: no real money, cards or models. Sign in as "
                    <code>"owner@demo.test"</code>
                    " with "
                    <code>"demo-password-1"</code>
                    "."
                </aside>
            }
        })
        .into_any()
}

/// While a payment for the plan is missing, on every page of the console.
fn payment_banner(visitor: &Visitor) -> AnyView {
    let zone = visitor.user.as_ref().map_or("UTC", |user| user.time_zone.as_str());
    past_due_banner(visitor.standing, zone)
}

fn theme_menu(visitor: &Visitor) -> AnyView {
    let chosen = visitor.theme;
    let next = visitor.address.clone();
    let item = move |theme: Theme, label: &'static str, glyph: Glyph| -> AnyView {
        view! {
            <button
                class="menu-item"
                name="theme"
                value=theme.as_str()
                aria-pressed=if theme == chosen { "true" } else { "false" }
            >
                <Icon glyph=glyph />
                {label}
            </button>
        }
        .into_any()
    };
    view! {
        <details class="menu" name="header-menu">
            <summary class="button button-quiet px-2" aria-label="Colours">
                <Icon glyph=match chosen {
                    Theme::System => Glyph::Screen,
                    Theme::Light => Glyph::Sun,
                    Theme::Dark => Glyph::Moon,
                } />
            </summary>
            <form class="menu-panel" method="post" action="/theme">
                <input type="hidden" name="next" value=next />
                {item(Theme::System, "As the system", Glyph::Screen)}
                {item(Theme::Light, "Light", Glyph::Sun)}
                {item(Theme::Dark, "Dark", Glyph::Moon)}
            </form>
        </details>
    }
    .into_any()
}

/// The accounts one belongs to, when there are several.
fn account_menu(user: &User, visitor: &Visitor) -> Option<AnyView> {
    if visitor.accounts.len() < 2 {
        return None;
    }
    let items = visitor
        .accounts
        .iter()
        .map(|account| {
            let is_current = account.account_id == user.account_id;
            view! {
                <button
                    class="menu-item"
                    name="account_id"
                    value=account.account_id.to_string()
                    aria-pressed=if is_current { "true" } else { "false" }
                >
                    <span class="clip max-w-56" title=account.account_name.clone()>
                        {account.account_name.clone()}
                    </span>
                    <span class="ml-auto text-13 text-ink-muted">{account.role.label()}</span>
                </button>
            }
        })
        .collect_view();
    let menu = view! {
        <details class="menu" name="header-menu">
            <summary class="button button-quiet px-2" aria-label=format!("Account: {}", user.account_name)>
                <Icon glyph=Glyph::Accounts />
                <span class="clip max-w-40 max-sm:hidden">{user.account_name.clone()}</span>
            </summary>
            <form class="menu-panel max-h-96 overflow-y-auto" method="post" action="/accounts/switch">
                <input type="hidden" name="next" value=visitor.path().to_owned() />
                {items}
            </form>
        </details>
    };
    Some(menu.into_any())
}

fn user_menu(user: &User) -> AnyView {
    let email = user.email.clone();
    view! {
        <details class="menu" name="header-menu">
            <summary class="button button-quiet px-2" aria-label="Your account">
                <Icon glyph=Glyph::User />
            </summary>
            <div class="menu-panel">
                <p class="px-2.5 pt-1.5 font-medium">
                    <span class="clip max-w-64" title=user.account_name.clone()>
                        {user.account_name.clone()}
                    </span>
                </p>
                <p class="px-2.5 pb-2 text-13 text-ink-muted">
                    <span class="clip max-w-64" title=email.clone()>
                        {email.clone()}
                    </span>
                </p>
                <a class="menu-item" href="/settings">
                    <Icon glyph=Glyph::Settings />
                    "Settings"
                </a>
                <form method="post" action="/sign-out">
                    <button class="menu-item">
                        <Icon glyph=Glyph::SignOut />
                        "Sign out"
                    </button>
                </form>
            </div>
        </details>
    }
    .into_any()
}

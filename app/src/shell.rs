//! Owns: the document around every page, and which address shows which page.

use crate::asset;
use crate::page::agents::AgentsPage;
use crate::page::alerts::{AlertSettingsPage, AlertsPage};
use crate::page::api_keys::ApiKeysPage;
use crate::page::auto_top_up::AutoTopUpPage;
use crate::page::bought::BoughtPage;
use crate::page::calculator::CalculatorPage;
use crate::page::confirm_email::ConfirmEmailPage;
use crate::page::credits::CreditsPage;
use crate::page::delete::{DeleteAccountPage, DeleteUserPage};
use crate::page::execution::ExecutionPage;
use crate::page::explained::ExplainedPage;
use crate::page::given::CodePage;
use crate::page::invitation::InvitationPage;
use crate::page::keys::KeysPage;
use crate::page::landing::LandingPage;
use crate::page::limits::LimitsPage;
use crate::page::not_found::NotFoundPage;
use crate::page::overview::OverviewPage;
use crate::page::plan::PlanPage;
use crate::page::plan_change::PlanChangePage;
use crate::page::pricing::PricingPage;
use crate::page::refund::RefundPage;
use crate::page::reset_password::{NewPasswordPage, ResetPasswordPage};
use crate::page::run::RunPage;
use crate::page::second_factor::{SecondFactorPage, SignInCodePage};
use crate::page::settings::SettingsPage;
use crate::page::sign_in::SignInPage;
use crate::page::sign_up::SignUpPage;
use crate::page::statement::StatementPage;
use crate::page::statement::line::LinePage;
use crate::page::tasks::{TaskPage, TasksPage};
use crate::page::team::TeamPage;
use crate::page::terms::TermsPage;
use crate::page::unsubscribe::UnsubscribePage;
use crate::page::usage::UsagePage;
use crate::page::verify_email::VerifyEmailPage;
use crate::page::webhooks::{WebhookPage, WebhooksPage};
use crate::theme::Theme;
use crate::visitor;
use leptos::config::LeptosOptions;
use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{FlatRoutes, Route, Router};
use leptos_router::path;

/// The addresses that need somebody to be signed in.
const CONSOLE: [&str; 13] = [
    "/agents",
    "/api-keys",
    "/alerts",
    "/overview",
    "/tasks",
    "/runs",
    "/credits",
    "/keys",
    "/limits",
    "/plan",
    "/usage",
    "/team",
    "/settings",
];

/// Whether a path belongs to the console.
pub fn is_console(path: &str) -> bool {
    CONSOLE.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// One whole document; `content` is the page, or what stands in its place.
pub fn document(content: AnyView) -> impl IntoView {
    provide_meta_context();
    let visitor = visitor::current().ok();
    let theme = visitor.as_ref().map_or(Theme::System, |visitor| visitor.theme);
    let has_islands = visitor.as_ref().is_some_and(|visitor| visitor.user.is_some() && is_console(visitor.path()));
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme.attribute()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover" />
                <link rel="stylesheet" href=asset::url("pkg/web.css") />
                <link
                    rel="preload"
                    r#as="font"
                    r#type="font/woff2"
                    href=asset::url("fonts/geist-latin.woff2")
                    crossorigin="anonymous"
                />
                <link rel="icon" r#type="image/svg+xml" href=asset::url("favicon.svg") />
                {(has_islands && asset::has_browser_half())
                    .then(|| {
                        let options = LeptosOptions::builder()
                            .output_name("web")
                            .site_pkg_dir(asset::PACKAGE)
                            .build();
                        view! { <HydrationScripts options=options islands=true root=asset::ROOT.clone() /> }
                    })}
                <MetaTags />
            </head>
            <body>{content}</body>
        </html>
    }
}

/// The page for the address that was asked for.
pub fn routes() -> AnyView {
    view! {
        <Router>
            <FlatRoutes fallback=NotFoundPage>
                <Route path=path!("/") view=LandingPage />
                <Route path=path!("/pricing") view=PricingPage />
                <Route path=path!("/pricing/calculator") view=CalculatorPage />
                <Route path=path!("/terms") view=TermsPage />
                <Route path=path!("/sign-up") view=SignUpPage />
                <Route path=path!("/sign-in") view=SignInPage />
                <Route path=path!("/verify-email") view=VerifyEmailPage />
                <Route path=path!("/reset-password") view=ResetPasswordPage />
                <Route path=path!("/reset-password/new") view=NewPasswordPage />
                <Route path=path!("/invitation") view=InvitationPage />
                <Route path=path!("/confirm-email") view=ConfirmEmailPage />
                <Route path=path!("/overview") view=OverviewPage />
                <Route path=path!("/tasks") view=TasksPage />
                <Route path=path!("/tasks/:skill") view=TaskPage />
                <Route path=path!("/agents") view=AgentsPage />
                <Route path=path!("/api-keys") view=ApiKeysPage />
                <Route path=path!("/runs/:id") view=RunPage />
                <Route path=path!("/credits") view=CreditsPage />
                <Route path=path!("/credits/auto-top-up") view=AutoTopUpPage />
                <Route path=path!("/credits/bought/:purchase") view=BoughtPage />
                <Route path=path!("/credits/code") view=CodePage />
                <Route path=path!("/credits/explained") view=ExplainedPage />
                <Route path=path!("/credits/statement") view=StatementPage />
                <Route path=path!("/credits/statement/line/:posting") view=LinePage />
                <Route path=path!("/credits/refund") view=RefundPage />
                <Route path=path!("/keys") view=KeysPage />
                <Route path=path!("/limits") view=LimitsPage />
                <Route path=path!("/plan") view=PlanPage />
                <Route path=path!("/plan/change/:id") view=PlanChangePage />
                <Route path=path!("/usage") view=UsagePage />
                <Route path=path!("/usage/:execution") view=ExecutionPage />
                <Route path=path!("/team") view=TeamPage />
                <Route path=path!("/settings") view=SettingsPage />
                <Route path=path!("/settings/webhooks") view=WebhooksPage />
                <Route path=path!("/settings/webhooks/:id") view=WebhookPage />
                <Route path=path!("/alerts") view=AlertsPage />
                <Route path=path!("/alerts/settings") view=AlertSettingsPage />
                <Route path=path!("/unsubscribe") view=UnsubscribePage />
                <Route path=path!("/settings/second-factor") view=SecondFactorPage />
                <Route path=path!("/sign-in/code") view=SignInCodePage />
                <Route path=path!("/settings/delete") view=DeleteAccountPage />
                <Route path=path!("/settings/delete-user") view=DeleteUserPage />
            </FlatRoutes>
        </Router>
    }
    .into_any()
}

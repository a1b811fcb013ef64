//! A payment that fails: grace, suspension, 3-D Secure at renewal, and the way back.

use super::{DAY, DECLINES_LATER_CARD, SECURE_CARD, standard};
use crate::shop::{GOOD_CARD, Shop};
use crate::support::each_database;
use domain::denial::Denial;
use domain::subscription::SubscriptionStatus;
use server::stripe::plan::InvoiceStatus;
use server::subscription::{self, Proposal};

#[tokio::test]
async fn a_card_that_fails_at_renewal_leads_through_grace_to_suspension_and_back() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe_as(&shop.buyer, &standard("pro", 1), DECLINES_LATER_CARD).await;
        shop.deliver().await;
        let month = shop.current().await.period.seconds() / DAY;
        shop.let_pass(month + 1).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::PastDue)), "grace");
        let denied = shop.denied(&standard("team", 1)).await;
        assert!(matches!(&denied, Denial::Conflict { problem } if problem.contains("missing")), "{denied:?}");
        let subjects = || -> Vec<String> {
            shop.sandbox.mail_to(&shop.buyer.email).into_iter().map(|mail| mail.subject).collect()
        };
        assert_eq!(subjects(), ["Your Tokenbank plan could not be paid"]);

        shop.let_pass(13).await;
        assert_eq!(shop.current().await.plan.as_str(), "pro", "the last day of grace");
        shop.let_pass(1).await;
        assert_eq!(shop.current().await.plan.as_str(), "free", "suspended");
        shop.let_pass(2).await;
        assert_eq!(shop.current().await.status, Some(SubscriptionStatus::Unpaid));
        assert_eq!(subjects()[1..], ["Your Tokenbank plan is suspended"]);

        // The same card is declined once more; another one pays.
        let pay = async || subscription::pay_open_invoice(&shop.server, &shop.buyer, &shop.new_change()).await;
        assert_eq!(pay().await.unwrap_err().denial().unwrap().code(), "payment_declined");
        shop.sandbox.set_card(&shop.customer(), GOOD_CARD);
        pay().await.unwrap();
        shop.deliver().await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::Active)));
        assert_eq!(subjects()[2..], ["Your Tokenbank plan is paid"]);
        assert_eq!(shop.invoices().await.iter().filter(|invoice| invoice.status == InvoiceStatus::Paid).count(), 2);
        shop.check_books().await;
    })
    .await;
}

/// A bank that asks for 3-D Secure at renewal: the customer pays on Stripe's page of the invoice.
#[tokio::test]
async fn three_d_secure_at_renewal_is_done_on_the_invoices_page() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let (_, proposal) = shop.propose(&standard("pro", 1)).await;
        let Proposal::Checkout { url } = proposal else { panic!() };
        let session = crate::shop::session_of(&url).to_owned();
        shop.sandbox.pay(&session, SECURE_CARD);
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        shop.let_pass(32).await;
        let now = shop.current().await;
        assert_eq!((now.plan.as_str(), now.status), ("pro", Some(SubscriptionStatus::PastDue)));
        assert_eq!(shop.event_state("invoice.payment_action_required").await.as_deref(), Some("applied"));

        let open = shop.invoices().await.into_iter().find(|invoice| invoice.status == InvoiceStatus::Open).unwrap();
        assert_eq!(shop.pay_page(&open.page_url.unwrap(), SECURE_CARD).await.status, 200);
        shop.deliver().await;
        assert_eq!(shop.current().await.status, Some(SubscriptionStatus::Active));
    })
    .await;
}

/// The days of grace stand in the catalogue alone: page, plan and banner follow it.
#[tokio::test]
async fn how_long_an_unpaid_plan_stays_is_what_the_catalogue_says() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        let mut catalogue = (*shop.server.catalogue.load_full()).clone();
        catalogue.grace.past_due_days = 3;
        shop.server.catalogue.store(std::sync::Arc::new(catalogue));
        shop.subscribe_as(&shop.buyer, &standard("pro", 1), DECLINES_LATER_CARD).await;
        shop.deliver().await;
        let month = shop.current().await.period.seconds() / DAY;
        shop.let_pass(month + 3).await;
        let standing = async || subscription::load_standing(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert!(matches!(standing().await, Some(domain::subscription::Standing::Grace { .. })));
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        shop.let_pass(1).await;
        assert_eq!(standing().await, Some(domain::subscription::Standing::Suspended));
        let view = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap();
        assert_eq!(view.live.unwrap().standing, domain::subscription::Standing::Suspended);
        assert_eq!(shop.current().await.plan.as_str(), "free");
    })
    .await;
}

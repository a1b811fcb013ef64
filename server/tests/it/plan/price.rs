//! Prices at Stripe: made once, and shown but not followed where somebody edited them by hand.

use super::standard;
use crate::shop::Shop;
use crate::support::each_database;
use domain::money::Cents;
use server::on_read;
use server::subscription::{self, SyncMode, SyncOutcome};

impl Shop {
    /// How prices at Stripe differ, as it was last seen.
    async fn drifts(&self) -> Vec<String> {
        on_read!(&self.server.db, conn => {
            sqlx::query_scalar("select drift from stripe_price where drift is not null").fetch_all(conn).await
        })
        .unwrap()
    }
}

#[tokio::test]
async fn syncing_twice_makes_nothing_and_a_hand_edited_price_is_shown_not_followed() {
    each_database(async |world| {
        let shop = Shop::open(world).await;
        let outcomes = async |mode| -> Vec<SyncOutcome> {
            let lines = subscription::sync(&shop.server, mode).await.unwrap();
            lines.into_iter().map(|line| line.outcome).collect()
        };
        assert_eq!(outcomes(SyncMode::DryRun).await, vec![SyncOutcome::Made; 4]);
        assert_eq!(shop.denied(&standard("pro", 1)).await.code(), "upstream", "a dry run makes nothing");
        assert_eq!(outcomes(SyncMode::Write).await, vec![SyncOutcome::Made; 4]);
        for mode in [SyncMode::DryRun, SyncMode::Write, SyncMode::Write] {
            assert_eq!(outcomes(mode).await, vec![SyncOutcome::Kept; 4]);
        }
        let prices = shop.call_stripe_get("prices").await;
        assert_eq!(prices["data"].as_array().unwrap().len(), 4, "nothing twice");

        // Somebody makes Pro dearer at Stripe: another price takes its lookup key.
        let key = "tokenbank_pro_standard_900_month";
        let form = format!(
            "currency=usd&unit_amount=9900&product=tokenbank_pro&recurring[interval]=month&lookup_key={key}&transfer_lookup_key=true"
        );
        shop.sandbox.edit("/v1/prices", &form).unwrap();
        let drifted = outcomes(SyncMode::Write).await;
        assert_eq!(drifted.iter().filter(|outcome| matches!(outcome, SyncOutcome::Drift(_))).count(), 1, "{drifted:?}");
        shop.subscribe(&standard("pro", 1)).await;
        assert_eq!(shop.invoices().await[0].paid, Cents(900), "not followed");
        // Whoever runs it sees it without asking for it, until it is mended.
        assert_eq!(subscription::look_for_drift(&shop.server).await.unwrap(), 1);
        assert_eq!(shop.drifts().await.len(), 1);
        let ours = shop.at_stripe()["items"]["data"][0]["price"]["id"].as_str().unwrap().to_owned();
        shop.sandbox.edit(&format!("/v1/prices/{ours}"), &format!("lookup_key={key}&transfer_lookup_key=true")).unwrap();
        assert_eq!(subscription::look_for_drift(&shop.server).await.unwrap(), 0);
        assert_eq!(shop.drifts().await, [""; 0]);
        shop.check_books().await;
    })
    .await;
}

/// Somebody gives a subscription a price by hand that is in no catalogue: the plan stays, and the page says so.
#[tokio::test]
async fn a_subscription_whose_price_was_swapped_by_hand_keeps_its_plan_and_shows_it() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let form = "currency=usd&unit_amount=100&product=tokenbank_pro&recurring[interval]=month";
        let price = shop.sandbox.edit("/v1/prices", form).unwrap();
        let (sub, item) = (shop.at_stripe(), shop.at_stripe()["items"]["data"][0]["id"].clone());
        let form = format!("items[0][id]={}&items[0][price]={}", item.as_str().unwrap(), price["id"].as_str().unwrap());
        shop.sandbox.edit(&format!("/v1/subscriptions/{}", sub["id"].as_str().unwrap()), &form).unwrap();
        shop.deliver().await;
        assert_eq!(shop.current().await.plan.as_str(), "pro");
        let live = subscription::load_view(&shop.server, &shop.buyer.account_id).await.unwrap().live.unwrap();
        assert!(live.problem.unwrap().contains("not in the catalogue"));
        let odd = subscription::list_odd(&shop.server).await.unwrap();
        assert_eq!((odd.len(), odd[0].subscription_id.as_str()), (1, sub["id"].as_str().unwrap()));
        assert_eq!(subscription::look_for_drift(&shop.server).await.unwrap(), 1);
    })
    .await;
}

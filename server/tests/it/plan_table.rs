//! Every change from one plan, key mode and number of seats to another, with a card that pays and one that does not:
//! what Stripe bills is what `domain::proration` says, to the cent.

use crate::plan::{standard, terms};
use crate::shop::{GOOD_CARD, NO_FUNDS_CARD, Shop};
use crate::support::each_database;
use domain::money::Cents;
use domain::proration::{self, Item};
use domain::subscription::{Change, KeyMode, Offer, Terms, change};
use server::on_read;
use server::stripe::Failure;
use server::stripe::billing::{ItemChange, Settle};
use server::stripe::plan::{InvoiceStatus, ItemId, PriceId, SubscriptionId};
use server::subscription::{self};

/// Three hours, seven minutes and a few seconds between two changes, so that every proration has a fraction.
const STEP_SECONDS: i64 = 3 * 3_600 + 433;

struct Wanted {
    terms: Terms,
    unit: Cents,
    price_id: PriceId,
    rank: usize,
}

impl Wanted {
    fn item(&self) -> Item {
        Item { unit: self.unit, quantity: self.terms.seats }
    }

    fn offer(&self) -> Offer<'_> {
        Offer { terms: &self.terms, rank: self.rank, month_cents: self.item().total().unwrap().0 }
    }
}

async fn wanted(shop: &Shop) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (plan, rank, seats) in [("pro", 1, &[1][..]), ("team", 2, &[1, 3, 7][..])] {
        for key_mode in KeyMode::ALL {
            let (unit, price_id): (Cents, PriceId) = on_read!(&shop.server.db, conn => {
                sqlx::query_as("select unit_cents, stripe_price_id from stripe_price where plan_id = $1 and key_mode = $2")
                    .bind(plan)
                    .bind(key_mode.as_str())
                    .fetch_one(conn)
                    .await
            })
            .unwrap();
            for seats in seats {
                let terms = terms(plan, *key_mode, *seats);
                all.push(Wanted { terms, unit, price_id: price_id.clone(), rank });
            }
        }
    }
    all
}

#[tokio::test]
async fn every_change_costs_what_the_rule_says() {
    each_database(async |world| {
        let shop = Shop::open_with_plans(world).await;
        shop.subscribe(&standard("pro", 1)).await;
        let period = shop.current().await.period;
        let sub = shop.at_stripe();
        let subscription_id = SubscriptionId::new(sub["id"].as_str().unwrap());
        let item_id = ItemId::new(sub["items"]["data"][0]["id"].as_str().unwrap());
        let customer = sub["customer"].as_str().unwrap().to_owned();
        let all = wanted(&shop).await;
        let stripe = &shop.server.stripe;
        let item = |to: &Wanted, settle: Settle| ItemChange {
            subscription_id: Box::leak(Box::new(subscription_id.clone())),
            item_id: Box::leak(Box::new(item_id.clone())),
            price_id: Box::leak(Box::new(to.price_id.clone())),
            seats: to.terms.seats,
            settle,
        };
        let key = || shop.server.clock.new_id();
        let (mut now_count, mut credit_count, mut end_count) = (0, 0, 0);
        for from in &all {
            for to in all.iter().filter(|to| to.terms != from.terms) {
                shop.advance_seconds(STEP_SECONDS);
                let at = shop.server.clock.now();
                stripe.change_item(&key(), &item(from, Settle::NextPeriod), None).await.unwrap();
                let lines = proration::lines(from.item(), to.item(), period, at).unwrap();
                let expected: Vec<Cents> = lines.iter().map(|line| line.amount).collect();
                let what = format!("{:?} to {:?}", from.terms, to.terms);
                match change(Some(&from.offer()), &to.offer()) {
                    Change::Now => {
                        now_count += 1;
                        let change = item(to, Settle::Now { at });
                        let preview = stripe.preview(&subscription_id, Some(&change)).await.unwrap();
                        let shown: Vec<Cents> = preview.lines.iter().map(|line| line.amount).collect();
                        assert_eq!(shown, expected, "{what}");
                        let due = proration::total(&lines).unwrap();
                        assert_eq!(preview.total, due, "{what}");

                        // More at once is a charge, or a little credit for a plan above with fewer seats.
                        shop.sandbox.set_card(&customer, NO_FUNDS_CARD);
                        if preview.due.0 > 0 {
                            let declined = stripe.change_item(&key(), &change, None).await.unwrap_err();
                            assert!(matches!(declined, Failure::Declined(_)), "{what}: {declined:?}");
                            let item = &shop.at_stripe()["items"]["data"][0];
                            assert_eq!(item["price"]["id"], from.price_id.as_str(), "{what}: declined, so unchanged");
                            assert_eq!(item["quantity"], from.terms.seats, "{what}");
                        }
                        shop.sandbox.set_card(&customer, GOOD_CARD);
                        stripe.change_item(&key(), &change, None).await.unwrap();
                        let paid = stripe.list_invoices(&subscription_id, None).await.unwrap().swap_remove(0);
                        assert_eq!((paid.status, paid.total), (InvoiceStatus::Paid, due), "{what}");
                        assert_eq!(paid.paid, preview.due, "{what}");
                    }
                    Change::NowWithCredit => {
                        credit_count += 1;
                        let change = item(to, Settle::NextInvoice { at });
                        let preview = stripe.preview(&subscription_id, Some(&change)).await.unwrap();
                        let shown: Vec<Cents> =
                            preview.lines.iter().filter(|line| line.proration).map(|line| line.amount).collect();
                        assert_eq!(shown, expected, "{what}");
                        assert!(proration::total(&lines).unwrap().0 <= 0, "{what}: less is never charged");
                        let next = proration::total(&lines).unwrap().0 + to.item().total().unwrap().0;
                        assert_eq!(preview.total, Cents(next), "{what}");
                        stripe.change_item(&key(), &item(to, Settle::NextPeriod), None).await.unwrap();
                    }
                    Change::AtPeriodEnd => {
                        end_count += 1;
                        let change = item(to, Settle::NextPeriod);
                        let preview = stripe.preview(&subscription_id, Some(&change)).await.unwrap();
                        assert_eq!(preview.lines.len(), 1, "{what}: no proration");
                        assert_eq!(preview.total, to.item().total().unwrap(), "{what}");
                        stripe.change_item(&key(), &change, None).await.unwrap();
                    }
                    other @ (Change::None | Change::Subscribe | Change::Cancel) => panic!("{what}: {other:?}"),
                }
                subscription::refresh(&shop.server, &subscription_id).await.unwrap();
                let now = shop.current().await;
                assert_eq!((&now.plan, now.key_mode, now.seats), (&to.terms.plan, to.terms.key_mode, to.terms.seats));
                assert_eq!(now.period, period, "{what}: the billing date stays");
            }
        }
        assert_eq!(now_count + credit_count + end_count, 56);
        assert!(now_count > 20 && credit_count > 10 && end_count > 10, "{now_count} {credit_count} {end_count}");
        shop.check_books().await;
    })
    .await;
}

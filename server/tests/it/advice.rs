//! Advice about own keys: from what the account really spent and paid, and put away for a while by whoever does not want it.

use crate::ledger::{capture, hold, new_hold};
use crate::shop::insert_user;
use crate::support::{World, each_database};
use domain::advice::AdviceKind;
use domain::funding::FundingSource;
use domain::id::{AccountId, ExecutionId, ModelId};
use domain::money::Usd;
use server::advice::{dismiss, load, load_bought};
use server::ledger::Started;

const DAY: i64 = 86_400;

fn usd(text: &str) -> Usd {
    Usd::parse_dollars(text).unwrap()
}

async fn spend(world: &World, account: &AccountId, id: &str, dollars: i64) {
    let nanos = dollars * 1_000_000_000;
    let held = hold(&world.server.ledger, new_hold(account, id, nanos)).await.unwrap();
    capture(&world.server.ledger, held, nanos).await.unwrap();
}

#[tokio::test]
async fn a_hundred_dollars_in_thirty_days_bring_the_sentence_with_the_real_saving() {
    each_database(async |world| {
        let server = &world.server;
        let user = insert_user(world, world.account().await).await;
        let account = &user.account_id;
        assert_eq!(load(server, &user).await.unwrap(), None);
        assert_eq!(load_bought(server, account).await.unwrap(), None);
        world.buy(account, usd("150"), Usd::ZERO).await;
        spend(world, account, "most", 99).await;
        assert_eq!(load(server, &user).await.unwrap(), None);
        spend(world, account, "rest", 1).await;
        let advice = load(server, &user).await.unwrap().unwrap();
        assert_eq!(
            advice.sentence(),
            "You're spending $100+/mo on credits. Switch to BYOT for zero markup and save $15+/mo."
        );
        assert_eq!((advice.our_keys, advice.own_keys), (usd("115"), usd("100")));

        dismiss(server, &user, AdviceKind::OwnKeys).await.unwrap();
        dismiss(server, &user, AdviceKind::OwnKeys).await.unwrap();
        assert_eq!(load(server, &user).await.unwrap(), None);
        let colleague = insert_user(world, account.clone()).await;
        assert!(load(server, &colleague).await.unwrap().is_some(), "for oneself alone");

        world.clock.advance_seconds(61 * DAY);
        assert_eq!(load(server, &colleague).await.unwrap(), None, "that was another month");
    })
    .await;
}

#[tokio::test]
async fn credit_that_cost_little_or_nothing_has_little_to_save() {
    each_database(async |world| {
        let server = &world.server;
        let user = insert_user(world, world.account().await).await;
        // $115 for $115: the bonus makes up for the markup.
        world.buy(&user.account_id, usd("100"), usd("15")).await;
        spend(world, &user.account_id, "all", 110).await;
        let advice = load(server, &user).await.unwrap().unwrap();
        assert_eq!(advice.kind, AdviceKind::Stay);
        assert!(advice.sentence().contains("would not pay"), "{}", advice.sentence());
    })
    .await;
}

#[tokio::test]
async fn own_keys_that_do_not_pay_are_told() {
    each_database(async |world| {
        let server = &world.server;
        let user = insert_user(world, world.account().await).await;
        let catalogue = server.catalogue.load_full();
        let haiku = catalogue.models.iter().find(|model| model.id.as_str() == "claude-3-5-haiku").unwrap();
        let new = new_hold(&user.account_id, "unused", 1);
        for number in 0..20 {
            let started = Started {
                source: FundingSource::OwnKey,
                model_id: ModelId::new(haiku.id.as_str()),
                ..new.started.clone()
            };
            let ended = crate::ledger::ended(usd("0.50"), world.clock.now());
            let id = ExecutionId::new(format!("own-{number}"));
            server.ledger.record((user.account_id.clone(), id), started, ended, Vec::new()).await.unwrap();
        }
        // Free pays for a hundred runs a month, up to its daily cap: $10 at the provider for what is included here.
        let advice = load(server, &user).await.unwrap().unwrap();
        assert_eq!((advice.kind, advice.our_keys, advice.own_keys), (AdviceKind::OurKeys, Usd::ZERO, usd("10")));
        assert!(advice.sentence().starts_with("Your own keys cost you $10+/mo more"), "{}", advice.sentence());
    })
    .await;
}

//! Usage mirrored to a meter at Stripe.

use crate::shop::Shop;
use crate::support::each_database;

/// What was run is told to a meter, an hour once; what Stripe refuses can be told again.
#[tokio::test]
async fn usage_is_mirrored_to_a_meter_an_hour_once() {
    each_database(async |world| {
        let shop = Shop::open_with(world, |config| config.stripe.meter = Some("executions".to_owned())).await;
        shop.start("pack-10").await;
        let mirror = async || server::usage_mirror::mirror(&shop.server).await.unwrap();
        let use_hour = "insert into usage_hour (account_id, hour, model_id, skill_id, source, executions, input_tokens,
                                                output_tokens, cost_nanos, charge_nanos)
                        select $1, created_at - created_at % 3600000000, 'm', '', 'credits', 7, 1, 1, 1, 1
                        from   account where account_id = $1";
        shop.tamper(use_hour, shop.buyer.account_id.as_str()).await;
        assert_eq!(mirror().await, 0, "the hour is not over");
        shop.advance_seconds(2 * 3_600);
        assert_eq!((mirror().await, mirror().await), (1, 0));
        let told = shop.sandbox.billed("meter_event");
        assert_eq!((told.len(), told[0]["payload"]["value"].as_str()), (1, Some("7")));

        // Told again after a crash between the call and its note: Stripe takes it once.
        shop.tamper("update meter_event set state = 'open' where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        shop.advance_seconds(25 * 3_600);
        mirror().await;
        assert_eq!(shop.sandbox.billed("meter_event").len(), 1);
        shop.tamper("update meter_event set state = 'failed' where account_id = $1", shop.buyer.account_id.as_str())
            .await;
        assert_eq!(server::usage_mirror::replay_failed(&shop.server).await.unwrap(), 1);
        assert_eq!((mirror().await, mirror().await), (1, 0));
    })
    .await;
}

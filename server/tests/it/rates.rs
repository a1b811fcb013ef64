//! Rates: the shipped ones are there at once, a price file is compared, refused or stored, and nothing is overwritten.

use crate::support::{World, each_database};
use domain::catalogue::Model;
use domain::id::ModelId;
use server::rate;

const SHIPPED: &str = include_str!("../../../catalogue/rates.json");

async fn import(world: &World, text: &str, apply: bool) -> Result<rate::Import, String> {
    let catalogue = world.server.catalogue.load();
    rate::import(world.db(), &world.clock, &catalogue, text, apply).await.map_err(|error| error.to_string())
}

/// The input price of Sonnet in pico-dollars and its version, at the clock's moment.
async fn sonnet(world: &World) -> (i64, String) {
    let catalogue = world.server.catalogue.load();
    let model: &Model = catalogue.model(&ModelId::new("claude-sonnet-4-5")).unwrap();
    let book = rate::load_book(world.db()).await.unwrap();
    let rate = book.rate_of(model, world.clock.now()).unwrap();
    (rate.prices.input.picos(), rate.version.clone())
}

#[tokio::test]
async fn every_model_has_a_rate_at_the_first_start_and_the_second_adds_none() {
    each_database(async |world| {
        let first = rate::load_book(world.db()).await.unwrap();
        assert_eq!(first.rates_at(world.clock.now()).len(), 12);
        world.clock.advance_seconds(1);
        let second = world.node().await;
        assert_eq!(rate::load_book(&second.db).await.unwrap(), first);
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_price_file_is_compared_and_then_stored_beside_the_old_rate() {
    each_database(async |world| {
        let (before, shipped) = sonnet(world).await;
        assert_eq!((before, shipped.as_str()), (3_000_000, "shipped-2025-10-01T00:00:00Z"));
        let dearer = SHIPPED.replace("\"input_cost_per_token\": 3e-06", "\"input_cost_per_token\": 4e-06");

        world.clock.advance_seconds(60);
        let compared = import(world, &dearer, false).await.unwrap();
        assert!(compared.lines().contains(&"    input $3.00 → $4.00 (× 1.33)".to_owned()), "{:?}", compared.lines());
        assert_eq!(compared.stored_as, None);
        assert_eq!(sonnet(world).await.0, 3_000_000, "a comparison stores nothing");

        let stored = import(world, &dearer, true).await.unwrap();
        assert_eq!(sonnet(world).await, (4_000_000, stored.stored_as.unwrap()));
        let again = import(world, &dearer, true).await.unwrap();
        assert_eq!((again.stored_as, again.diff.unchanged), (None, 12));

        let book = rate::load_book(world.db()).await.unwrap();
        let catalogue = world.server.catalogue.load();
        let model = catalogue.model(&ModelId::new("claude-sonnet-4-5")).unwrap();
        let then = book.rate_of(model, world.clock.now().plus_seconds(-1)).unwrap();
        assert_eq!(then.version, shipped, "what was priced before keeps its rate");

        assert!(
            world.server.rates.load().rate_of(model, world.clock.now()).is_some_and(|rate| rate.version == shipped)
        );
        rate::refresh(&world.server).await.unwrap();
        assert_eq!(**world.server.rates.load(), book);
    })
    .await;
}

#[tokio::test]
async fn a_price_file_with_a_mistake_is_refused_whole() {
    each_database(async |world| {
        for (price, reason) in [
            ("3e-02", "line 34: `claude-sonnet-4-5-20250929`: `input_cost_per_token` is 3e-02: above a dollar"),
            ("3e-09", "× 0.00) is too far from the last rate to be believed"),
            (
                "\"3e-06\"",
                "line 34: `claude-sonnet-4-5-20250929`: `input_cost_per_token` is \"3e-06\", which is not a number",
            ),
            ("-3e-06", "line 34: `claude-sonnet-4-5-20250929`: `input_cost_per_token` is negative"),
        ] {
            let text = SHIPPED
                .replace("\"input_cost_per_token\": 3e-06", &format!("\"input_cost_per_token\": {price}"))
                .replace("\"input_cost_per_token\": 2.5e-06", "\"input_cost_per_token\": 2.6e-06");
            let error = import(world, &text, true).await.unwrap_err();
            assert!(error.contains(reason), "{price}: {error}");
        }
        let book = rate::load_book(world.db()).await.unwrap();
        assert_eq!(book.rates_at(world.clock.now()).len(), 12);
        assert!(book.rates_at(world.clock.now()).iter().all(|rate| rate.version.starts_with("shipped-")));
    })
    .await;
}

//! Catalogue versions: each is kept as it was, a changed one needs a new name, and a mistake changes nothing.

use crate::identity::verified;
use crate::support::{World, each_database};
use domain::id::PlanId;
use domain::member::Role;
use domain::money::Usd;
use server::account::NewAccount;
use server::config::Config;
use server::{Server, catalogue, on_read, on_tx, subscription};
use std::path::{Path, PathBuf};

const TIERS: &str = include_str!("../../../catalogue/tiers.toml");

/// A catalogue file of this test, with the built-in models and skills.
struct File(PathBuf);

impl File {
    fn new(world: &World, text: &str) -> File {
        let file = File(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.toml", world.clock.new_id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn config(&self, world: &World) -> Config {
        Config { catalogue: Some(self.0.clone()), ..world.config.clone() }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn dearer(version: &str) -> String {
    TIERS.replace("tiers-2026-12-4", version).replace("standard = \"9.00\"", "standard = \"12.00\"")
}

fn pro_price(catalogue: &domain::catalogue::Catalogue, world: &World) -> Usd {
    catalogue.plan(&PlanId::new("pro")).unwrap().price_at(world.clock.now()).unwrap().standard.unwrap()
}

fn dollars(dollars: i64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

async fn refused(config: Config, world: &World) -> String {
    match Server::open(config, world.clock.clone()).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_new_account_begins_on_the_plan_that_its_catalogue_says() {
    each_database(async |world| {
        for (catalogue, plan) in [("tiers", "free"), ("legionis", "guest")] {
            let config = Config { catalogue: Some(catalogue.into()), ..world.config.clone() };
            let server = Server::open(config, world.clock.clone()).await.unwrap();
            let account = NewAccount::Open { name: "Sam's".to_owned(), time_zone: "UTC".to_owned() };
            let user = verified(&server, &format!("{catalogue}@people.test"), account, Role::Owner).await;
            let stored: PlanId = on_read!(&server.db, conn => {
                sqlx::query_scalar("select plan_id from account where account_id = $1")
                    .bind(&user.account_id)
                    .fetch_one(conn)
                    .await
            })
            .unwrap();
            assert_eq!(stored.as_str(), plan);
            server.db.close().await;
        }
    })
    .await;
}

/// An account of the other catalogue, kept on a database whose catalogue was changed.
#[tokio::test]
async fn an_account_whose_plan_is_not_sold_has_the_one_everybody_starts_on() {
    each_database(async |world| {
        let account = world.account().await;
        let config = Config { catalogue: Some("legionis".into()), ..world.config.clone() };
        let server = Server::open(config, world.clock.clone()).await.unwrap();
        assert_eq!(subscription::load_current(&server, &account).await.unwrap().plan.as_str(), "guest");
        server.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_customer_stays_on_the_version_they_bought() {
    each_database(async |world| {
        let file = File::new(world, &dearer("tiers-2027-01"));
        let server = Server::open(file.config(world), world.clock.clone()).await.unwrap();
        assert_eq!(pro_price(&server.catalogue.load(), world), dollars(12));

        let bought = catalogue::load_version(&server, "tiers-2026-12-4").await.unwrap();
        assert_eq!(pro_price(&bought, world), dollars(9));
        assert_eq!(*bought, *world.server.catalogue.load_full(), "the whole version is as it was, skills included");
        let again = catalogue::load_version(&server, "tiers-2026-12-4").await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&bought, &again), "it is read once");
        let running = catalogue::load_version(&server, "tiers-2027-01").await.unwrap();
        assert_eq!(pro_price(&running, world), dollars(12));
        let unknown = catalogue::load_version(&server, "none").await.unwrap_err().to_string();
        assert_eq!(unknown, "catalogue_version: there is no version none");
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_version_with_other_content_is_refused_and_other_comments_are_not() {
    each_database(async |world| {
        let file = File::new(world, &dearer("tiers-2026-12-4"));
        let text = refused(file.config(world), world).await;
        assert!(text.contains("version tiers-2026-12-4 was stored with other content"), "{text}");
        file.write(&format!("# Another comment.\n{TIERS}"));
        let server = Server::open(file.config(world), world.clock.clone()).await.unwrap();
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn on_a_mistake_the_running_version_stays() {
    each_database(async |world| {
        let file = File::new(world, &dearer("tiers-2027-01"));
        let server = Server::open(file.config(world), world.clock.clone()).await.unwrap();
        for (text, reason) in [
            (dearer("tiers-2027-02").replace("price = \"11.50\"", "price = \"-11.50\""), "is negative"),
            (dearer("tiers-2027-01").replace("\"12.00\"", "\"13.00\""), "was stored with other content"),
        ] {
            file.write(&text);
            let error = catalogue::refresh(&server).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(server.catalogue.load().version, "tiers-2027-01");
            assert_eq!(pro_price(&server.catalogue.load(), world), dollars(12));
        }
        file.write(&dearer("tiers-2027-02"));
        catalogue::refresh(&server).await.unwrap();
        assert_eq!(server.catalogue.load().version, "tiers-2027-02", "the mended file counts without a restart");
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_version_waits_for_its_day() {
    each_database(async |world| {
        // The tests begin at 2027-01-15.
        let later = dearer("tiers-2027-02").replace("effective_at = 2026-01-01", "effective_at = 2027-01-16");
        let file = File::new(world, &later);
        let server = Server::open(file.config(world), world.clock.clone()).await.unwrap();
        assert_eq!(server.catalogue.load().version, "tiers-2026-12-4");
        catalogue::refresh(&server).await.unwrap();
        assert_eq!(server.catalogue.load().version, "tiers-2026-12-4");
        world.clock.advance_seconds(86_400);
        catalogue::refresh(&server).await.unwrap();
        assert_eq!(server.catalogue.load().version, "tiers-2027-02");
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_first_catalogue_cannot_begin_later() {
    let world = World::sqlite().await;
    world
        .run(async |world| {
            let later = dearer("later").replace("effective_at = 2026-01-01", "effective_at = 2027-02-01");
            let file = File::new(world, &later);
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(world.clock.new_id());
            let database = server::config::Database::Sqlite(folder.join("tokenbank.sqlite"));
            let text = refused(Config { database, ..file.config(world) }, world).await;
            std::fs::remove_dir_all(folder).unwrap();
            assert!(text.contains("later takes effect later"), "{text}");
        })
        .await;
}

#[tokio::test]
async fn a_stored_version_cannot_be_changed() {
    each_database(async |world| {
        for statement in ["update catalogue_version set text = ''", "delete from catalogue_version"] {
            let mut tx = world.db().begin().await.unwrap();
            let changed = on_tx!(&mut tx, conn => sqlx::query(statement).execute(conn).await.map(drop));
            assert!(changed.unwrap_err().to_string().contains("append-only"), "{statement}");
        }
    })
    .await;
}

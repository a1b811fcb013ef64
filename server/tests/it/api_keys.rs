//! Our own API keys.

use crate::identity::{owner, verified};
use crate::support::each_database;
use domain::denial::Denial;
use domain::id::{AccountId, ApiKeyId};
use secrecy::ExposeSecret as _;
use server::account::{NewAccount, Role, User};
use server::api_key;
use server::error::{Error, Result};
use server::on_read;

fn denial<T: std::fmt::Debug>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        other => panic!("a denial was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_names_its_caller() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let (key, secret) = api_key::create(&world.server, &user, " CI of the shop ").await.unwrap();
        let secret = secret.expose_secret().to_owned();
        assert!(secret.starts_with("tb_") && secret.len() == 46);
        assert_eq!(key.hint, format!("tb_…{}", &secret[42..]));
        assert_eq!(key.name, "CI of the shop");
        let stored: String =
            on_read!(world.db(), conn => sqlx::query_scalar("select key_hash from api_key").fetch_one(conn).await)
                .unwrap();
        assert!(stored.len() == 64 && !stored.contains(&secret));

        for _cached in 0..2 {
            let caller = api_key::authenticate(&world.server, &secret).await.unwrap();
            assert_eq!(
                (&caller.api_key_id, &caller.account_id, &caller.user_id),
                (&key.api_key_id, &user.account_id, &user.user_id)
            );
            assert_eq!(caller.plan.as_str(), "free");
        }
        let (newer, other) = api_key::create(&world.server, &user, "second").await.unwrap();
        assert_ne!(other.expose_secret(), secret);
        world.clock.advance_seconds(1);
        let listed = api_key::list(&world.server, &user.account_id).await.unwrap();
        assert_eq!(listed.len(), 2);
        assert!(listed.contains(&key) && listed.contains(&newer));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_here_at_once_and_elsewhere_within_ten_seconds() {
    each_database(async |world| {
        let other_node = world.node().await;
        let user = owner(&world.server).await;
        let (key, secret) = api_key::create(&world.server, &user, "ci").await.unwrap();
        let secret = secret.expose_secret();
        api_key::authenticate(&world.server, secret).await.unwrap();
        api_key::authenticate(&other_node, secret).await.unwrap();

        api_key::revoke(&world.server, &user, &key.api_key_id).await.unwrap();
        assert_eq!(denial(api_key::authenticate(&world.server, secret).await), Denial::NotSignedIn);
        world.clock.advance_seconds(10);
        assert_eq!(denial(api_key::authenticate(&other_node, secret).await), Denial::NotSignedIn);

        let revoked_at = api_key::list(&world.server, &user.account_id).await.unwrap()[0].revoked_at;
        assert!(revoked_at.is_some());
        api_key::revoke(&world.server, &user, &key.api_key_id).await.unwrap();
        assert_eq!(api_key::list(&world.server, &user.account_id).await.unwrap()[0].revoked_at, revoked_at);
    })
    .await;
}

#[tokio::test]
async fn only_those_who_may_make_keys_and_only_an_account_its_own() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let (key, secret) = api_key::create(&world.server, &user, "ci").await.unwrap();
        for (role, allowed) in
            [(Role::Admin, true), (Role::Developer, true), (Role::Billing, false), (Role::Viewer, false)]
        {
            let join = NewAccount::Join(user.account_id.clone());
            let member = verified(&world.server, &format!("{role}@example.test"), join, role).await;
            let made = api_key::create(&world.server, &member, "mine").await;
            assert_eq!(made.is_ok(), allowed, "{role}");
        }
        let stranger = AccountId::new(world.clock.new_id());
        let somebody = User { account_id: stranger.clone(), ..user.clone() };
        assert_eq!(denial(api_key::revoke(&world.server, &somebody, &key.api_key_id).await).code(), "not_found");
        assert_eq!(api_key::list(&world.server, &stranger).await.unwrap(), []);
        api_key::authenticate(&world.server, secret.expose_secret()).await.unwrap();
        for name in ["", "  ", "a\nb", &"x".repeat(81)] {
            assert_eq!(denial(api_key::create(&world.server, &user, name).await.map(drop)).code(), "invalid");
        }
    })
    .await;
}

#[tokio::test]
async fn an_account_has_at_most_a_hundred_open_keys() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let mut last = None;
        for _ in 0..100 {
            last = Some(api_key::create(&world.server, &user, "ci").await.unwrap().0.api_key_id);
        }
        assert_eq!(denial(api_key::create(&world.server, &user, "ci").await.map(drop)).code(), "conflict");
        api_key::revoke(&world.server, &user, &last.unwrap()).await.unwrap();
        api_key::create(&world.server, &user, "ci").await.unwrap();
    })
    .await;
}

/// Field failure 16: SQL in the key, before anybody is known.
#[tokio::test]
async fn what_is_no_key_is_refused_whatever_it_holds() {
    each_database(async |world| {
        let user = owner(&world.server).await;
        let (_, secret) = api_key::create(&world.server, &user, "'; drop table api_key; --").await.unwrap();
        let secret = secret.expose_secret();
        let sql = "' or '1'='1";
        for key in [
            "",
            "tb_",
            sql,
            &secret[..45],
            &format!("{secret}x"),
            &format!("{} ", &secret[..45]),
            &secret.to_lowercase(),
            &format!("tb_{sql:-<43}"),
            &format!("tb_{:-<43}", "'; drop table api_key; --"),
            &format!("tb_{}", "\0".repeat(43)),
            &format!("tb_{}", "é".repeat(22)),
        ] {
            assert_eq!(denial(api_key::authenticate(&world.server, key).await), Denial::NotSignedIn, "{key:?}");
        }
        let bad_id = ApiKeyId::new(sql);
        assert_eq!(denial(api_key::revoke(&world.server, &user, &bad_id).await).code(), "not_found");
        api_key::authenticate(&world.server, secret).await.unwrap();
        assert_eq!(api_key::list(&world.server, &user.account_id).await.unwrap()[0].name, "'; drop table api_key; --");
    })
    .await;
}

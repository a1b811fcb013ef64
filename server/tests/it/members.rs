//! People come by invitation, change roles, leave, and hand accounts over; the last owner stays one.

use crate::identity::{PASSWORD, owner, verified};
use crate::mailbox::{Mailbox, token_in, with_mailbox};
use crate::support::{World, each_database};
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use domain::member::{Permission, Role};
use secrecy::{ExposeSecret as _, SecretString};
use server::account::{self, NewAccount, User, load_user, load_user_in};
use server::error::{Error, Result};
use server::job::run_jobs_until_idle;
use server::member::{self, HasUser};
use server::{Server, api_key, on_read};
use std::net::{IpAddr, Ipv4Addr};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn denial<T: std::fmt::Debug>(outcome: Result<T>) -> Denial {
    match outcome {
        Err(Error::Denied(denial)) => denial,
        other => panic!("a denial was expected, not {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    denial(outcome).code()
}

async fn join(server: &Server, account_id: &AccountId, role: Role, name: &str) -> User {
    verified(server, &format!("{name}@example.test"), NewAccount::Join(account_id.clone()), role).await
}

/// Somebody with an account of their own.
async fn stranger(server: &Server, name: &str) -> User {
    let account = NewAccount::Open { name: format!("{name}'s"), time_zone: "UTC".to_owned() };
    verified(server, &format!("{name}@example.test"), account, Role::Owner).await
}

/// Invites and answers with the link's token.
async fn invited(server: &Server, mailbox: &Mailbox, user: &User, email: &str, role: Role) -> String {
    member::invite(server, user, email, role).await.unwrap();
    link(server, mailbox).await
}

/// The token of the one mail that was sent since.
async fn link(server: &Server, mailbox: &Mailbox) -> String {
    run_jobs_until_idle(server).await.unwrap();
    let mails = mailbox.take();
    assert_eq!(mails.len(), 1, "{mails:?}");
    token_in(&mails[0])
}

async fn roles(server: &Server, account_id: &AccountId) -> Vec<(String, Role)> {
    let members = member::list_members(server, account_id).await.unwrap();
    members.into_iter().map(|member| (member.email.split('@').next().unwrap().to_owned(), member.role)).collect()
}

async fn seat_jobs(world: &World) -> i64 {
    on_read!(world.db(), conn => {
        sqlx::query_scalar("select count(*) from job where kind = 'sync_seats'").fetch_one(conn).await
    })
    .unwrap()
}

#[tokio::test]
async fn somebody_new_signs_up_by_the_link_and_somebody_known_accepts_it() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;

        member::invite(&server, &owner, " New@Example.test ", Role::Viewer).await.unwrap();
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        for part in ["To: new@example.test", "Join Sam's on Tokenbank", "sam@example.test invites you", "Viewer: "] {
            assert!(mails[0].contains(part), "{part} in {}", mails[0]);
        }
        let token = token_in(&mails[0]);
        let offer = member::load_joining(&server, &token).await.unwrap();
        assert_eq!((offer.account_name.as_str(), offer.role, offer.has_user), ("Sam's", Role::Viewer, HasUser::No));
        let new = member::sign_up_invited(&server, &token, &SecretString::from(PASSWORD), IP).await.unwrap();
        assert_eq!((&new.account_id, new.role, new.email_verified), (&owner.account_id, Role::Viewer, true));
        account::sign_in(&server, "new@example.test", &SecretString::from(PASSWORD), IP).await.unwrap();

        let known = stranger(&server, "known").await;
        let token = invited(&server, &mailbox, &owner, "known@example.test", Role::Admin).await;
        assert_eq!(member::load_joining(&server, &token).await.unwrap().has_user, HasUser::Yes);
        assert_eq!(member::accept(&server, &known, &token).await.unwrap(), owner.account_id);
        assert_eq!(load_user(&server, &known.user_id).await.unwrap().unwrap().account_id, owner.account_id);
        assert_eq!(member::list_accounts(&server, &known.user_id).await.unwrap().len(), 2);
        let expected = [("sam", Role::Owner), ("known", Role::Admin), ("new", Role::Viewer)];
        assert_eq!(roles(&server, &owner.account_id).await, expected.map(|(name, role)| (name.to_owned(), role)));
        assert_eq!(member::list_invitations(&server, &owner.account_id).await.unwrap(), []);
        assert_eq!(seat_jobs(world).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_link_works_once_in_time_for_its_address_and_not_when_taken_back() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;
        let (kim, other) = (stranger(&server, "kim").await, stranger(&server, "other").await);
        let password = SecretString::from(PASSWORD);

        // By another e-mail: refused with both addresses, and the link stays good.
        let token = invited(&server, &mailbox, &owner, "kim@example.test", Role::Viewer).await;
        let Denial::Conflict { problem } = denial(member::accept(&server, &other, &token).await) else { panic!() };
        assert!(problem.contains("for kim@example.test") && problem.contains("as other@example.test"), "{problem}");
        assert_eq!(code(member::sign_up_invited(&server, &token, &password, IP).await), "conflict");

        // Many at once: one counts. Then it is used.
        let outcomes = futures::future::join_all((0..8).map(|_| member::accept(&server, &kim, &token))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(code(member::accept(&server, &kim, &token).await), "link_expired");

        // Revoked, expired, replaced by a new mail, forged.
        let token = invited(&server, &mailbox, &owner, "a@example.test", Role::Viewer).await;
        let id = member::list_invitations(&server, &owner.account_id).await.unwrap()[0].invitation_id.clone();
        member::revoke(&server, &owner, &id).await.unwrap();
        assert_eq!(code(member::sign_up_invited(&server, &token, &password, IP).await), "link_expired");
        assert_eq!(code(member::revoke(&server, &owner, &id).await), "not_found");
        assert_eq!(code(member::resend(&server, &owner, &id).await), "not_found");

        let late = invited(&server, &mailbox, &owner, "b@example.test", Role::Viewer).await;
        world.clock.advance_seconds(7 * 86_400);
        assert_eq!(code(member::load_joining(&server, &late).await), "link_expired");
        let id = member::list_invitations(&server, &owner.account_id).await.unwrap()[0].invitation_id.clone();
        member::resend(&server, &owner, &id).await.unwrap();
        let fresh = link(&server, &mailbox).await;
        assert_eq!(code(member::load_joining(&server, &late).await), "link_expired");
        assert_eq!(code(member::load_joining(&server, "forged").await), "link_expired");
        member::sign_up_invited(&server, &fresh, &password, IP).await.unwrap();
        let stored: Vec<Option<String>> = on_read!(world.db(), conn => {
            sqlx::query_scalar("select token_hash from invitation union all select payload from job").fetch_all(conn).await
        })
        .unwrap();
        assert!(!stored.iter().flatten().any(|text| text.contains(&fresh)), "the link's secret is stored");
    })
    .await;
}

#[tokio::test]
async fn who_may_invite_whom_and_what_is_refused() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;
        let admin = join(&server, &owner.account_id, Role::Admin, "admin").await;
        for role in [Role::Billing, Role::Developer, Role::Viewer] {
            let user = join(&server, &owner.account_id, role, role.as_str()).await;
            let refused = denial(member::invite(&server, &user, "x@example.test", Role::Viewer).await);
            assert!(refused.sentence().ends_with("Ask an owner or admin of Sam's."), "{}", refused.sentence());
            assert_eq!(code(member::change_role(&server, &user, &admin.user_id, Role::Viewer).await), "role_may_not");
            assert_eq!(code(member::remove(&server, &user, &admin.user_id).await), "role_may_not");
            assert_eq!(code(member::transfer(&server, &user, &admin.user_id).await), "role_may_not");
        }
        // An admin makes no owner and touches none.
        assert_eq!(code(member::invite(&server, &admin, "x@example.test", Role::Owner).await), "role_may_not");
        assert_eq!(code(member::change_role(&server, &admin, &admin.user_id, Role::Owner).await), "role_may_not");
        assert_eq!(code(member::change_role(&server, &admin, &owner.user_id, Role::Viewer).await), "role_may_not");
        assert_eq!(code(member::remove(&server, &admin, &owner.user_id).await), "role_may_not");

        assert_eq!(code(member::invite(&server, &owner, "admin@example.test", Role::Viewer).await), "invalid");
        assert_eq!(code(member::invite(&server, &owner, "no address", Role::Viewer).await), "invalid");
        let somewhere = stranger(&server, "stranger").await;
        assert_eq!(code(member::change_role(&server, &owner, &somewhere.user_id, Role::Viewer).await), "not_found");
        assert_eq!(code(member::remove(&server, &owner, &somewhere.user_id).await), "not_found");

        // The same e-mail again is the same invitation with the new role.
        member::invite(&server, &admin, "x@example.test", Role::Viewer).await.unwrap();
        member::invite(&server, &owner, "X@example.test", Role::Developer).await.unwrap();
        let open = member::list_invitations(&server, &owner.account_id).await.unwrap();
        assert_eq!(open.iter().map(|open| open.role).collect::<Vec<_>>(), [Role::Developer]);
        let theirs = open[0].invitation_id.clone();
        assert_eq!(code(member::revoke(&server, &somewhere, &theirs).await), "not_found");

        // One address is not written to again and again, nor are too many invitations open.
        for _ in 0..3 {
            member::invite(&server, &owner, "x@example.test", Role::Viewer).await.unwrap();
        }
        assert_eq!(code(member::invite(&server, &owner, "x@example.test", Role::Viewer).await), "too_many_attempts");
        world.clock.advance_seconds(86_400);
        for number in 1..50 {
            member::invite(&server, &owner, &format!("many{number}@example.test"), Role::Viewer).await.unwrap();
        }
        world.clock.advance_seconds(3_600);
        assert_eq!(code(member::invite(&server, &owner, "more@example.test", Role::Viewer).await), "conflict");
        drop(mailbox);
    })
    .await;
}

#[tokio::test]
async fn the_last_owner_stays_one_whatever_happens_at_once() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let refused = denial(member::leave(server, &owner).await);
        assert!(refused.sentence().starts_with("You are the only owner of Sam's."), "{}", refused.sentence());
        assert_eq!(code(member::change_role(server, &owner, &owner.user_id, Role::Admin).await), "conflict");
        assert_eq!(code(member::remove(server, &owner, &owner.user_id).await), "conflict");

        // Two owners who leave and demote each other at the same time, on two nodes: one of them is left.
        let node = world.node().await;
        for round in 0..6 {
            let second = join(server, &owner.account_id, Role::Owner, &format!("second{round}")).await;
            let first = load_user_in(server, &owner.user_id, Some(&owner.account_id)).await.unwrap().unwrap();
            let outcomes = match round % 3 {
                0 => tokio::join!(member::leave(server, &first), member::leave(&node, &second)),
                1 => tokio::join!(
                    member::change_role(server, &first, &second.user_id, Role::Viewer),
                    member::change_role(&node, &second, &first.user_id, Role::Viewer)
                ),
                _ => tokio::join!(
                    member::change_role(server, &first, &first.user_id, Role::Viewer),
                    member::remove(&node, &first, &second.user_id)
                ),
            };
            let owners = roles(server, &owner.account_id).await.into_iter().filter(|(_, role)| *role == Role::Owner);
            assert_eq!(owners.count(), 1, "round {round}: {outcomes:?}");
            assert!(outcomes.0.is_ok() != outcomes.1.is_ok(), "round {round}: {outcomes:?}");
            reset(server, &owner).await;
        }
    })
    .await;
}

/// Back to one owner, the first, and nobody else.
async fn reset(server: &Server, owner: &User) {
    use server::on_tx;
    let mut tx = server.db.begin().await.unwrap();
    on_tx!(&mut tx, conn => {
        sqlx::query("delete from member where account_id = $1").bind(&owner.account_id).execute(conn).await.map(drop)
    })
    .unwrap();
    member::insert(&mut tx, &server.clock, &owner.account_id, &owner.user_id, Role::Owner).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_account_is_handed_over_and_its_first_owner_leaves() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        let admin = join(server, &owner.account_id, Role::Admin, "admin").await;
        assert_eq!(code(member::transfer(server, &admin, &owner.user_id).await), "role_may_not");
        assert_eq!(code(member::transfer(server, &owner, &owner.user_id).await), "invalid");
        assert_eq!(code(member::transfer(server, &owner, &UserId::new("nobody")).await), "not_found");
        member::transfer(server, &owner, &admin.user_id).await.unwrap();
        let expected = [("admin", Role::Owner), ("sam", Role::Admin)];
        assert_eq!(roles(server, &owner.account_id).await, expected.map(|(name, role)| (name.to_owned(), role)));

        let now_admin = load_user(server, &owner.user_id).await.unwrap().unwrap();
        assert!(now_admin.require(Permission::ManageAccount).is_err());
        member::leave(server, &now_admin).await.unwrap();
        assert_eq!(roles(server, &owner.account_id).await, [("admin".to_owned(), Role::Owner)]);
        // Who belongs nowhere else has an account of their own, with nothing in it.
        let alone = load_user(server, &owner.user_id).await.unwrap().unwrap();
        assert_eq!((alone.account_name.as_str(), alone.role), ("sam", Role::Owner));
        assert_ne!(alone.account_id, owner.account_id);
        assert_eq!(seat_jobs(world).await, 1);
    })
    .await;
}

#[tokio::test]
async fn who_was_removed_or_demoted_can_do_no_more_at_once() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let owner = owner(&server).await;
        let dev = join(&server, &owner.account_id, Role::Developer, "dev").await;
        let (_, key) = api_key::create(&server, &dev, "mine").await.unwrap();
        let caller = api_key::authenticate(&server, key.expose_secret()).await.unwrap();
        assert!(caller.require(Permission::RunTasks).is_ok());

        member::change_role(&server, &owner, &dev.user_id, Role::Viewer).await.unwrap();
        world.clock.advance_seconds(11);
        let caller = api_key::authenticate(&server, key.expose_secret()).await.unwrap();
        assert_eq!(caller.require(Permission::RunTasks).unwrap_err().code(), "role_may_not");

        member::remove(&server, &owner, &dev.user_id).await.unwrap();
        assert_eq!(code(api_key::authenticate(&server, key.expose_secret()).await), "not_signed_in");
        let elsewhere = load_user_in(&server, &dev.user_id, Some(&owner.account_id)).await.unwrap().unwrap();
        assert_ne!(elsewhere.account_id, owner.account_id);
        assert_eq!(code(member::choose_account(&server, &dev, &owner.account_id).await), "not_found");
        run_jobs_until_idle(&server).await.unwrap();
        let mails = mailbox.take();
        assert!(mails[0].contains("You are no longer a member of Sam's"), "{mails:?}");
    })
    .await;
}

#[tokio::test]
async fn another_account_is_opened_and_chosen() {
    each_database(async |world| {
        let server = &world.server;
        let owner = owner(server).await;
        for name in ["", "  ", "a\nb", &"x".repeat(81)] {
            assert_eq!(code(member::open_another(server, &owner, name).await), "invalid", "{name}");
        }
        let longest = "ß".repeat(80);
        let second = member::open_another(server, &owner, &longest).await.unwrap();
        let user = load_user(server, &owner.user_id).await.unwrap().unwrap();
        assert_eq!((&user.account_id, user.account_name.as_str(), user.role), (&second, longest.as_str(), Role::Owner));
        member::choose_account(server, &user, &owner.account_id).await.unwrap();
        assert_eq!(load_user(server, &owner.user_id).await.unwrap().unwrap().account_id, owner.account_id);
        for number in 2..20 {
            member::open_another(server, &owner, &format!("Account {number}")).await.unwrap();
        }
        assert_eq!(code(member::open_another(server, &owner, "One more").await), "conflict");
    })
    .await;
}

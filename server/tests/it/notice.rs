//! Notices: raised once, told to those whom they concern, by the ways that they chose.

use crate::mailbox::with_mailbox;
use crate::shop::insert_user;
use crate::support::{World, each_database};
use domain::id::AccountId;
use domain::money::Usd;
use domain::notice::{Notice, NoticeKind, PlanPaymentNews};
use server::Server;
use server::account::User;
use server::job::run_jobs_until_idle;
use server::notice::{self, Preference};

fn low() -> Notice {
    Notice::LowBalance { spendable: Usd::from_nanos(4_396_100_000), mark: Usd::from_dollars(5).unwrap() }
}

async fn raise(server: &Server, account_id: &AccountId, notice: &Notice, key: &str) -> bool {
    let mut tx = server.db.begin().await.unwrap();
    let is_new = notice::raise(&mut tx, &server.clock, account_id, notice, key).await.unwrap();
    tx.commit().await.unwrap();
    is_new
}

async fn user(world: &World) -> User {
    insert_user(world, world.account().await).await
}

#[tokio::test]
async fn a_notice_is_raised_once_whoever_raises_it() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let sam = user(world).await;
        let node = world.node().await;
        let notice = low();
        let (first, second) = tokio::join!(
            raise(&server, &sam.account_id, &notice, "low_balance:1"),
            raise(&node, &sam.account_id, &notice, "low_balance:1")
        );
        assert!(first != second, "one of them was first");
        assert!(!raise(&server, &sam.account_id, &notice, "low_balance:1").await);
        run_jobs_until_idle(&server).await.unwrap();
        run_jobs_until_idle(&node).await.unwrap();

        let list = notice::list(&server, &sam, None, 10).await.unwrap();
        assert_eq!(list.iter().map(|listed| &listed.notice).collect::<Vec<_>>(), [&notice]);
        assert_eq!(notice::count_unread(&server, &sam).await.unwrap(), 1);
        let mails = mailbox.take();
        assert_eq!(mails.len(), 1);
        assert!(mails[0].contains("Subject: Your credit balance is $4.40"), "{}", mails[0]);
        assert!(mails[0].contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{}", mails[0]);
        assert!(mails[0].contains("/alerts/settings"), "{}", mails[0]);

        notice::mark_read(&server, &sam, &list[0].notice_id).await.unwrap();
        assert_eq!(notice::count_unread(&server, &sam).await.unwrap(), 0);
        assert!(raise(&server, &sam.account_id, &notice, "low_balance:2").await, "another fact");
        node.db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_cause_that_was_undone_tells_nobody() {
    each_database(async |world| {
        let sam = user(world).await;
        let mut tx = world.db().begin().await.unwrap();
        assert!(notice::raise(&mut tx, &world.clock, &sam.account_id, &low(), "low_balance:1").await.unwrap());
        tx.rollback().await.unwrap();
        run_jobs_until_idle(&world.server).await.unwrap();
        assert_eq!(notice::list(&world.server, &sam, None, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn people_choose_what_they_are_told_but_not_what_is_essential() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let sam = user(world).await;
        let never = Preference { in_app: false, by_mail: false };
        let chosen = [(NoticeKind::LowBalance, never), (NoticeKind::PlanPayment, never)];
        notice::set_preferences(&server, &sam, &chosen).await.unwrap();
        let listed = notice::list_preferences(&server, &sam).await.unwrap();
        assert!(listed.contains(&(NoticeKind::LowBalance, never)));
        assert!(listed.contains(&(NoticeKind::PlanPayment, Preference::default())));

        assert!(raise(&server, &sam.account_id, &low(), "low").await);
        let failed = Notice::PlanPayment { news: PlanPaymentNews::Failed, grace_days: 14 };
        assert!(raise(&server, &sam.account_id, &failed, "plan").await);
        run_jobs_until_idle(&server).await.unwrap();
        let list = notice::list(&server, &sam, None, 10).await.unwrap();
        assert_eq!(list.into_iter().map(|listed| listed.notice).collect::<Vec<_>>(), [failed]);
        let mails = mailbox.take();
        assert_eq!(mails.len(), 1);
        assert!(!mails[0].contains("List-Unsubscribe"), "{}", mails[0]);
    })
    .await;
}

#[tokio::test]
async fn the_link_of_a_mail_ends_mails_of_its_kind_alone() {
    each_database(async |world| {
        let (server, mailbox) = with_mailbox(world).await;
        let sam = user(world).await;
        assert!(raise(&server, &sam.account_id, &low(), "low:1").await);
        run_jobs_until_idle(&server).await.unwrap();
        let mail = mailbox.take().remove(0).replace("=\r\n", "").replace("=3D", "=");
        let (_, after) = mail.split_once("/unsubscribe?token=").unwrap();
        let token: String =
            after.chars().take_while(|char| char.is_ascii_alphanumeric() || "-_".contains(*char)).collect();

        let refused = notice::stop_mail(&server, "another").await.unwrap_err();
        assert_eq!(refused.denial().unwrap().code(), "link_expired");
        assert_eq!(notice::load_stop(&server, &token).await.unwrap(), NoticeKind::LowBalance);
        assert_eq!(notice::stop_mail(&server, &token).await.unwrap(), NoticeKind::LowBalance);
        assert!(raise(&server, &sam.account_id, &low(), "low:2").await);
        run_jobs_until_idle(&server).await.unwrap();
        assert_eq!(mailbox.take().len(), 0);
        assert_eq!(notice::list(&server, &sam, None, 10).await.unwrap().len(), 2, "still in the list");
    })
    .await;
}

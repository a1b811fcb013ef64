//! Owns: what is swept every few seconds or minutes, on each node: expired holds, unpaid purchases, old sessions.
//! Does not own: the sweeps themselves. Invariant: each is safe to run on several nodes at once.

use crate::{
    Server, account, alert, catalogue, idempotency, job, ledger, provider_key, purchase, rate, refund, session, stripe,
    subscription, top_up, trial, usage_mirror, webhook_out,
};
use std::future::Future;
use std::time::Duration;

/// Sweeps until `server` stops.
pub async fn work(server: Server) {
    tokio::join!(
        every(&server, Duration::from_secs(5), "expire holds", || async {
            ledger::expire_due(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(60), "end trials", || async { trial::end_due(&server).await.map(drop) }),
        every(&server, Duration::from_secs(600), "announce ends of trials", || async {
            trial::remind_due(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(60), "reconcile purchases", || async {
            purchase::reconcile(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(60), "top up", || async { top_up::sweep(&server).await.map(drop) }),
        every(&server, Duration::from_secs(60), "reconcile refunds", || async {
            refund::reconcile(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(60), "reconcile plans", || async {
            subscription::reconcile(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(60), "look at keys of own-key plans", || async {
            subscription::look_at_keys(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(3_600), "look for prices edited by hand", || async {
            subscription::look_for_drift(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(300), "fetch lost events", || async {
            stripe::inbox::fetch_missed(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(600), "tell the meter", || async {
            usage_mirror::mirror(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(15), "look at alerts", || async { alert::sweep(&server).await.map(drop) }),
        every(&server, Duration::from_secs(3_600), "forget old deliveries", || webhook_out::forget_old(&server)),
        every(&server, Duration::from_secs(60), "probe keys", || async {
            provider_key::probe_due(&server).await.map(drop)
        }),
        every(&server, Duration::from_secs(600), "forget old connections", || provider_key::forget_old_connections(
            &server
        )),
        every(&server, Duration::from_secs(600), "sweep sessions", || session::sweep_expired(&server)),
        every(&server, Duration::from_secs(60), "reload rates", || rate::refresh(&server)),
        every(&server, Duration::from_secs(60), "reload the catalogue", || catalogue::refresh(&server)),
        every(&server, Duration::from_secs(600), "forget old jobs", || job::forget_done(&server)),
        every(&server, Duration::from_secs(600), "sweep idempotency keys", || idempotency::sweep(&server)),
        every(&server, Duration::from_secs(600), "sweep links", || account::sweep_links(&server)),
    );
}

async fn every<F>(server: &Server, pause: Duration, what: &str, sweep: impl Fn() -> F)
where
    F: Future<Output = crate::error::Result<()>>,
{
    while !server.tasks.is_stopping() {
        if let Err(error) = sweep().await {
            tracing::error!(%error, what, "a sweep failed and will run again");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = server.tasks.stopping() => {}
        }
    }
}

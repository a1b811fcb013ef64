//! Field failure 14: one secret through everything that touches keys, at trace level, is found nowhere: not in the log, not in
//! an answer, not in the metrics, and not in the database of either engine. And a model that says a key says nothing.

use crate::served::{CLAUDE, Served, ask, text_of};
use crate::support::{World, each_database};
use domain::key::KeyState;
use domain::key_health::Heard;
use domain::provider::Provider;
use sandbox::Fault;
use server::config::Database;
use server::db::Db;
use server::provider_key::{self, NewKey, Signal, note, probe_due, rotate, save};
use std::io::Write;
use std::sync::{Arc, Mutex};

const CANARY: &str = "sk-ant-api03-c4n4ry7q2z-of-the-users-key-UsEr";
/// No four letters of it may be found but its ending.
const HEART: &str = "c4n4ry7q2z";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that the database holds: the files of SQLite, each row of Postgres.
async fn dump(world: &World) -> String {
    match (&world.config.database, world.db()) {
        (Database::Sqlite(path), _) => ["", "-wal"]
            .into_iter()
            .filter_map(|ending| std::fs::read(format!("{}{ending}", path.display())).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect(),
        (Database::Postgres(_), Db::Postgres(pool)) => {
            let tables: Vec<String> = sqlx::query_scalar("select tablename from pg_tables where schemaname = 'public'")
                .fetch_all(pool)
                .await
                .unwrap();
            let mut all = String::new();
            for table in tables {
                let sql = format!(r#"select coalesce(string_agg(row_to_json(t)::text, ' '), '') from "{table}" t"#);
                all.push_str(&sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap());
            }
            all
        }
        (Database::Postgres(_), Db::Sqlite { .. }) => panic!("one engine"),
    }
}

#[tokio::test]
async fn a_secret_is_found_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let mut seen = String::new();
        let new = |provider, secret, replaces| NewKey { provider, secret, url: "", label: "Mine", replaces };
        // Refused: of another provider, too long, an admin's, dead.
        let long = CANARY.repeat(200);
        let invalid = CANARY.replace("of-the", "invalid");
        for (provider, secret) in [
            (Provider::Groq, CANARY),
            (Provider::Anthropic, long.as_str()),
            (Provider::Anthropic, "sk-ant-admin01-c4n4ry7q2z"),
            (Provider::Anthropic, invalid.as_str()),
        ] {
            seen.push_str(&save(&it.server, &it.user, new(provider, secret, None)).await.unwrap_err().to_string());
        }
        let key = save(&it.server, &it.user, new(Provider::Anthropic, CANARY, None)).await.unwrap();
        seen.push_str(&format!("{key:?}"));
        for fault in
            [None, Some(Fault::InvalidKey), Some(Fault::BadRequest), Some(Fault::CutAfter(2)), Some(Fault::Overloaded)]
        {
            for stream in [true, false] {
                note(
                    &it.server,
                    (&key.id, 1),
                    Signal { from: Heard::Run, state: KeyState::Valid, problem: None, cost: None },
                )
                .await
                .unwrap();
                it.faults(&fault.into_iter().collect::<Vec<_>>(), Some(3));
                let answer = it.post("/v1/messages", &ask(CLAUDE, "Three colours", 40, stream)).send().await.unwrap();
                seen.push_str(&format!("{:?}", answer.headers()));
                seen.push_str(&answer.text().await.unwrap_or_default());
                it.sandbox.clear_faults();
            }
        }
        world.clock.advance_seconds(2 * 86_400);
        probe_due(&it.server).await.unwrap();
        let replacing = new(Provider::Anthropic, CANARY, Some(&key.id));
        save(&it.server, &it.user, replacing).await.unwrap();
        rotate(&it.server, u64::MAX, |_| ()).await.unwrap();
        for path in ["/v1/usage", "/v1/executions", "/v1/models", "/metrics"] {
            seen.push_str(&it.get(path).send().await.unwrap().text().await.unwrap());
        }
        seen.push_str(&format!("{:?}", provider_key::list(&it.server, &it.account_id).await.unwrap()));
        let dump = dump(world).await;
        assert!(dump.contains("provider_key") || dump.contains(key.id.as_str()), "the dump holds the rows");
        assert!(!seen.contains(HEART), "in an answer");
        assert!(!dump.contains(HEART), "in the database");
        let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert!(!log.contains(HEART), "in the log");
        assert!(log.contains("TRACE") && log.contains("a provider key was saved"), "of everything: {}", log.len());
    })
    .await;
}

/// A model that repeats what it was told: the prompt holds the account's keys, cut into pieces by the stream.
#[tokio::test]
async fn a_model_that_says_a_key_says_nothing() {
    each_database(async |world| {
        let it = Served::open(world, 10).await;
        let new = NewKey { provider: Provider::Anthropic, secret: CANARY, url: "", label: "", replaces: None };
        save(&it.server, &it.user, new).await.unwrap();
        for pieces in [1_u64, 2, 5, 100] {
            let prompt = format!("Say it\nsandbox: chunk_tokens={pieces}, echo\n{CANARY} and so on");
            for stream in [true, false] {
                let answer = it.post("/v1/messages", &ask(CLAUDE, &prompt, 400, stream)).send().await.unwrap();
                let body = answer.text().await.unwrap();
                let said = if stream { text_of(&body) } else { body.clone() };
                assert!(said.contains("and so on"), "it was said: {body}");
                assert!(!said.contains(HEART) && !body.contains(HEART), "{pieces} {stream}: {said}");
                assert!(said.contains("[key]"), "{said}");
            }
        }
    })
    .await;
}

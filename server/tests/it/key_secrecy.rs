//! Field failure 14: one secret through everything that touches keys, at trace level, is found nowhere: not in the log, not in
//! an answer, not in the metrics, not in the database of either engine, and not in what a panic leaves behind. And a model that
//! says a key says nothing.

use crate::key_connect::{browser, consent};
use crate::served::{CLAUDE, Served, ask, text_of};
use crate::support::{World, alone, each_database};
use domain::key::KeyState;
use domain::key_health::Heard;
use domain::provider::Provider;
use sandbox::Fault;
use server::config::Database;
use server::db::Db;
use server::provider_key::{
    self, Connected, NewKey, Returned, Signal, begin_connection, finish_connection, note, probe_due, rotate, save,
};
use std::io::Write;
use std::sync::{Arc, Mutex};

const CANARY: &str = "sk-ant-api03-c4n4ry7q2z-of-the-users-key-UsEr";
/// No four letters of it may be found but its ending.
const HEART: &str = "c4n4ry7q2z";

/// How the keys begin that the sandbox's sign-in gives.
const CONNECTED: &str = "sk-or-v1-good";

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
    if alone("key_secrecy::a_secret_is_found_nowhere").is_err() {
        return;
    }
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
        let browser = browser(&it.server, &it.user).await;
        let address = begin_connection(&it.server, &it.user, &browser).await.unwrap();
        let (state, code) = consent(&it.server, &it.sandbox, &address, ("good", "authorize")).await;
        let returned = Returned { state: &state, code: code.as_deref() };
        let connected = finish_connection(&it.server, &it.user, &browser, returned).await.unwrap();
        assert!(matches!(connected, Connected::Saved(_)));
        let dump = dump(world).await;
        assert!(dump.contains("provider_key") || dump.contains(key.id.as_str()), "the dump holds the rows");
        assert!(!seen.contains(HEART), "in an answer");
        assert!(!dump.contains(HEART) && !dump.contains(CONNECTED), "in the database");
        let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert!(!log.contains(HEART) && !log.contains(CONNECTED), "in the log");
        assert!(!log.contains(&state) && !log.contains(code.as_deref().unwrap()), "the way back, in the log");
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

/// A task that panics while a key is open, in the ways that quote what they stumble over: nothing of it is in what the process
/// writes, with full backtraces and everything logged.
#[tokio::test]
async fn a_panic_with_an_open_key_says_nothing_of_it() {
    let Err(written) = alone("key_secrecy::a_panic_with_an_open_key_says_nothing_of_it") else {
        return panic_with_an_open_key().await;
    };
    for sign in
        ["a panic", "out of bounds of `[hidden]`", "Err` value: \"[hidden]\"", "key_secrecy.rs", "backtrace=", "TRACE"]
    {
        assert!(written.contains(sign), "{sign} in {} bytes", written.len());
    }
    assert!(!written.contains(HEART), "in what a panic leaves behind");
}

/// As careless as a library may be.
fn refused(secret: &str) -> Result<(), String> {
    if secret.is_empty() { Ok(()) } else { Err(secret.to_owned()) }
}

async fn panic_with_an_open_key() {
    server::panic_log::install();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let world = World::sqlite().await;
    let it = Served::open(&world, 0).await;
    let new = NewKey { provider: Provider::Anthropic, secret: CANARY, url: "", label: "", replaces: None };
    let key = save(&it.server, &it.user, new).await.unwrap();
    let ways: [fn(&str); 4] = [
        |secret| drop(secret[..1_000].to_owned()),
        |secret| refused(secret).unwrap(),
        |secret| panic!("the key is {secret}"),
        |secret| assert_eq!(secret, "another"),
    ];
    for way in ways {
        let opened = provider_key::open(&it.server, &it.account_id, Provider::Anthropic, &key.id).await.unwrap();
        let (ends, ended) = tokio::sync::oneshot::channel::<()>();
        it.server.tasks.spawn(async move {
            let _ends = ends;
            way(secrecy::ExposeSecret::expose_secret(&opened.key.into_secret()));
        });
        // Dropped while the task unwinds.
        assert!(ended.await.is_err());
    }
}

/// Whether a type can be written out, decided by the compiler: the constant of the type itself wins where it exists.
macro_rules! can {
    ($bound:path, $kind:ty) => {{
        #[allow(dead_code)] // Not used where the type can.
        trait Otherwise {
            const CAN: bool = false;
        }
        impl<T> Otherwise for T {}
        struct Asked<T>(std::marker::PhantomData<T>);
        #[allow(dead_code)] // Not used where the type cannot.
        impl<T: $bound> Asked<T> {
            const CAN: bool = true;
        }
        Asked::<$kind>::CAN
    }};
}

#[test]
fn a_type_with_an_open_key_cannot_be_written_out() {
    use server::provider_key::Opened;
    use server::vault::{OpenKey, Vault};
    assert!(can!(std::fmt::Debug, KeyState) && can!(serde::Serialize, KeyState), "the question is asked well");
    assert!(!can!(std::fmt::Debug, OpenKey) && !can!(std::fmt::Display, OpenKey) && !can!(serde::Serialize, OpenKey));
    assert!(!can!(std::fmt::Debug, Opened) && !can!(serde::Serialize, Opened));
    assert!(!can!(std::fmt::Debug, Vault) && !can!(serde::Serialize, Vault));
    assert!(!can!(std::fmt::Debug, NewKey<'static>) && !can!(serde::Serialize, NewKey<'static>));
}

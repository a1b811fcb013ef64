//! Owns: the connections to SQLite or Postgres, transactions, migrations, and the macros that run one SQL text on both.
//! Does not own: any query of a feature; those stand in the feature's own file.
//! Invariant: SQLite has one write connection, and every write begins with `begin immediate` on it.

use crate::error::{Error, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Postgres, Sqlite, Transaction};
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// How often this process has committed a change that somebody may remember.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// The database: SQLite with one writer and several readers, or a pool on Postgres.
#[derive(Clone, Debug)]
pub enum Db {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

/// An open transaction. Dropped without [`Tx::commit`], it changes nothing.
pub enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Runs one body with `$conn` as a connection for reading, on whichever engine `$db` is.
#[macro_export]
macro_rules! on_read {
    ($db:expr, $conn:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Sqlite { read: $conn, .. } => $body,
            $crate::db::Db::Postgres($conn) => $body,
        }
    };
}

/// Runs one body with `$conn` as the connection of the transaction `$tx` (a `&mut Tx`); reborrow it to use it twice.
#[macro_export]
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::db::Tx::Sqlite(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
            $crate::db::Tx::Postgres(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
        }
    };
}

impl Db {
    /// Opens the SQLite file, made if missing: WAL, full synchronisation, foreign keys on.
    pub async fn open_sqlite(path: &Path) -> Result<Db> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(256)
            .pragma("temp_store", "memory")
            .pragma("journal_size_limit", "67108864")
            // A checkpoint costs two synchronisations and stops the writer: after 16 MB of log instead of 4.
            .pragma("wal_autocheckpoint", "4000");
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            // A file does not hang up; asking first would double the ways to SQLite's thread.
            .test_before_acquire(false)
            // 32 MB of pages (SQLite's own default is 2), so that the indexes that every run writes to stay in memory.
            .connect_with(options.clone().pragma("cache_size", "-32768"))
            .await
            .map_err(|error| Error::internal(&format!("open {}", path.display()), error))?;
        let read = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        Ok(Db::Sqlite { write, read })
    }

    /// Connects to Postgres 15 or later.
    pub async fn connect_postgres(url: &str) -> Result<Db> {
        let options = sqlx::postgres::PgConnectOptions::from_str(url)
            .map_err(|_| Error::Internal("DATABASE_URL is not a Postgres address".to_owned()))?;
        let pool = PgPoolOptions::new()
            .max_connections(24)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .map_err(|error| Error::internal("connect to Postgres (DATABASE_URL)", error))?;
        Ok(Db::Postgres(pool))
    }

    /// Brings the schema up to date. Forward only; each migration in a transaction of its own.
    pub async fn migrate(&self) -> Result<()> {
        match self {
            Db::Sqlite { write, .. } => SQLITE.run(write).await,
            Db::Postgres(pool) => POSTGRES.run(pool).await,
        }
        .map_err(|error| Error::internal("migrate the database", error))
    }

    /// Begins a transaction for writing. On SQLite it waits for the one write connection, so keep it short and make
    /// no network call inside.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Db::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("begin immediate").await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match self {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Closes every connection, after what is running has ended.
    pub async fn close(&self) {
        match self {
            Db::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes the transaction durable. An error here means *unknown*: re-read by idempotency key.
    pub async fn commit(self) -> Result<()> {
        let committed = self.commit_books().await;
        // After the commit: what is read between the two is forgotten too, which costs one read.
        CHANGES.fetch_add(1, Ordering::SeqCst);
        committed
    }

    /// Like [`Tx::commit`], for the ledger's batches: they change nothing that is remembered, see [`changes`].
    pub async fn commit_books(self) -> Result<()> {
        match self {
            Tx::Sqlite(transaction) => transaction.commit().await?,
            Tx::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }

    /// Undoes the transaction.
    pub async fn rollback(self) -> Result<()> {
        match self {
            Tx::Sqlite(transaction) => transaction.rollback().await?,
            Tx::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}

/// Grows with every commit of this process but those of the ledger's batches. Whoever remembers what they read notes this
/// first, and reads again when it has changed; changes of other nodes need a time limit besides.
pub fn changes() -> u64 {
    CHANGES.load(Ordering::SeqCst)
}

/// Whether the error is a broken unique constraint. Postgres names the constraint, SQLite the columns
/// (`user.email`), so both are given.
pub fn breaks_unique(error: &sqlx::Error, constraint: &str, sqlite_columns: &str) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.is_unique_violation()
            && (database.constraint() == Some(constraint) || database.message().contains(sqlite_columns))
    })
}

//! Owns: one migrated database of each kind, which every test gets a copy of: a copy takes milliseconds, the migrations do not.
//! On Postgres it is kept for the next run, under a name made from the migrations.

use crate::support::execute;
use server::db::Db;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;

/// Lays a migrated SQLite file there; its folder is made first.
pub async fn copy_sqlite(file: &Path) {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    let template = TEMPLATE
        .get_or_init(async || {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("template-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let made = folder.join("tokenbank.sqlite");
            let db = Db::open_sqlite(&made).await.unwrap();
            db.migrate().await.unwrap();
            // The last connection that closes leaves everything in the one file.
            db.close().await;
            let bytes = std::fs::read(&made).unwrap();
            std::fs::remove_dir_all(folder).unwrap();
            bytes
        })
        .await;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, template).unwrap();
}

/// Makes the migrated Postgres database `name`.
pub async fn copy_postgres(admin_url: &str, name: &str) {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(|| make_postgres(admin_url)).await;
    let mut admin = PgConnection::connect(admin_url).await.expect("connect to TEST_POSTGRES_URL");
    execute(&mut admin, format!("create database {name} template {template}")).await;
    admin.close().await.unwrap();
}

/// The address of another database on the same Postgres.
pub fn sibling(admin_url: &str, name: &str) -> String {
    let (before, _) = admin_url.rsplit_once('/').expect("TEST_POSTGRES_URL ends in a database name");
    format!("{before}/{name}")
}

/// The template's name; it is made if no earlier run left it. Two processes make it one after the other.
async fn make_postgres(admin_url: &str) -> String {
    let name = format!("tokenbank_template_{}", fingerprint());
    let mut admin = PgConnection::connect(admin_url).await.expect("connect to TEST_POSTGRES_URL");
    execute(&mut admin, "select pg_advisory_lock(7026001)".to_owned()).await;
    let made: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !made {
        // Under another name until it is whole, so that a run that is broken off leaves no half a template.
        let half = format!("{name}_half");
        execute(&mut admin, format!("drop database if exists {half} with (force)")).await;
        execute(&mut admin, format!("create database {half}")).await;
        let db = Db::connect_postgres(&sibling(admin_url, &half)).await.unwrap();
        db.migrate().await.unwrap();
        db.close().await;
        execute(&mut admin, format!("alter database {half} rename to {name}")).await;
    }
    // The end of the session ends the lock.
    admin.close().await.unwrap();
    name
}

/// Changes with any migration.
fn fingerprint() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/postgres");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let hash = files.iter().fold(Sha256::new(), |hash, file| hash.chain_update(std::fs::read(file).unwrap()));
    hex::encode(&hash.finalize()[..8])
}

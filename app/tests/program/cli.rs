//! The command line as an operator uses it: the real binary, its words and its exit codes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of its own for each test, emptied first.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn tokenbank(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenbank"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String) {
    words(&tokenbank(arguments).output().unwrap())
}

fn words(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn serve_refuses_to_start_and_names_every_setting() {
    let (code, text) = run(&["serve"]);
    assert_eq!(code, 2, "{text}");
    for setting in ["TOKENBANK_PUBLIC_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "TOKENBANK_SMTP_URL"] {
        assert!(text.contains(setting), "{setting} is not named in: {text}");
    }
}

#[test]
fn serve_refuses_an_empty_webhook_secret_alone() {
    let output = tokenbank(&["serve"])
        .env("TOKENBANK_PUBLIC_URL", "https://bank.example.com")
        .env("STRIPE_SECRET_KEY", "sk_test_1")
        .env("STRIPE_WEBHOOK_SECRET", "")
        .env("TOKENBANK_SMTP_URL", "smtp://mail.example.com")
        .output()
        .unwrap();
    let (code, text) = words(&output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("STRIPE_WEBHOOK_SECRET"), "{text}");
    assert!(!text.contains("STRIPE_SECRET_KEY"), "{text}");
}

#[test]
fn unknown_words_are_a_usage_error() {
    assert_eq!(run(&["frobnicate"]).0, 2);
    let (code, text) = run(&["verify", "--help"]);
    assert_eq!(code, 0);
    assert!(text.contains("--data"), "{text}");
}

#[test]
fn verify_is_clean_on_a_new_database_and_finds_a_changed_row() {
    let data = folder("cli-verify");
    let data = data.to_str().unwrap();
    assert_eq!(run(&["migrate", "--data", data]).0, 0);
    let (code, text) = run(&["verify", "--data", data]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("Clean:"), "{text}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = server::db::Db::open_sqlite(&Path::new(data).join("tokenbank.sqlite")).await.unwrap();
        let server::db::Db::Sqlite { write, .. } = &db else { panic!("not SQLite") };
        for statement in [
            "insert into account (account_id, name, plan_id, time_zone, created_at) values ('a', 'A', 'free', 'UTC', 0)",
            "insert into balance (account_id, paid_nanos) values ('a', 5)",
        ] {
            sqlx::query(statement).execute(write).await.unwrap();
        }
        db.close().await;
    });
    let (code, text) = run(&["verify", "--data", data]);
    assert_eq!(code, 1, "credit that no posting explains: {text}");
    assert!(text.contains("balance"), "the finding names the table: {text}");
}

#[test]
fn rates_are_shown_before_they_are_stored() {
    let data = folder("cli-rates");
    let file = data.join("prices.json");
    let price = |input: &str| {
        format!(
            r#"{{"claude-sonnet-4-5-20250929": {{"litellm_provider": "anthropic", "mode": "chat",
                "input_cost_per_token": {input}, "output_cost_per_token": 1.5e-05, "max_tokens": 64000}}}}"#
        )
    };
    let import = |extra: &[&str]| {
        let arguments = ["rates", "import", file.to_str().unwrap(), "--data", data.to_str().unwrap()];
        run(&[&arguments[..], extra].concat())
    };

    std::fs::write(&file, price("4e-06")).unwrap();
    let (code, text) = import(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("claude-sonnet-4-5-20250929"), "the difference is shown: {text}");
    let (_, again) = import(&["--apply"]);
    assert!(again.contains("claude-sonnet-4-5-20250929"), "showing stored nothing: {again}");
    let (_, after) = import(&[]);
    assert!(!after.contains("claude-sonnet-4-5-20250929"), "it is stored now: {after}");

    std::fs::write(&file, price("3000")).unwrap();
    let (code, text) = import(&["--apply"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("line 2"), "the refusal names the line: {text}");
}

fn make_admin(data: &str) {
    let mut child = tokenbank(&["admin", "create", "--email", "admin@example.com", "--data", data])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"a quiet long password\n").unwrap();
    let (code, text) = words(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{text}");
}

#[test]
fn an_admin_and_an_api_key_can_be_made() {
    let data = folder("cli-admin");
    let data = data.to_str().unwrap();
    make_admin(data);

    let key = ["api-key", "create", "--email", "admin@example.com", "--name", "laptop", "--data", data];
    let (code, text) = run(&key);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("tb_") && text.trim_end().lines().count() == 1, "one line with the key: {text}");
    let (code, text) = run(&["api-key", "create", "--email", "nobody@example.com", "--name", "x", "--data", data]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn an_account_is_frozen_and_released_and_what_holds_on_is_said() {
    let data = folder("cli-freeze");
    let data = data.to_str().unwrap();
    make_admin(data);
    let account = |what: &str, email: &str, reason: &str| {
        run(&["account", what, "--email", email, "--reason", reason, "--data", data])
    };
    let admin = "admin@example.com";
    let says = |(code, text): (i32, String), expected: i32, words: &str| {
        assert!(code == expected && text.contains(words), "{code}: {text}");
    };
    says(account("unfreeze", admin, "Looked at it."), 0, "was not frozen");
    says(account("freeze", admin, "Resells."), 0, "is frozen");
    says(account("freeze", admin, " "), 2, "is empty");
    says(run(&["account", "freeze", "--email", admin, "--data", data]), 2, "--reason");
    says(account("unfreeze", admin, "Talked to them."), 0, "is released");
    says(account("freeze", "nobody@example.com", "Why."), 1, "no user");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = server::db::Db::open_sqlite(&Path::new(data).join("tokenbank.sqlite")).await.unwrap();
        let server::db::Db::Sqlite { write, .. } = &db else { panic!("not SQLite") };
        let owed = "insert into account_freeze (account_id, cause, reference, frozen_at)
                    select account_id, 'owed', '', 0 from account";
        sqlx::query(owed).execute(write).await.unwrap();
        db.close().await;
    });
    says(account("unfreeze", admin, "Looked at it."), 1, "is still frozen since 1 Jan 1970");
}

#[test]
fn fresh_empties_only_what_the_demo_made() {
    let data = folder("cli-fresh");
    std::fs::write(data.join("thesis.txt"), "mine").unwrap();
    let (code, text) = run(&["demo", "--fresh", "--port", "0", "--data", data.to_str().unwrap()]);
    assert_eq!(code, 2, "{text}");
    assert!(data.join("thesis.txt").exists());
}

//! What a container's health check hears.

use super::installation::each_database;
use std::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_check_tells_a_server_that_answers_from_one_that_is_gone() {
    each_database(async |installation| {
        let process = installation.start().await;
        let address = process.url.trim_start_matches("http://").to_owned();
        assert_eq!(ask(&address), (Some(0), String::new()));
        process.kill().await;
        let (code, said) = ask(&address);
        assert_eq!(code, Some(1));
        assert!(said.contains(&address) && said.contains("does not answer"), "{said}");
    })
    .await;
}

fn ask(address: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenbank"))
        .args(["healthcheck", "--listen", address])
        .env_clear()
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

//! What the vault and the check of a key cost: secrets sealed and opened a second, and what checking a key adds to the time
//! that its provider takes, with a bare request beside it. `--anyway` runs on a loaded machine. About ten seconds.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/it/served.rs"]
#[allow(dead_code)]
mod served;
#[path = "../tests/it/support.rs"]
#[allow(dead_code)]
mod support;

use domain::id::{AccountId, ProviderKeyId};
use domain::provider::Provider;
use served::Served;
use server::provider_key::check_key;
use server::vault::{KeyRow, Owner};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::World;

const EACH: Duration = Duration::from_secs(2);
const CHECKS: usize = 400;
const SECRET: &str =
    "sk-ant-api03-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123AA";

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    if load > 0.5 && !std::env::args().any(|given| given == "--anyway") {
        eprintln!("The machine is busy (load {load}), so the numbers would mean nothing. Wait, or add --anyway.");
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { World::sqlite().await.run(measure).await });
}

async fn measure(world: &World) {
    let it = Served::open(world, 0).await;
    let (account_id, key_id) = (AccountId::new(world.clock.new_id()), ProviderKeyId::new(world.clock.new_id()));
    let row = KeyRow { account_id: &account_id, provider: Provider::Anthropic, key_id: &key_id, key_version: 1 };
    let vault = &it.server.vault;
    let sealed = vault.seal(Owner::Key(row), SECRET).unwrap();
    println!("Keys, on one core");
    println!(
        "{:<28} {:>12.0} a second",
        "sealed",
        a_second(|| drop(black_box(vault.seal(Owner::Key(row), SECRET).unwrap())))
    );
    println!(
        "{:<28} {:>12.0} a second",
        "opened",
        a_second(|| drop(black_box(vault.unseal(Owner::Key(row), &sealed).unwrap())))
    );

    // One after the other, so that a disturbance meets both.
    let (mut bare, mut checked) = (Vec::new(), Vec::new());
    let url = format!("{}/v1/models?limit=1", it.sandbox.anthropic_url());
    for _ in 0..CHECKS {
        let began = Instant::now();
        let answer = it.server.http.get(&url).header("x-api-key", SECRET).header("anthropic-version", "2023-06-01");
        black_box(answer.send().await.unwrap().bytes().await.unwrap());
        bare.push(began.elapsed());
        let began = Instant::now();
        black_box(check_key(&it.server, Provider::Anthropic, SECRET, None).await.unwrap());
        checked.push(began.elapsed());
    }
    let (bare, checked) = (median(bare), median(checked));
    println!("{:<28} {:>12.3} ms, of which the provider {:.3} ms", "a key checked, median", ms(checked), ms(bare));
}

fn a_second(work: impl Fn()) -> f64 {
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < EACH {
        (0..100).for_each(|_| work());
        done += 100;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

//! What the vault and the check of a key cost, each beside its floor: secrets sealed and opened a second beside the bare
//! cipher, which both need twice; and what checking a key adds to the time that its provider takes, beside a bare request.
//! `--anyway` runs on a loaded machine. About fifteen seconds.

use crate::served::Served;
use crate::support::World;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use domain::id::{AccountId, ProviderKeyId};
use domain::provider::Provider;
use server::provider_key::check_key;
use server::vault::{KeyRow, Owner};
use std::hint::black_box;
use std::time::{Duration, Instant};

const EACH: Duration = Duration::from_secs(2);
const CHECKS: usize = 400;
const SECRET: &str =
    "sk-ant-api03-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123AA";

pub fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { World::sqlite().await.run(measure).await });
}

async fn measure(world: &World) {
    let it = Served::open(world, 0).await;
    let (account_id, key_id) = (AccountId::new(world.clock.new_id()), ProviderKeyId::new(world.clock.new_id()));
    let row = KeyRow { account_id: &account_id, provider: Provider::Anthropic, key_id: &key_id, key_version: 1 };
    let vault = &it.server.vault;
    let sealed = vault.seal(Owner::Key(row), SECRET).unwrap();
    let cipher = Aes256Gcm::new(&[7_u8; 32].into());
    let (nonce, aad) = ([1_u8; 12], [2_u8; 150]);
    let bare = |msg: &[u8]| cipher.encrypt(&nonce.into(), Payload { msg, aad: &aad }).unwrap();
    println!("Keys, on one core");
    println!("{:<28} {:>12} {:>22} {:>8}", "", "a second", "bare AES-GCM, twice", "part");
    let floor = a_second(|| drop(black_box((bare(SECRET.as_bytes()), bare(&[3; 32])))));
    let sealed_a_second = a_second(|| drop(black_box(vault.seal(Owner::Key(row), SECRET).unwrap())));
    let opened_a_second = a_second(|| drop(black_box(vault.unseal(Owner::Key(row), &sealed).unwrap())));
    for (what, count) in [("sealed", sealed_a_second), ("opened", opened_a_second)] {
        println!("{what:<28} {count:>12.0} {floor:>22.0} {:>7.0}%", 100.0 * count / floor);
    }

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
    println!("\n{:<28} {:>12} {:>22} {:>8}", "", "median ms", "bare request, ms", "added");
    let added = checked.saturating_sub(bare);
    println!("{:<28} {:>12.3} {:>22.3} {:>8.3}", "a key checked", ms(checked), ms(bare), ms(added));
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

//! The benchmarks, each with its floor beside it, on a machine that does nothing else: `ledger`, `gateway`, `keys`, `sandbox`.
//! `scripts/bench` runs them. `--anyway` runs on a loaded machine.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gateway;
mod keys;
mod ledger;
mod sandbox;
#[path = "../tests/it/served.rs"]
#[allow(dead_code)]
mod served;
#[path = "../tests/it/support.rs"]
#[allow(dead_code)]
mod support;
#[path = "../tests/it/template.rs"]
mod template;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // It starts this program again for its other processes, and asks about the load itself.
        Some("gateway") => gateway::main(&arguments),
        Some(part @ ("keys" | "ledger" | "sandbox")) => {
            refuse_a_loaded_machine(&arguments);
            match part {
                "keys" => keys::main(),
                "ledger" => ledger::main(),
                _ => sandbox::main(),
            }
        }
        _ => {
            eprintln!("usage: ledger | gateway | keys | sandbox [--anyway]");
            std::process::exit(2);
        }
    }
}

fn refuse_a_loaded_machine(arguments: &[String]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    if load > 0.5 && !arguments.iter().any(|given| given == "--anyway") {
        eprintln!("The machine is busy (load {load}), so the numbers would mean nothing. Wait, or add --anyway.");
        std::process::exit(2);
    }
}

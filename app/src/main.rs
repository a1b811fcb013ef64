//! The binary `tokenbank`: joins the pages to the server, and holds the commands that run and check it.

// A page is one deeply nested type.
#![recursion_limit = "512"]

mod cli;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}

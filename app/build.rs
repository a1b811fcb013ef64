//! The optimised binary carries `target/site` inside it, and that folder's files change their names with their content. Cargo
//! only notices when it is told to look at the folder, so that a newly built site is never left out. An unoptimised binary
//! reads the folder when it runs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let optimised = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    // The browser half is what the site is made from; it must not wait for itself.
    if optimised && std::env::var_os("CARGO_FEATURE_SSR").is_some() {
        let site = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/site");
        if std::fs::create_dir_all(&site).is_ok() {
            println!("cargo::rerun-if-changed=../target/site");
        }
    }
}

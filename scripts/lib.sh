# shellcheck shell=bash
# What every script here shares. Source it first: it moves to the project's root and stops at the first failure.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

case ":$PATH:" in
*":$HOME/.cargo/bin:"*) ;;
*) PATH="$HOME/.cargo/bin:$PATH" ;;
esac
export PATH="$ROOT/target/tools/bin:$ROOT/node_modules/.bin:$PATH"

# One line of progress, on stderr so that a script's stdout stays its answer.
say() { printf '%s\n' "$*" >&2; }

# stop TEXT: says what is wrong and what to do, and ends the script.
stop() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# timed TEXT COMMAND...: says what begins, runs it, says how long it took. Its output is left as it is. No `||` behind
# it: that would let a function called here carry on after a failure.
timed() {
    local text=$1 begun=$SECONDS
    shift
    say "→ $text"
    "$@"
    say "  done in $((SECONDS - begun)) s"
}

# as_root COMMAND...: runs it with the rights that apt-get needs.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        stop "this needs root rights, and there is no sudo: $*"
    fi
}

# apt_install PACKAGE...: installs Debian packages, or says which ones are missing where there is no apt-get.
apt_install() {
    have apt-get || stop "please install these and try again (there is no apt-get here): $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# locked_version CRATE: the version that Cargo.lock names.
locked_version() {
    awk -v name="$1" '$1 == "name" && $3 == "\"" name "\"" { found = 1 }
        found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock
}

# A small quick build of tools that run once: optimised enough, and several times faster to compile.
cargo_install_tool() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR="$ROOT/target/tools/build" cargo install --root "$ROOT/target/tools" "$@" </dev/null >&2
}

# std_for_wasm SYSROOT: whether that toolchain can compile for the browser.
std_for_wasm() {
    compgen -G "$1/lib/rustlib/wasm32-unknown-unknown/lib/libstd-*.rlib" >/dev/null
}

# cargo_wasm ARGUMENT...: cargo for the browser half, with whichever toolchain has its standard library, and a target
# folder of its own, so that the two halves never wait for each other's lock or undo each other's work.
cargo_wasm() {
    local sysroot
    sysroot=$(rustc --print sysroot)
    if [ "$sysroot" != /usr ] && std_for_wasm "$sysroot"; then
        CARGO_TARGET_DIR="$ROOT/target/browser" cargo "$@"
    elif std_for_wasm /usr; then
        CARGO_TARGET_DIR="$ROOT/target/browser" RUSTUP_TOOLCHAIN=debian-web \
            CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 cargo "$@"
    else
        stop "no Rust toolchain here can compile for wasm32; run scripts/setup"
    fi
}

# The browser that the tests drive: CHROMIUM, or the first that is installed.
chromium_path() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && have "$name"; then
            command -v "$name"
            return
        fi
    done
}

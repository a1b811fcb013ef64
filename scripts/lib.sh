# shellcheck shell=bash
# What every script here shares. Source it first: it moves to the project's root and stops at the first failure.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

case ":$PATH:" in
*":$HOME/.cargo/bin:"*) ;;
*) PATH="$HOME/.cargo/bin:$PATH" ;;
esac
export PATH="$ROOT/node_modules/.bin:$PATH"

# One line of progress, on stderr so that a script's stdout stays its answer.
say() { printf '%s\n' "$*" >&2; }

# stop TEXT: says what is wrong and what to do, and ends the script.
stop() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# timed PART TEXT COMMAND...: says what begins, runs it, says how long it took, and notes that for the command's last lines.
# Its output is left as it is. No `||` behind it: that would let a function called here carry on after a failure.
timed() {
    local part=$1 text=$2 begun=$SECONDS
    shift 2
    say "→ $part: $text"
    "$@"
    say "  done in $((SECONDS - begun)) s"
    if [ -n "${TIMES:-}" ]; then printf '%s\t%s\t%s\n' "$part" "$((SECONDS - begun))" "$text" >>"$TIMES"; fi
}

# Called first by each command that people type: its last lines say where the time went, beside scripts/budget, and it fails
# when a part took far longer. A command inside another adds to the outer one's lines.
begin_command() {
    if [ -n "${TIMES:-}" ]; then return; fi
    COMMAND=$1
    TIMES=$(mktemp)
    export TIMES
}

# What is to be done when the script ends, however it ends: added to by whoever starts something.
AT_END=()
trap at_end EXIT

at_end() {
    local status=$? step
    for step in "${AT_END[@]}"; do $step || true; done
    if [ -n "${COMMAND:-}" ]; then
        say_where_the_time_went || { [ "$status" -ne 0 ] || status=1; }
        rm -f "$TIMES"
    fi
    exit "$status"
}

say_where_the_time_went() {
    say "$COMMAND: where the $((SECONDS / 60)) min $((SECONDS % 60)) s went"
    awk -F '\t' '
        FNR == NR { if ($0 !~ /^#/ && match($0, / [0-9]+$/)) budget[substr($0, 1, RSTART - 1)] = substr($0, RSTART + 1); next }
        { if (!($1 in took)) order[++parts] = $1; took[$1] += $2
          if ($2 >= 1) steps[$1] = steps[$1] (steps[$1] == "" ? "" : ", ") $3 " " $2 }
        END {
            for (i = 1; i <= parts; i++) {
                part = order[i]; allowed = (part in budget) ? budget[part] : 0
                over = allowed && took[part] > 3 * allowed; failed = failed || over
                printf "  %-14s %5d s of %4d  %s%s\n", part, took[part], allowed, steps[part], over ? "  <- FAR OVER ITS BUDGET" : ""
            }
            exit failed
        }' scripts/budget "$TIMES" >&2
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
    apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

apt_update() { as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >&2; }

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

# cargo_checked ARGUMENT...: cargo that lints our own crates, and checks the links of their documentation, while it compiles
# them: what is tested is what was linted, and nothing is compiled twice. See scripts/rustc-checked.
cargo_checked() {
    RUSTC_WORKSPACE_WRAPPER="$ROOT/scripts/rustc-checked" cargo "$@"
}

# Every program and test, linted and compiled, in one go. `make check` makes them and `make test` runs the same ones.
compile_everything() {
    timed Compiling "programs and tests, with lints and documentation" cargo_checked test --locked --no-run --all-targets
}

# The browser that the tests drive: CHROMIUM, or the first that is installed.
chromium_path() {
    local name
    for name in "${CHROMIUM:-}" chromium-headless-shell chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && have "$name"; then
            command -v "$name"
            return
        fi
    done
}

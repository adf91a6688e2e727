#!/usr/bin/env bash
# Installs the proxies that bench_controller and bench_routing compare with, each into its own
# environment: their packages are others than those of .venv. Usage: proxies_env.sh [PYTHON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install() { # ENVIRONMENT PACKAGE
    [ "$(cat "$1/made-of" 2>/dev/null)" = "$2" ] && return
    echo "Installing $2 into $1 ..."
    rm -rf "$1"
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
    echo "$2" > "$1/made-of"
}
python=${1:-python3}
install .venv-litellm "litellm[proxy]==1.108.7"
install .venv-sglang-router "sglang-router==0.3.2"

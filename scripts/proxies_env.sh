#!/bin/sh
# Install the proxies that bench_controller compares with, each into an environment of its own:
#   sh scripts/proxies_env.sh [PYTHON]
set -e
python=${1:-python3}
install() { # ENVIRONMENT PACKAGE
    [ -e "$1/installed" ] && return
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
    touch "$1/installed"
}
install .venv-litellm "litellm[proxy]==${LITELLM:-1.81.0}"
install .venv-sglang-router "sglang-router==${SGLANG_ROUTER:-0.3.2}"

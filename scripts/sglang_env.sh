#!/usr/bin/env bash
# Makes .venv-sglang: a real SGLang for machines without a GPU, of pinned versions only. Kept until
# the pins change. Its torch and transformers are not those of .venv, so it is an environment apart.
# Usage: sglang_env.sh [PYTHON]; the wheel of these pins is for Python 3.11 on Linux x86-64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pins=scripts/sglang-cpu.lock
# Their declared dependencies are CUDA builds, which the lock file replaces.
without_dependencies=(sglang==0.5.23 torchvision==0.28.0)

key=$( (cat "$pins"; echo "${without_dependencies[@]}") | sha256sum | cut -d ' ' -f 1)
[ "$(cat .venv-sglang/made-of 2>/dev/null)" = "$key" ] && exit 0

is_fit() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
python=
for candidate in "${1:-python3}" python3.11; do
    if is_fit "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || { echo "Python 3.11 is needed for SGLang: make test-sglang PYTHON=/path/to/python3.11" >&2; exit 1; }

echo "Installing SGLang into .venv-sglang; the first time takes a few minutes ..."
rm -rf .venv-sglang
"$python" -m venv .venv-sglang
pip=(.venv-sglang/bin/python -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" --requirement "$pins"
"${pip[@]}" --no-deps "${without_dependencies[@]}"
echo "$key" > .venv-sglang/made-of

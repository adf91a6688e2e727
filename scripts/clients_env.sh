#!/usr/bin/env bash
# Makes an environment for each lock file of scripts/clients, or for those named: clients of other
# people, whose packages are others than those of .venv. Kept until its lock file changes.
# Usage: clients_env.sh [PYTHON [NAME...]]
# A lock file is written anew by: uv pip freeze --python .venv-client-NAME/bin/python, without torch
# and what only a GPU needs; where a client needs torch, its line is that of scripts/constraints.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=0.13.9 # installs a hundred packages twenty times faster than pip does
python=${1:-python3}
shift || true
[ $# -gt 0 ] || set -- $(basename -s .lock scripts/clients/*.lock)

for name in "$@"; do
    lock=scripts/clients/$name.lock environment=.venv-client-$name
    [ -f "$lock" ] || { echo "There is no $lock: name one of scripts/clients" >&2; exit 1; }
    key=$(cat "$lock" <(echo "$uv") | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$environment/made-of" 2>/dev/null)" = "$key" ] && continue
    echo "Installing the clients of $lock into $environment ..."
    rm -rf "$environment"
    "$python" -m venv "$environment"
    pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
    "${pip[@]}" "uv==$uv"
    # By pip, which finds the build for this machine as it does for .venv, with what that needs; the
    # first, since pip would complain of what a client requires and the lock file leaves out.
    torch=$(grep '^torch==' "$lock" || true)
    [ -z "$torch" ] || "${pip[@]}" "$torch"
    "$environment/bin/uv" pip install --quiet --python "$environment/bin/python" --no-deps \
        --requirement <(grep -v '^torch==' "$lock")
    echo "$key" > "$environment/made-of"
done

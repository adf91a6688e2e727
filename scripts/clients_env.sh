#!/usr/bin/env bash
# Makes an environment for each lock file of scripts/clients: clients of other people, whose packages
# are others than those of .venv. Kept until its lock file changes. Usage: clients_env.sh [PYTHON]
# A lock file is written anew by: uv pip freeze --python .venv-client-NAME/bin/python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=0.13.9 # installs a hundred packages twenty times faster than pip does
python=${1:-python3}

for lock in scripts/clients/*.lock; do
    environment=.venv-client-$(basename "$lock" .lock)
    key=$(cat "$lock" <(echo "$uv") | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$environment/made-of" 2>/dev/null)" = "$key" ] && continue
    echo "Installing the clients of $lock into $environment ..."
    rm -rf "$environment"
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv"
    "$environment/bin/uv" pip install --quiet --python "$environment/bin/python" --no-deps --requirement "$lock"
    echo "$key" > "$environment/made-of"
done

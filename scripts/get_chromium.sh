#!/usr/bin/env bash
# Makes sure that the browser tests find a Chromium: the distribution's, otherwise Playwright's own.
# Usage: get_chromium.sh PYTHON
set -u
python=$1

found() {
    command -v chromium || "$python" - <<'EOF'
import pathlib
import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = playwright.chromium.executable_path
sys.exit(not pathlib.Path(path).exists())
EOF
}

found >/dev/null 2>&1 && exit 0
echo "Getting a Chromium for the browser tests ..."
if command -v apt-get >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    $as_root apt-get update -qq && $as_root apt-get install -y -qq chromium >/dev/null
fi
found >/dev/null 2>&1 && exit 0
"$python" -m playwright install chromium
found >/dev/null 2>&1 && exit 0
cat >&2 <<'EOF'
The browser tests need a Chromium, and neither the distribution's package nor Playwright's own could
be installed. Install one (Debian: apt-get install chromium) so that `chromium` is on the PATH, or run
the tests that need none: make check
EOF
exit 1

#!/usr/bin/env bash
# Makes sure that the tests find redis-server and promtool: those of the distribution's packages.
# The tests start servers of their own; a service that a package brings is neither used nor changed.
set -u

is_there() { command -v redis-server >/dev/null && command -v promtool >/dev/null; }

is_there && exit 0
echo "Getting redis-server and prometheus for the tests ..."
if command -v apt-get >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq &&
        $as_root apt-get install -y -qq --no-install-recommends redis-server prometheus >/dev/null
fi
is_there && exit 0
cat >&2 <<'EOF'
The tests of several controllers need redis-server, those of the alert rules need promtool, and the
packages could not be installed. Install both (Debian: apt-get install redis-server prometheus) so
that they are on the PATH, or run the tests that need neither: make check
EOF
exit 1

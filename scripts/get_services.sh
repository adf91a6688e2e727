#!/usr/bin/env bash
# Makes sure that the tests find redis-server, promtool and systemd-analyze: those of the
# distribution's packages. The tests start servers of their own; a service that a package brings is
# neither used nor changed.
set -u

is_there() {
    for program in redis-server promtool systemd-analyze; do
        command -v "$program" >/dev/null || return 1
    done
}

is_there && exit 0
echo "Getting redis-server, prometheus and systemd for the tests ..."
if command -v apt-get >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq &&
        $as_root apt-get install -y -qq --no-install-recommends \
            redis-server prometheus systemd >/dev/null
fi
is_there && exit 0
cat >&2 <<'EOF'
The tests of several controllers need redis-server, those of the alert rules promtool and those of
the units systemd-analyze, and the packages could not be installed. Install them (Debian: apt-get
install redis-server prometheus systemd) so that they are on the PATH, or run the tests that need
none of them: make check
EOF
exit 1

#!/usr/bin/env bash
# Runs a test program as an ordinary user: as root by another uid, else as who we are.
set -euo pipefail
program=$1; shift
[ "$(id -u)" = 0 ] || exec "$program" "$@"
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cp "$program" "$(dirname "$0")"/*.battery "$folder"; chmod -R a+rX "$folder"
cd /; ASSAY_BATTERY_DIR=$folder setpriv --reuid 61234 --regid 61234 --clear-groups "$folder/$(basename "$program")" "$@"

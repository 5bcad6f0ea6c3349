// Field by field from C's structs to the operators' own.

#include "kernels/program/c_interface.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/operators/decode_attention.h"
#include "kernels/operators/latent_prefill_attention.h"
#include "kernels/operators/prefill_attention.h"
#include "kernels/operators/rms_norm.h"
#include "kernels/operators/rope_kv_write.h"
#include "kernels/operators/w4a16_gemm.h"
#include "kernels/program/c_border.h"
#include "kernels/reference/rope.h"

namespace fleetsim::kernels {

std::string& last_error_text() {
  thread_local std::string text;
  return text;
}

namespace {

template <class Element>
DecodeAttentionArguments<Element> decode_arguments(const FleetsimDecodeAttention& c) {
  DecodeAttentionArguments<Element> arguments;
  arguments.query = static_cast<const Bf16*>(c.query);
  arguments.key_pages = static_cast<const Element*>(c.key_pages);
  arguments.value_pages = static_cast<const Element*>(c.value_pages);
  arguments.page_table = c.page_table;
  arguments.lengths = c.lengths;
  arguments.out = static_cast<Bf16*>(c.out);
  arguments.log_sum_exp = c.log_sum_exp;
  arguments.workspace = c.workspace;
  arguments.sequences = c.sequences;
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = c.pages_per_sequence;
  arguments.softmax_scale = c.softmax_scale;
  arguments.key_scale = c.key_scale;
  arguments.value_scale = c.value_scale;
  arguments.blocks = c.blocks;
  return arguments;
}

PrefillAttentionArguments prefill_arguments(const FleetsimPrefillAttention& c) {
  PrefillAttentionArguments arguments;
  arguments.query = static_cast<const Bf16*>(c.query);
  arguments.key_pages = static_cast<const Bf16*>(c.key_pages);
  arguments.value_pages = static_cast<const Bf16*>(c.value_pages);
  arguments.page_table = c.page_table;
  arguments.query_starts = c.query_starts;
  arguments.cached_lengths = c.cached_lengths;
  arguments.out = static_cast<Bf16*>(c.out);
  arguments.log_sum_exp = c.log_sum_exp;
  arguments.workspace = c.workspace;
  arguments.sequences = c.sequences;
  arguments.total_tokens = c.total_tokens;
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = c.pages_per_sequence;
  arguments.softmax_scale = c.softmax_scale;
  arguments.causal = c.causal != 0;
  return arguments;
}

template <class Element>
RopeKvWriteArguments<Element> rope_arguments(const FleetsimRopeKvWrite& c) {
  RopeKvWriteArguments<Element> arguments;
  arguments.qkv = static_cast<const Bf16*>(c.qkv);
  arguments.query = static_cast<Bf16*>(c.query);
  arguments.query_row = c.query_row;
  arguments.key_pages = static_cast<Element*>(c.key_pages);
  arguments.value_pages = static_cast<Element*>(c.value_pages);
  arguments.slots = c.slots;
  arguments.positions = c.positions;
  arguments.table = c.table;
  arguments.key_scale = c.key_scale;
  arguments.value_scale = c.value_scale;
  arguments.tokens = c.tokens;
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  return arguments;
}

/// Calls `work` with a value of the format's type.
template <class Work>
void with_kv_format(std::int32_t format, const Work& work) {
  if (format == FLEETSIM_BF16)
    work(Bf16{});
  else if (format == FLEETSIM_FP8)
    work(E4m3{});
  else
    throw std::invalid_argument("kv_format is " + std::to_string(format) +
                                "; keys and values are FLEETSIM_BF16 or FLEETSIM_FP8");
}

Stream stream_of(void* stream) { return static_cast<Stream>(stream); }

}  // namespace
}  // namespace fleetsim::kernels

using namespace fleetsim::kernels;

const char* fleetsim_last_error(void) { return last_error_text().c_str(); }

int fleetsim_decode_attention_workspace_bytes(const FleetsimDecodeAttention* arguments,
                                              size_t* bytes) {
  return across_border([&] {
    with_kv_format(arguments->kv_format, [&]<class Element>(Element) {
      *bytes = decode_attention_workspace_bytes(decode_arguments<Element>(*arguments));
    });
  });
}

int fleetsim_prepare_decode_attention_workspace(const FleetsimDecodeAttention* arguments,
                                                void* stream) {
  return across_border([&] {
    with_kv_format(arguments->kv_format, [&]<class Element>(Element) {
      prepare_decode_attention_workspace(decode_arguments<Element>(*arguments), stream_of(stream));
    });
  });
}

int fleetsim_decode_attention(const FleetsimDecodeAttention* arguments, void* stream) {
  return across_border([&] {
    with_kv_format(arguments->kv_format, [&]<class Element>(Element) {
      launch_decode_attention(decode_arguments<Element>(*arguments), stream_of(stream));
    });
  });
}

int fleetsim_prefill_attention_workspace_bytes(const FleetsimPrefillAttention* arguments,
                                               size_t* bytes) {
  return across_border(
      [&] { *bytes = prefill_attention_workspace_bytes(prefill_arguments(*arguments)); });
}

int fleetsim_prepare_prefill_attention_workspace(const FleetsimPrefillAttention* arguments,
                                                 void* stream) {
  return across_border([&] {
    prepare_prefill_attention_workspace(prefill_arguments(*arguments), stream_of(stream));
  });
}

int fleetsim_prefill_attention(const FleetsimPrefillAttention* arguments, void* stream) {
  return across_border(
      [&] { launch_prefill_attention(prefill_arguments(*arguments), stream_of(stream)); });
}

int fleetsim_latent_prefill_workspace_bytes(const FleetsimLatentPrefill*, size_t* bytes) {
  return across_border([&] { *bytes = kLatentPrefillWorkspaceBytes; });
}

int fleetsim_prepare_latent_prefill_workspace(const FleetsimLatentPrefill* arguments,
                                              void* stream) {
  return across_border(
      [&] { prepare_latent_prefill_workspace(arguments->workspace, stream_of(stream)); });
}

int fleetsim_latent_prefill(const FleetsimLatentPrefill* c, void* stream) {
  return across_border([&] {
    LatentPrefillArguments arguments;
    arguments.query = static_cast<const Bf16*>(c->query);
    arguments.keys = static_cast<const Bf16*>(c->keys);
    arguments.values = static_cast<const Bf16*>(c->values);
    arguments.query_starts = c->query_starts;
    arguments.cached_lengths = c->cached_lengths;
    arguments.key_starts = c->key_starts;
    arguments.out = static_cast<Bf16*>(c->out);
    arguments.log_sum_exp = c->log_sum_exp;
    arguments.workspace = c->workspace;
    arguments.sequences = c->sequences;
    arguments.total_tokens = c->total_tokens;
    arguments.total_keys = c->total_keys;
    arguments.heads = c->heads;
    arguments.causal = c->causal != 0;
    arguments.blocks = c->blocks;
    arguments.softmax_scale = c->softmax_scale;
    launch_latent_prefill(arguments, stream_of(stream));
  });
}

int fleetsim_rms_norm(const FleetsimRmsNorm* c, void* stream) {
  return across_border([&] {
    RmsNormArguments arguments;
    arguments.x = static_cast<const Bf16*>(c->x);
    arguments.residual = static_cast<Bf16*>(c->residual);
    arguments.weight = static_cast<const Bf16*>(c->weight);
    arguments.out.values = static_cast<Bf16*>(c->values);
    arguments.out.codes = static_cast<E4m3*>(c->codes);
    arguments.out.token_scales = c->token_scales;
    arguments.out.tensor_scale = c->tensor_scale;
    arguments.tokens = c->tokens;
    arguments.hidden = c->hidden;
    arguments.epsilon = c->epsilon;
    launch_rms_norm(arguments, stream_of(stream));
  });
}

int fleetsim_rope_kv_write(const FleetsimRopeKvWrite* arguments, void* stream) {
  return across_border([&] {
    with_kv_format(arguments->kv_format, [&]<class Element>(Element) {
      launch_rope_kv_write(rope_arguments<Element>(*arguments), stream_of(stream));
    });
  });
}

int fleetsim_rotary_table(int32_t head_dim, double theta, int32_t positions, float* table) {
  return across_border([&] {
    RotaryEmbedding embedding;
    embedding.head_dim = head_dim;
    embedding.theta = theta;
    const std::vector<float> values = rotary_table(embedding, positions);
    std::copy(values.begin(), values.end(), table);
  });
}

int fleetsim_w4a16_workspace_bytes(int32_t m, int32_t n, int32_t k, size_t* bytes,
                                   size_t* zeroed_bytes) {
  return across_border([&] {
    const W4a16Plan plan = plan_w4a16_gemm(m, n, k);
    *bytes = w4a16_workspace_bytes(plan);
    *zeroed_bytes = w4a16_counter_bytes(plan);
  });
}

int fleetsim_w4a16_gemm(const FleetsimW4a16Gemm* c, void* stream) {
  return across_border([&] {
    W4a16GemmArguments arguments;
    arguments.activations = static_cast<const Bf16*>(c->activations);
    arguments.weights = static_cast<const std::uint8_t*>(c->weights);
    arguments.out = static_cast<Bf16*>(c->out);
    arguments.m = c->m;
    arguments.n = c->n;
    arguments.k = c->k;
    arguments.workspace = c->workspace;
    launch_w4a16_gemm(arguments, plan_w4a16_gemm(c->m, c->n, c->k), stream_of(stream));
  });
}

int fleetsim_w4a16_tiles_bytes(int32_t n, int32_t k, size_t* bytes) {
  return across_border([&] { *bytes = w4a16_tiles_bytes(n, k); });
}

int fleetsim_pack_w4a16_tiles(const uint8_t* codes, const uint8_t* zeros, const uint16_t* scales,
                              int32_t n, int32_t k, uint8_t* tiles) {
  return across_border([&] {
    if (n < 1 || k < kInt4Group || k % kInt4Group != 0)
      throw std::invalid_argument("n must be at least 1 and k a multiple of 128");
    const std::size_t elements = static_cast<std::size_t>(n) * static_cast<std::size_t>(k);
    const std::size_t groups = elements / kInt4Group;
    Int4Weights weights;
    weights.n = n;
    weights.k = k;
    weights.codes.assign(codes, codes + elements);
    weights.zeros.assign(zeros, zeros + groups);
    for (std::size_t i = 0; i < groups; ++i) weights.scales.push_back(Bf16{scales[i]});
    const std::vector<std::uint8_t> packed = pack_w4a16_tiles(weights);
    std::copy(packed.begin(), packed.end(), tiles);
  });
}

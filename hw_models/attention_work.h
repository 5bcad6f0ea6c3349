#pragma once
// Attention operators: their work, and where a call lies on the surface of its family. A family is
// one kernel: backend, bytes of a KV element, width of a head, and whether a sliding window cuts
// keys off (kernels take another path then: FA3's decode is a third slower from the first key that
// is cut).
//
//   decode   streams = batch x kv_heads, context, group = query heads a KV head
//   prefill  longest = keys that the last query of a chunk sees, rows, group
//   mixed    streams = decodes x query_heads, decode context, longest, rows (of the chunks)
//   latent   decode: batch, context, heads; prefill: longest, rows, heads
//
// `rows` is the number of query rows (queries x query_heads) of a prompt without cached tokens that
// has the same work and the same longest row of tiles. So a chunk over cached tokens, which no
// public table holds, lies where prompts of the same parallelism were measured: on few rows time
// follows the longest row of tiles, on many the work. A window makes all rows of tiles alike:
// there `longest` is the mean number of keys, and `rows` are counted plainly.
//
// A call of chunks with decodes among them (PrefillAttentionShape with decodes > 0) is a family of
// its own where one kernel takes both without splitting keys, as FlashAttention 2 does: a decode is
// then a prompt of one token, every query head reads the keys for itself, and a lone decode over
// 16 k keys takes 366 us where it takes 62 among decodes (RTX PRO 6000, LLMServingSim's tables).
// trtllm runs chunks and decodes in two calls; for fa3 no table says, and their times are added
// less one floor.
//
// Chosen on the tables of AIConfigurator (H100, H200, B200, FA3 and TRT-LLM): batch x kv_heads
// stands for both (their split moves times by 2 % in the median), the group matters where it is 1
// and above 16. Shapes carry means: an iteration whose contexts differ is as long as its work in
// the large, but a longest request that dominates is not seen (kernels-and-cost-models §4.2).

#include <string>
#include <vector>

#include "hw_models/log_surface.h"
#include "hw_models/operator_shapes.h"

namespace fleetsim {

/// "decode-attention/fa3/kv2/d128", "prefill-attention/trtllm/kv1/d64/windowed",
/// "latent-decode/kv2". A width that nobody measured gives a name that nobody fitted: stand_ins.
std::string family_of(const DecodeAttentionShape& shape);
std::string family_of(const PrefillAttentionShape& shape);
std::string family_of(const LatentDecodeShape& shape);
std::string family_of(const LatentPrefillShape& shape);

/// FLOPs of the pairs that the mask leaves (naive: of all pairs), bytes of KV and of queries and
/// outputs once (naive: and of the scores; mixed: KV of the decodes once a query head). All extents
/// must be positive; queries and outputs are 16-bit.
OperatorWork work_of(const DecodeAttentionShape& shape);
OperatorWork work_of(const PrefillAttentionShape& shape);
OperatorWork work_of(const LatentDecodeShape& shape);
OperatorWork work_of(const LatentPrefillShape& shape);

/// Families whose surface may stand in for the shape's own when that was not fitted, best first:
/// the next head widths (kernels pad to them), the kernel without a window, the other KV type.
/// A time from one of them is extrapolated, whatever the place on its surface.
std::vector<std::string> stand_ins(const DecodeAttentionShape& shape);
std::vector<std::string> stand_ins(const PrefillAttentionShape& shape);
std::vector<std::string> stand_ins(const LatentDecodeShape& shape);
std::vector<std::string> stand_ins(const LatentPrefillShape& shape);
/// None for what is no attention.
std::vector<std::string> stand_ins(const OperatorShape& shape);

bool is_attention_family(const std::string& family);
/// Coordinates of a family's surface with the knots that fits use. CHECKs that it is a family of
/// attention.
std::vector<LogSurface::Axis> attention_knots_of(const std::string& family);

}  // namespace fleetsim

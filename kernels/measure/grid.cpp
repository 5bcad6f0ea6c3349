// How the order comes about. Every family lists its points in three levels: what a quick run
// measures, what makes up the grid of the fits, and what makes it denser. Within a level the order
// is drawn from the seed (sizes interleaved, so that a drift of clocks does not look like a trend),
// levels follow each other. Point i of n in a family then stands at (i + 1/2) / n, and the families
// are merged by that: wherever a budget cuts, every family has given the same share of its points.

#include "kernels/measure/grid.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "hw_models/check.h"
#include "kernels/measure/stack_shape.h"
#include "kernels/measure/timing.h"
#include "kernels/measure/work.h"

namespace fleetsim::kernels {
namespace {

constexpr std::int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

/// splitmix64 (Steele, Lea, Flood 2014): the grid must be the same on every machine, and nothing
/// about it is statistical but the shuffling.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(end));
  }
  /// Even in the logarithm, from `least` to `most`.
  std::int64_t log_even(std::int64_t least, std::int64_t most) {
    const double share = static_cast<double>(next() >> 11) * 0x1p-53;
    const double low = std::log2(static_cast<double>(least));
    const double high = std::log2(static_cast<double>(most));
    return std::clamp(static_cast<std::int64_t>(std::exp2(low + (high - low) * share)), least,
                      most);
  }

 private:
  std::uint64_t state_;
};

enum Level { quick = 0, core = 1, dense = 2 };
constexpr int kLevels = 3;

/// A family's points by level. A point that is there already is not taken again.
class Collection {
 public:
  void add(Level level, std::string_view op, const Point::Values& values) {
    Point point = sound_point(op, values);
    for (const auto& list : levels_)
      if (std::find(list.begin(), list.end(), point) != list.end()) return;
    levels_[level].push_back(std::move(point));
  }
  std::vector<Point> ordered(GridSize size, Draws& draws) {
    std::vector<Point> points;
    for (int level = quick; level < kLevels; ++level) {
      if (size == GridSize::quick && level > quick) break;
      std::vector<Point>& list = levels_[level];
      for (std::int64_t i = std::ssize(list) - 1; i > 0; --i)  // Fisher and Yates
        std::swap(list[static_cast<std::size_t>(i)],
                  list[static_cast<std::size_t>(draws.below(i + 1))]);
      points.insert(points.end(), list.begin(), list.end());
    }
    return points;
  }
  /// As they were added: ceilings go from big to small.
  std::vector<Point> as_added(GridSize size) const {
    std::vector<Point> points = levels_[quick];
    if (size == GridSize::full)
      for (int level = core; level < kLevels; ++level)
        points.insert(points.end(), levels_[level].begin(), levels_[level].end());
    return points;
  }

 private:
  std::vector<Point> levels_[kLevels];
};

std::string text(std::int64_t number) { return std::to_string(number); }
bool among(std::int64_t value, std::initializer_list<std::int64_t> list) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Ceilings -------------------------------------------------------------------------------------

void add_ceiling_points(Collection& points) {
  const auto add = [&](Level level, const char* kind, std::int64_t bytes, std::int64_t edge) {
    points.add(level, "ceiling", {{"kind", kind}, {"bytes", text(bytes)}, {"edge", text(edge)}});
  };
  for (const char* kind : {"read", "copy", "write"}) add(quick, kind, 4 * kGiB, 0);
  for (const char* kind : {"gemm_bf16", "gemm_fp8"}) {
    add(quick, kind, 0, 8192);
    add(quick, kind, 0, 4096);  // big ones are limited by power: the best of several counts
    add(core, kind, 0, 6144);
    add(core, kind, 0, 2048);
  }
  for (const char* kind : {"launch", "graph_launch", "graph_node"}) add(quick, kind, 0, 0);
  for (std::int64_t bytes = 256 * kMiB; bytes >= 64 * kKiB; bytes /= 4)
    for (const char* kind : {"host_to_device", "device_to_host", "both_ways"})
      add(bytes >= 64 * kMiB ? quick : core, kind, bytes, 0);
  for (const char* kind : {"read", "copy", "write"})
    for (const std::int64_t bytes : {1 * kGiB, 256 * kMiB}) add(core, kind, bytes, 0);
}

// GEMM -----------------------------------------------------------------------------------------

/// Shapes from the models' config.json; a test holds the sites to hw_models/weight_groups.
struct ModelShape {
  const char* name;
  std::int64_t hidden, heads, kv_heads, head_dim, ffn, vocab;
  std::vector<std::int64_t> tensor_parallel;
};
const std::vector<ModelShape>& model_shapes() {
  static const std::vector<ModelShape> shapes = {
      {"llama-3.1-8b", 4096, 32, 8, 128, 14336, 128256, {1}},
      {"llama-3.1-70b", 8192, 64, 8, 128, 28672, 128256, {8, 4, 2, 1}},
      {"qwen3-8b", 4096, 32, 8, 128, 12288, 151936, {1}},
  };
  return shapes;
}

constexpr const char* kHead = "head";

/// One model with few big experts, one with many small ones.
bool quick_site(const ExpertSite& site) {
  return site.model == "mixtral-8x7b" || site.model == "qwen3-30b-a3b";
}

void add_gemm(Collection& points, Level level, const char* dtype, std::int64_t m,
              const GemmSite& site, const char* algo) {
  points.add(
      level, "gemm",
      {{"dtype", dtype}, {"m", text(m)}, {"n", text(site.n)}, {"k", text(site.k)}, {"algo", algo}});
}

void add_gemm_points(Collection& points) {
  constexpr std::int64_t kRows[] = {1,   2,   4,   8,    16,   32,   64,   96,   128,  192,  256,
                                    384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384};
  constexpr std::int64_t kFp8Edges[] = {129, 257, 513, 1025, 2049};  // one past a tile
  constexpr std::int64_t kHeadRowsMax = 1024;  // the head sees one row a sequence, not every token
  const auto coarse = [](std::int64_t m) { return among(m, {1, 16, 64, 256, 1024, 4096}); };
  const auto quick_rows = [&](std::int64_t m) {
    return coarse(m) || among(m, {8, 128, 512, 8192});
  };
  for (const GemmSite& site : gemm_sites()) {
    const bool head = site.matrix == kHead;
    const bool quick_site =
        !head && (site.model == "llama-3.1-8b" || (site.model == "llama-3.1-70b" && site.tp == 8));
    for (const std::int64_t m : kRows) {
      if (head && m > kHeadRowsMax) continue;
      const Level level = quick_site && quick_rows(m) ? quick : core;
      add_gemm(points, level, "bf16", m, site, "top");
      if (head) continue;  // stays in 16 bits when the layers are quantised
      add_gemm(points, level, "fp8", m, site, "top");
      if (!coarse(m)) continue;
      for (const char* dtype : {"bf16", "fp8"}) add_gemm(points, dense, dtype, m, site, "best8");
      if (!quick_site) continue;
      const bool widest = site.matrix == "gate-up projection" && site.tp == 1;
      add_gemm(points, widest ? quick : core, "w4a16", m, site, "top");
      for (const char* dtype : {"fp8_block", "int8"}) add_gemm(points, core, dtype, m, site, "top");
    }
    if (head) continue;
    for (const std::int64_t m : kFp8Edges) add_gemm(points, core, "fp8", m, site, "top");
  }
  // what points of grouped_gemm are held to: as many rows at once, of one matrix
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t tokens : {1024, 4096, 16384}) {
      const std::int64_t rows = tokens * site.experts_per_token * site.local_experts / site.experts;
      add_gemm(points, core, "bf16", rows, {site.model, "gate-up", 1, 2 * site.ffn, site.hidden},
               "top");
      if (tokens != 4096)
        add_gemm(points, core, "bf16", rows, {site.model, "down", 1, site.hidden, site.ffn}, "top");
    }
}

// Attention ------------------------------------------------------------------------------------

struct HeadGroup {
  std::int64_t query_heads, kv_heads, head_dim;
};
/// Llama 8B (and 70B at TP2), 70B, one rank of 70B at TP8, heads of 64 (gpt-oss).
constexpr HeadGroup kGroups[] = {{32, 8, 128}, {64, 8, 128}, {8, 1, 128}, {64, 8, 64}};

Point::Values head_values(const HeadGroup& group, const char* kv_dtype, std::int64_t page_tokens) {
  return {{"kv_dtype", kv_dtype},
          {"query_heads", text(group.query_heads)},
          {"kv_heads", text(group.kv_heads)},
          {"head_dim", text(group.head_dim)},
          {"page_tokens", text(page_tokens)}};
}

void add_decode(Collection& points, Level level, const HeadGroup& group, const char* kv_dtype,
                std::int64_t page_tokens, const std::string& lengths) {
  constexpr std::int64_t kKvBytesMax =
      60'000'000'000;  // beside the copies of an 80 GB GPU: skipped
  std::int64_t tokens = 0;
  const auto list = parse_lengths(lengths);
  for (const std::int64_t one : *list) tokens += one;
  const std::int64_t element = kv_dtype == std::string("e4m3") ? 1 : 2;
  if (2 * group.kv_heads * group.head_dim * element * tokens > kKvBytesMax) return;
  Point::Values values = head_values(group, kv_dtype, page_tokens);
  values.emplace_back("lengths", lengths);
  points.add(level, "decode_attention", values);
}

void add_decode_points(Collection& points, Draws& draws) {
  constexpr std::int64_t kRaggedBatches = 60;
  // one long sequence among short ones, and the uniform batch of the same number of tokens
  for (const char* lengths : {"1x32768,63x512", "64x1016"})
    for (const char* kv_dtype : {"bf16", "e4m3"})
      add_decode(points, quick, kGroups[0], kv_dtype, 16, lengths);
  for (const HeadGroup& group : kGroups)
    for (const std::int64_t page_tokens : {16, 64})
      for (const char* kv_dtype : {"bf16", "e4m3"})
        for (const std::int64_t batch : {1, 4, 16, 64, 256})
          for (const std::int64_t context : {128, 512, 2048, 8192, 32768}) {
            const bool coarse = among(batch, {1, 16, 256}) && among(context, {512, 2048, 32768});
            const bool common = group.kv_heads == 8 && group.head_dim == 128 && page_tokens == 16;
            add_decode(points,
                       common && coarse    ? quick
                       : page_tokens == 16 ? core
                                           : dense,
                       group, kv_dtype, page_tokens, text(batch) + "x" + text(context));
          }
  add_decode(points, quick, kGroups[0], "bf16", 16, "1x1024");  // the latency goal's point
  for (std::int64_t i = 0; i < kRaggedBatches; ++i) {
    const std::int64_t batch = draws.log_even(4, 128);
    const std::int64_t longest = draws.log_even(512, 32768);
    std::vector<std::int64_t> lengths;
    for (std::int64_t j = 0; j < batch; ++j) lengths.push_back(draws.log_even(16, longest));
    const HeadGroup& group = kGroups[draws.below(2)];
    add_decode(points, i < 20 ? core : dense, group, draws.below(3) == 0 ? "e4m3" : "bf16", 16,
               lengths_text(lengths));
  }
}

/// Causal attention through pages of 16 tokens, on bf16.
struct PrefillPoint {
  HeadGroup group;
  std::string fresh, cached;
  const char* kv_dtype = "bf16";
  std::int64_t page_tokens = 16;
  bool causal = true;
  std::int64_t window = 0;
  const char* variant = "best";
};

void add_prefill(Collection& points, Level level, const PrefillPoint& point) {
  Point::Values values = head_values(point.group, point.kv_dtype, point.page_tokens);
  values.emplace_back("new_lengths", point.fresh);
  values.emplace_back("cached_lengths", point.cached);
  values.emplace_back("causal", point.causal ? "1" : "0");
  values.emplace_back("window", text(point.window));
  values.emplace_back("variant", point.variant);
  points.add(level, "prefill_attention", values);
}

void add_prefill_points(Collection& points, Draws& draws) {
  constexpr std::int64_t kRaggedMixes = 24;
  for (const HeadGroup& group : {kGroups[0], kGroups[1]})
    for (const std::int64_t fresh : {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384})
      for (const std::int64_t cached : {0, 1024, 8192, 32768}) {
        const bool coarse = among(fresh, {128, 512, 2048, 8192, 16384}) && among(cached, {0, 8192});
        add_prefill(points, coarse ? quick : core,
                    {group, "1x" + text(fresh), "1x" + text(cached)});
      }
  for (const std::int64_t fresh : {2048, 8192}) {
    const PrefillPoint plain = {kGroups[0], "1x" + text(fresh), "1x0"};
    PrefillPoint point = plain;
    point.page_tokens = 64;
    add_prefill(points, core, point);
    point.page_tokens = fresh;  // one page: what paging costs beside it
    add_prefill(points, fresh == 8192 ? quick : core, point);
    point = plain;
    point.causal = false;
    add_prefill(points, dense, point);
    point = plain;
    point.group = kGroups[3];
    add_prefill(points, dense, point);
    point = plain;
    for (const char* variant : {"portable", "one_consumer", "two_consumers"}) {
      point.variant = variant;
      add_prefill(points, core, point);
    }
  }
  for (const std::int64_t fresh : {512, 2048, 8192, 16384})
    for (const std::int64_t cached : {0, 8192}) {
      PrefillPoint point = {kGroups[0], "1x" + text(fresh), "1x" + text(cached)};
      point.kv_dtype = "e4m3";
      add_prefill(points, fresh == 8192 && cached == 0 ? quick : core, point);
    }
  // a chunk beside decodes, in one call
  for (const std::int64_t decodes : {16, 64, 256}) {
    const std::string beside = "," + text(decodes) + "x";
    for (const std::int64_t cached : {0, 8192})
      add_prefill(points, decodes == 64 && cached == 8192 ? quick : core,
                  {kGroups[0], "1x512" + beside + "1", "1x" + text(cached) + beside + "2047"});
    add_prefill(points, dense, {kGroups[1], "1x2048" + beside + "1", "1x4096" + beside + "2047"});
  }
  // windows: Mistral's and Gemma's lengths, and gpt-oss's on its heads
  for (const std::int64_t fresh : {512, 8192})
    for (const std::int64_t cached : {0, 32768}) {
      PrefillPoint point = {kGroups[0], "1x" + text(fresh), "1x" + text(cached)};
      point.window = 1024;
      add_prefill(points, fresh == 8192 && cached == 0 ? quick : core, point);
      point.window = 4096;
      add_prefill(points, dense, point);
      point.group = kGroups[3];
      point.window = 128;
      add_prefill(points, core, point);
    }
  for (std::int64_t i = 0; i < kRaggedMixes; ++i) {
    const std::int64_t batch = draws.log_even(2, 32);
    std::int64_t left = draws.log_even(1024, 16384);  // new tokens of the whole batch
    std::vector<std::int64_t> fresh, cached;
    for (std::int64_t j = 0; j < batch && left > 0; ++j) {
      fresh.push_back(std::min(left, draws.log_even(16, 4096)));
      left -= fresh.back();
      cached.push_back(draws.below(2) == 0 ? 0 : draws.log_even(64, 16384));
    }
    const HeadGroup& group = kGroups[draws.below(2)];
    add_prefill(points, i < 12 ? core : dense, {group, lengths_text(fresh), lengths_text(cached)});
  }
}

void add_latent(Collection& points, Level level, std::int64_t heads, std::int64_t query_tokens,
                std::int64_t page_tokens, const std::string& lengths) {
  points.add(level, "latent_decode_attention",
             {{"kv_dtype", "bf16"},
              {"heads", text(heads)},
              {"query_tokens", text(query_tokens)},
              {"page_tokens", text(page_tokens)},
              {"lengths", lengths}});
}

/// DeepSeek-V3 and Kimi K2 have 128 and 64 heads; 16 are those of a rank at TP8.
void add_latent_points(Collection& points) {
  for (const std::int64_t heads : {128, 64, 16})
    for (const std::int64_t batch : {1, 4, 16, 64, 256})
      for (const std::int64_t context : {512, 2048, 8192, 32768, 65536}) {
        const std::string lengths = text(batch) + "x" + text(context);
        const bool few = among(batch, {1, 16, 256}), coarse = among(context, {512, 2048, 32768});
        if (heads != 64 || (few && coarse))
          add_latent(points, heads != 64 && few && coarse ? quick : core, heads, 1, 64, lengths);
        if (heads != 64 && few && among(context, {2048, 32768}))
          add_latent(points, core, heads, 2, 64, lengths);
      }
  for (const std::int64_t page_tokens : {16, 64})  // ragged, and in small pages
    add_latent(points, core, 16, 1, page_tokens, "1x32768,63x512");
}

void add_latent_prefill_points(Collection& points) {
  for (const std::int64_t heads : {128, 64, 16})
    for (const std::int64_t fresh : {256, 1024, 2048, 4096, 8192, 16384})
      for (const std::int64_t cached : {0, 8192}) {
        const bool coarse = heads != 64 && among(fresh, {1024, 8192}) && cached == 0;
        points.add(coarse ? quick : core, "latent_prefill_attention",
                   {{"kv_dtype", "bf16"},
                    {"heads", text(heads)},
                    {"new_lengths", "1x" + text(fresh)},
                    {"cached_lengths", "1x" + text(cached)}});
      }
  points.add(core, "latent_prefill_attention",
             {{"kv_dtype", "bf16"},
              {"heads", "128"},
              {"new_lengths", "1x4096,7x512,1x100"},
              {"cached_lengths", "1x0,7x1024,1x8000"}});
}

// KV paging ------------------------------------------------------------------------------------

void add_verify_points(Collection& points) {
  constexpr std::int64_t kCachedMax = std::int64_t{2} << 20;  // tokens: 8 GiB of these heads' KV
  for (const std::int64_t batch : {1, 16, 64, 256})
    for (const std::int64_t context : {512, 2048, 8192, 32768})
      for (const std::int64_t tokens : {4, 8, 16, 64})
        for (const char* draft : {"chain", "tree"}) {
          if (batch * context > kCachedMax) continue;
          const bool chain = std::string_view(draft) == "chain";
          // a grid of drafts of 8, and along the lengths of drafts at two of its sites
          const bool site = (batch == 1 && context == 8192) || (batch == 64 && context == 2048);
          if (!site && !(chain && tokens == 8)) continue;
          const bool coarse = site && tokens == 8;
          Point::Values values = head_values(kGroups[0], "bf16", 16);
          values.emplace_back("lengths", text(batch) + "x" + text(context));
          values.emplace_back("draft_tokens", text(tokens));
          values.emplace_back("draft", draft);
          points.add(coarse ? quick : core, "verify_attention", values);
        }
}

void add_rope_points(Collection& points) {
  for (const HeadGroup& group : {kGroups[0], kGroups[1], kGroups[2]})
    for (const char* kv_dtype : {"bf16", "e4m3"})
      for (const std::int64_t tokens : {1, 8, 64, 256, 1024, 2048, 4096, 16384}) {
        Point::Values values = head_values(group, kv_dtype, 16);
        values.emplace_back("tokens", text(tokens));
        const bool first = group.query_heads == 32 && among(tokens, {64, 2048, 16384});
        points.add(first ? quick : core, "rope_kv_write", values);
      }
}

/// Bytes of a KV block of Llama 8B: 16 tokens of one layer, 64 of one, 16 of all 32 layers.
constexpr std::int64_t kBlockBytes[] = {64 * kKiB, 256 * kKiB, 2 * kMiB};

void add_block_points(Collection& points, const char* op) {
  for (const std::int64_t bytes : kBlockBytes)
    for (const std::int64_t blocks : {1, 16, 256, 1024, 4096})
      if (bytes * blocks <= 2 * kGiB)
        points.add(among(bytes, {64 * kKiB}) && among(blocks, {16, 1024, 4096}) ? quick : core, op,
                   {{"block_bytes", text(bytes)}, {"blocks", text(blocks)}});
}

void add_swap_points(Collection& points) {
  for (const char* method : {"memcpy_batch", "memcpy_loop", "sm_kernel"})
    for (const char* direction : {"to_host", "to_device"})
      for (const std::int64_t bytes : kBlockBytes)
        for (const std::int64_t blocks : {1, 16, 256, 1024})
          if (bytes * blocks <= 512 * kMiB)
            points.add(bytes >= 256 * kKiB && among(blocks, {16, 256}) ? quick : core, "swap",
                       {{"method", method},
                        {"direction", direction},
                        {"block_bytes", text(bytes)},
                        {"blocks", text(blocks)}});
}

// Row-wise -------------------------------------------------------------------------------------

constexpr std::int64_t kTokens[] = {1, 8, 64, 256, 1024, 2048, 4096, 16384};
bool quick_tokens(std::int64_t tokens) { return among(tokens, {64, 2048}); }

void add_norm_points(Collection& points) {
  for (const std::int64_t hidden : {4096, 8192})
    for (const std::int64_t tokens : kTokens)
      for (const auto& [residual, output] :
           {std::pair{"1", "bf16"}, std::pair{"1", "e4m3"}, std::pair{"0", "bf16"}})
        points.add(hidden == 4096 && quick_tokens(tokens) ? quick : core, "rms_norm",
                   {{"tokens", text(tokens)},
                    {"hidden", text(hidden)},
                    {"residual", residual},
                    {"output", output}});
}

void add_silu_points(Collection& points) {
  for (const std::int64_t width : {14336, 3584, 28672})  // Llama 8B, 70B at TP8 and TP1
    for (const std::int64_t tokens : kTokens)
      for (const char* output : {"bf16", "e4m3"})
        points.add(width == 14336 && quick_tokens(tokens) ? quick : core, "silu_mul",
                   {{"tokens", text(tokens)}, {"width", text(width)}, {"output", output}});
}

void add_embedding_points(Collection& points) {
  for (const std::int64_t hidden : {4096, 8192})
    for (const std::int64_t tokens : kTokens)
      points.add(hidden == 4096 && quick_tokens(tokens) ? quick : core, "embedding",
                 {{"tokens", text(tokens)}, {"hidden", text(hidden)}, {"vocab", "128256"}});
}

void add_sampling_points(Collection& points) {
  for (const std::int64_t vocab : {128256, 32000, 151936})
    for (const std::int64_t rows : {1, 8, 64, 256})
      for (const char* method : {"greedy", "gumbel", "top_k", "top_p", "top_k_top_p"})
        points.add(vocab == 128256 && among(rows, {1, 64}) ? quick : core, "sampling",
                   {{"rows", text(rows)}, {"vocab", text(vocab)}, {"method", method}});
}

void add_rejection_points(Collection& points) {
  for (const std::int64_t requests : {1, 16, 64, 256})
    for (const std::int64_t tokens : {4, 8, 64})
      for (const char* draft : {"chain", "tree"})
        for (const char* drafts : {"given", "drawn"}) {
          if (requests * tokens > 1024) continue;  // 0.5 GB of logits, and of probabilities
          const bool plain = std::string_view(draft) == "chain" && tokens == 4;
          if (!plain && !among(requests, {16})) continue;
          points.add(plain && among(requests, {1, 64}) ? quick : core, "rejection_sampling",
                     {{"requests", text(requests)},
                      {"draft_tokens", text(tokens)},
                      {"vocab", "128256"},
                      {"draft", draft},
                      {"drafts", drafts}});
        }
}

void add_all_reduce_points(Collection& points) {
  for (const std::int64_t gpus : {2, 4, 8})
    for (const char* algorithm : {"one_shot", "two_shot", "nccl"})
      for (std::int64_t bytes = 16 * kKiB; bytes <= 512 * kMiB; bytes *= bytes < 64 * kMiB ? 4 : 8)
        points.add(core, "all_reduce",
                   {{"algorithm", algorithm}, {"gpus", text(gpus)}, {"bytes", text(bytes)}});
}

// Iterations -----------------------------------------------------------------------------------

struct Composition {
  Level level;
  const char* fresh;
  const char* cached;
  bool each_part = false;  // every operator is measured alone, too
};
/// Batches as engines make them, and batches that are hard to predict. Decode: one new token each.
constexpr Composition kCompositions[] = {
    // decode, 128 KiB of keys and values a token: up to 69 GB
    {quick, "1x1", "1x2047"},
    {quick, "64x1", "64x2047", true},
    {quick, "256x1", "256x511"},
    {core, "1x1", "1x511"},
    {core, "1x1", "1x8191"},
    {core, "8x1", "8x511"},
    {core, "8x1", "8x2047"},
    {core, "8x1", "8x8191"},
    {core, "64x1", "64x511"},
    {core, "64x1", "64x8191"},
    {core, "256x1", "256x2047"},
    // prefill
    {quick, "1x2048", "1x0", true},
    {core, "1x512", "1x0"},
    {core, "1x8192", "1x0"},
    // a chunk beside decodes
    {quick, "1x512,64x1", "1x8192,64x1023", true},
    // one long sequence among short ones
    {core, "64x1", "1x32767,63x511"},
    // nearly full: the longest contexts that fit
    {core, "16x1", "8x32767,8x30000"},
    // one token more than tiles hold
    {core, "1x2049", "1x0"},
    {core, "129x1", "129x1000"},
    // a ragged tail: the ends of prompts, a page that has just begun, decodes of all ages
    {core, "1x37,1x1,1x129,1x511,60x1", "1x4096,1x16,1x0,1x1,20x15,20x700,20x3001"},
    // many short prompts at once; a small piece of a very long one
    {core, "32x120", "32x0"},
    {core, "1x16,1x1", "1x32768,1x0"},
};

bool has_prompts(const Composition& batch) {
  const auto fresh = *parse_lengths(batch.fresh);
  return std::any_of(fresh.begin(), fresh.end(), [](std::int64_t q) { return q > 1; });
}

void add_iteration(Collection& points, Level level, const Composition& batch, const char* stack,
                   const char* weights, const char* kv_dtype, const char* mode, const char* part) {
  points.add(level, "iteration",
             {{"stack", stack},
              {"weights", weights},
              {"kv_dtype", kv_dtype},
              {"page_tokens", "16"},
              {"mode", mode},
              {"part", part},
              {"new_lengths", batch.fresh},
              {"cached_lengths", batch.cached}});
}

/// Whole iterations of all batches; of those of a quick run also one rank of 70B, fp8 weights and
/// keys; of three every operator alone. Engines capture decode batches; others they launch one by
/// one or as pieces of a graph.
void add_iteration_points(Collection& points) {
  const char *const small = stack_shapes()[0].name, *const rank = stack_shapes()[1].name;
  for (const Composition& batch : kCompositions) {
    const bool prompts = has_prompts(batch);
    add_iteration(points, batch.level, batch, small, "bf16", "bf16", "graph", "all");
    if (prompts) add_iteration(points, core, batch, small, "bf16", "bf16", "eager", "all");
    for (int part = 0; batch.each_part && part < kStackParts; ++part)
      add_iteration(points, dense, batch, small, "bf16", "bf16", "graph",
                    name_of(static_cast<StackPart>(part)));
    if (batch.level != quick) continue;
    add_iteration(points, core, batch, rank, "bf16", "bf16", "graph", "all");
    add_iteration(points, core, batch, small, "fp8", "bf16", "graph", "all");
    add_iteration(points, core, batch, small, "fp8", "e4m3", "graph", "all");
  }
}

// Experts --------------------------------------------------------------------------------------

constexpr std::int64_t kExpertTokens[] = {1, 16, 64, 256, 1024, 4096, 16384};

Point::Values expert_values(const ExpertSite& site, std::int64_t tokens, std::int64_t skew) {
  return {{"tokens", text(tokens)},
          {"experts", text(site.experts)},
          {"local_experts", text(site.local_experts)},
          {"experts_per_token", text(site.experts_per_token)},
          {"skew_hundredths", text(skew)}};
}

void add_grouped(Collection& points, Level level, const char* dtype, const ExpertSite& site,
                 bool up, std::int64_t tokens, std::int64_t skew) {
  Point::Values values = expert_values(site, tokens, skew);
  values.emplace_back("dtype", dtype);
  values.emplace_back("n", text(up ? 2 * site.ffn : site.hidden));
  values.emplace_back("k", text(up ? site.hidden : site.ffn));
  points.add(level, "grouped_gemm", values);
}

void add_grouped_points(Collection& points) {
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t tokens : kExpertTokens) {
      const bool first = among(tokens, {64, 4096}) && quick_site(site);
      add_grouped(points, first ? quick : core, "bf16", site, true, tokens, 0);
      if (!among(tokens, {1, 64, 1024, 16384})) continue;
      add_grouped(points, core, "bf16", site, false, tokens, 0);
      if (tokens == 1) continue;
      add_grouped(points, core, "bf16", site, true, tokens, 70);
      if (!quick_site(site)) continue;
      add_grouped(points, dense, "bf16", site, true, tokens, 100);
      add_grouped(points, dense, "fp8", site, true, tokens, 0);
    }
}

void add_expert_layer_points(Collection& points) {
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t tokens : kExpertTokens)
      for (const std::int64_t skew : {0, 70}) {
        const bool coarse = among(tokens, {64, 4096});
        if (skew > 0 && !coarse) continue;
        const bool first = coarse && skew == 0 && site.model == "mixtral-8x7b";
        Point::Values values = expert_values(site, tokens, skew);
        values.emplace_back("dtype", "bf16");
        values.emplace_back("hidden", text(site.hidden));
        values.emplace_back("ffn", text(site.ffn));
        points.add(first ? quick : core, "experts", values);
      }
}

void add_expert_row_points(Collection& points, const char* op) {
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t tokens : {1, 64, 1024, 4096, 16384}) {
      const bool first = among(tokens, {64, 4096}) && site.model == "qwen3-30b-a3b";
      Point::Values values = expert_values(site, tokens, 0);
      values.emplace_back("hidden", text(site.hidden));
      points.add(first ? quick : core, op, values);
    }
}

void add_routing_points(Collection& points) {
  for (const ExpertSite& site : expert_sites())
    for (const std::int64_t tokens : {1, 64, 1024, 16384})
      points.add(quick_site(site) && tokens == 1024 ? quick : core, "expert_routing",
                 {{"rule", site.model == "deepseek-v3" ? "sigmoid_groups" : "softmax"},
                  {"tokens", text(tokens)},
                  {"experts", text(site.experts)},
                  {"experts_per_token", text(site.experts_per_token)}});
}

Collection collect(std::string_view op, Draws& draws) {
  Collection points;
  if (op == "gemm") add_gemm_points(points);
  if (op == "decode_attention") add_decode_points(points, draws);
  if (op == "prefill_attention") add_prefill_points(points, draws);
  if (op == "latent_decode_attention") add_latent_points(points);
  if (op == "latent_prefill_attention") add_latent_prefill_points(points);
  if (op == "verify_attention") add_verify_points(points);
  if (op == "rope_kv_write") add_rope_points(points);
  if (op.starts_with("block_")) add_block_points(points, std::string(op).c_str());
  if (op == "swap") add_swap_points(points);
  if (op == "rms_norm") add_norm_points(points);
  if (op == "silu_mul") add_silu_points(points);
  if (op == "embedding") add_embedding_points(points);
  if (op == "sampling") add_sampling_points(points);
  if (op == "rejection_sampling") add_rejection_points(points);
  if (op == "all_reduce") add_all_reduce_points(points);
  if (op == "expert_routing") add_routing_points(points);
  if (op == "expert_permute" || op == "expert_unpermute")
    add_expert_row_points(points, std::string(op).c_str());
  if (op == "grouped_gemm") add_grouped_points(points);
  if (op == "experts") add_expert_layer_points(points);
  if (op == "iteration") add_iteration_points(points);
  return points;
}

/// Filling operands, capturing graphs, checking a sample in float64: what §4.6 plans for a block,
/// over its points, less the timing. Not measured yet.
struct Preparation {
  const char* op;
  double seconds;
};
constexpr Preparation kPreparations[] = {
    {"ceiling", 0.3},
    {"gemm", 0.06},
    {"decode_attention", 0.15},
    {"prefill_attention", 0.4},
    {"rope_kv_write", 0.3},
    {"block_copy", 0.3},
    {"block_gather", 0.3},
    {"block_scatter", 0.3},
    {"swap", 0.3},
    {"rms_norm", 0.1},
    {"silu_mul", 0.1},
    {"embedding", 0.1},
    {"sampling", 0.1},
    {"all_reduce", 0.001},  // refused at once where there is one GPU
    {"iteration", 0.3},
    {"latent_decode_attention", 0.3},
    {"latent_prefill_attention", 0.3},
    {"verify_attention", 0.2},
    {"rejection_sampling", 0.1},
    {"expert_routing", 0.03},
    {"expert_permute", 0.06},
    {"expert_unpermute", 0.06},
    {"grouped_gemm", 0.06},
    {"experts", 0.12},
};

}  // namespace

std::vector<GemmSite> gemm_sites() {
  std::vector<GemmSite> sites;
  for (const ModelShape& m : model_shapes())
    for (const std::int64_t tp : m.tensor_parallel) {
      const std::int64_t heads = m.heads / tp,
                         kv_heads = std::max<std::int64_t>(1, m.kv_heads / tp);
      const GemmSite all[] = {
          {m.name, "qkv projection", tp, (heads + 2 * kv_heads) * m.head_dim, m.hidden},
          {m.name, "output projection", tp, m.hidden, heads * m.head_dim},
          {m.name, "gate-up projection", tp, 2 * m.ffn / tp, m.hidden},
          {m.name, "down projection", tp, m.hidden, m.ffn / tp},
          {m.name, kHead, tp, m.vocab / tp, m.hidden},
      };
      for (const GemmSite& site : all)
        if (std::none_of(sites.begin(), sites.end(), [&](const GemmSite& other) {
              return other.n == site.n && other.k == site.k;
            }))
          sites.push_back(site);
    }
  return sites;
}

std::vector<ExpertSite> expert_sites() {
  return {{"mixtral-8x7b", 4096, 14336, 8, 8, 2},
          {"qwen3-30b-a3b", 2048, 768, 128, 128, 8},
          {"gpt-oss-120b", 2880, 2880, 128, 128, 4},
          {"deepseek-v3", 7168, 2048, 256, 32, 8}};
}

std::vector<Point> bench_grid(GridSize size, std::string_view only_op, std::uint64_t seed) {
  CHECK(only_op.empty() || find_operator(only_op) != nullptr, std::string(only_op));
  Collection ceilings;
  add_ceiling_points(ceilings);
  std::vector<Point> points = ceilings.as_added(size);

  struct Placed {
    double place;
    std::size_t family;
    Point point;
  };
  std::vector<Placed> placed;
  for (std::size_t family = 0; family < operator_axes().size(); ++family) {
    const std::string& op = operator_axes()[family].op;
    if (op == "ceiling" || (!only_op.empty() && op != only_op)) continue;
    Draws draws(seed ^ (0x632be59bd9b4e019 * (family + 1)));  // leaving others out changes nothing
    const std::vector<Point> list = collect(op, draws).ordered(size, draws);
    for (std::size_t i = 0; i < list.size(); ++i)
      placed.push_back(
          {(static_cast<double>(i) + 0.5) / static_cast<double>(list.size()), family, list[i]});
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.place, a.family) < std::tie(b.place, b.family);
  });
  for (Placed& one : placed) points.push_back(std::move(one.point));
  return points;
}

std::vector<Point> in_reverse(std::vector<Point> points) {
  const auto behind_ceilings = std::find_if(points.begin(), points.end(),
                                            [](const Point& p) { return p.op() != "ceiling"; });
  std::reverse(behind_ceilings, points.end());
  return points;
}

double estimated_seconds(const Point& point) {
  // round achieved rates of a Hopper GPU in a PCIe 5 host, kernels-and-cost-models §2
  constexpr double kBytesPerSecond = 4e12, kFlopsPerSecond = 600e12, kLinkBytesPerSecond = 50e9;
  constexpr double kRunFloor = 5e-6;
  constexpr double kFirstReplays = 2;  // which find how many runs a replay has
  const Work work = work_of(point);
  const double run =
      std::max({kRunFloor, work.bytes / kBytesPerSecond, work.flops / kFlopsPerSecond,
                work.link_bytes / kLinkBytesPerSecond});
  const TimingRule rule;
  const double replay = std::max(rule.replay_ns_min * 1e-9, run);
  const double samples =
      std::clamp(rule.sampled_ns_enough * 1e-9 / replay, static_cast<double>(rule.samples_min),
                 static_cast<double>(rule.samples_enough));
  const double timing =
      std::min(rule.point_ns_max * 1e-9, (kFirstReplays + rule.warmups + samples) * replay);
  const bool eight = point.op() == "gemm" && point.word("algo") == "best8";
  for (const Preparation& row : kPreparations)
    if (point.op() == row.op) return row.seconds + timing + (eight ? 8 * 3 * run : 0);
  CHECK(false, point.op());
  return 0;
}

}  // namespace fleetsim::kernels

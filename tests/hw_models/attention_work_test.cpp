// What attention computes and moves, where its calls lie, and rates without a table.

#include "hw_models/attention_work.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "hw_models/gpu_spec.h"
#include "hw_models/parametric_attention.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

/// `requests` chunks of `queries` tokens behind `cached` ones, 32 query and 8 KV heads of 128.
PrefillAttentionShape chunks(double requests, double queries, double cached,
                             AttentionBackend backend = AttentionBackend::fa3) {
  PrefillAttentionShape shape;
  shape.backend = backend;
  shape.requests = requests;
  shape.queries = requests * queries;
  shape.pairs = requests * (queries * cached + queries * (queries + 1) / 2);
  shape.context = requests * (cached + queries);
  shape.query_heads = 32;
  shape.kv_heads = 8;
  return shape;
}

DecodeAttentionShape decodes(double batch, double context,
                             AttentionBackend backend = AttentionBackend::fa3) {
  DecodeAttentionShape shape;
  shape.backend = backend;
  shape.batch = batch;
  shape.context = context;
  shape.query_heads = 32;
  shape.kv_heads = 8;
  return shape;
}

double seconds(const PrefillAttentionShape& shape, const char* gpu) {
  return parametric_attention(shape, *find_gpu(gpu)).time(work_of(shape)).time.value;
}
double seconds(const DecodeAttentionShape& shape, const char* gpu) {
  return parametric_attention(shape, *find_gpu(gpu)).time(work_of(shape)).time.value;
}

}  // namespace

TEST_CASE("a family is a kernel: phase, backend, KV bytes, width, and whether a window cuts",
          "[unit]") {
  DecodeAttentionShape decode = decodes(1, 100);
  CHECK(family_of(decode) == "decode-attention/fa3/kv2/d128");
  decode.kv_element_bytes = 1;
  decode.head_dim = 64;
  decode.windowed = true;
  CHECK(family_of(decode) == "decode-attention/fa3/kv1/d64/windowed");
  PrefillAttentionShape prefill = chunks(1, 100, 0, AttentionBackend::trtllm);
  CHECK(family_of(prefill) == "prefill-attention/trtllm/kv2/d128");
  prefill.decodes = 3;
  CHECK(family_of(prefill) == "mixed-attention/trtllm/kv2/d128");
  CHECK(family_of(LatentDecodeShape{}) == "latent-decode/kv2");
  CHECK(family_of(LatentPrefillShape{1, 1, 1, 1, 1, 128}) == "latent-prefill/kv1");
}

TEST_CASE("a decode reads its KV once: Llama-3.1-8B's 131,072 bytes a token over 32 layers",
          "[unit]") {
  const OperatorWork work = work_of(decodes(64, 2048));
  const double tokens = 64 * 2048;
  CHECK(work.bytes == 131072.0 / 32 * tokens + 64 * 32 * 128 * 2 * 2);
  CHECK(work.flops == 4 * 32 * 128 * tokens);
  CHECK(work.at == std::array<double, 4>{64 * 8, 2048, 4, 0});
}

TEST_CASE("a latent decode of 128 heads stands near 242 FLOPs a byte, MLA's ridge", "[unit]") {
  const OperatorWork work = work_of(LatentDecodeShape{2, 32, 65536, 128});
  CHECK(work.flops == 2.0 * 128 * (576 + 512) * 32 * 65536);
  CHECK(work.flops / work.bytes == Approx(242).epsilon(0.01));
}

TEST_CASE("a prompt without cached tokens lies at its length and its query rows", "[unit]") {
  const OperatorWork work = work_of(chunks(4, 1000, 0));
  CHECK(work.at[0] == Approx(1000));
  CHECK(work.at[1] == Approx(4 * 1000 * 32));
  CHECK(work.at[2] == 4);
  CHECK(work.flops == 4.0 * 32 * 128 * 4 * 1000 * 1001 / 2);
}

TEST_CASE("a chunk lies where prompts of the same work and the same longest row lie",
          "[invariant]") {
  std::mt19937_64 random(4);
  std::uniform_real_distribution<double> log2(0, 14);
  for (int i = 0; i < 1000; ++i) {
    const double queries = std::floor(std::exp2(log2(random))),
                 cached = std::floor(std::exp2(log2(random))) - 1;
    const PrefillAttentionShape shape = chunks(3, queries, cached);
    const OperatorWork work = work_of(shape);
    CHECK(work.at[0] == Approx(cached + queries));
    // a prompt's work is half of what its longest row of tiles would make of all of them
    CHECK(2 * 128 * work.at[1] * (work.at[0] + 1) == Approx(work.flops));
    CHECK(work.at[1] >= 0.999 * shape.queries * 32);
    CHECK(work.at[1] <= 2.001 * shape.queries * 32);
  }
}

TEST_CASE("one long chunk among short ones is not averaged away", "[unit]") {
  PrefillAttentionShape together = chunks(10, 50, 0);
  const PrefillAttentionShape long_one = chunks(1, 1500, 0);
  together.requests += long_one.requests;
  together.queries += long_one.queries;
  together.pairs += long_one.pairs;
  together.context += long_one.context;
  CHECK(together.context / together.requests < 200);  // what plain means would make of it
  CHECK(work_of(together).at[0] > 600);
}

TEST_CASE("under a window a prompt lies at its mean keys, which the window bounds", "[unit]") {
  PrefillAttentionShape shape = chunks(2, 4096, 0);
  shape.windowed = true;
  const double growing = 127 * 128 / 2.0;
  shape.pairs = 2 * (growing + (4096 - 127) * 128);
  const OperatorWork work = work_of(shape);
  CHECK(work.at[0] < 128);
  CHECK(work.at[0] > 125);
  CHECK(work.at[1] == 2 * 4096 * 32);
}

TEST_CASE("decodes in a mixed call read their keys once a query head", "[unit]") {
  const PrefillAttentionShape alone = chunks(1, 512, 1024);
  PrefillAttentionShape mixed = alone;
  mixed.decodes = 16;
  mixed.decode_context = 3000;
  const OperatorWork less = work_of(alone), more = work_of(mixed);
  CHECK(more.bytes - less.bytes == 2 * 128 * 2 * 16.0 * 32 * (3000 + 1));
  CHECK(more.flops - less.flops == 4 * 128 * 16.0 * 32 * 3000);
  CHECK(more.at == std::array<double, 4>{16 * 32, 3000, less.at[0], less.at[1]});
}

TEST_CASE("scores in memory are most of naive attention's bytes, and no pair is skipped",
          "[unit]") {
  const OperatorWork flash = work_of(chunks(1, 4096, 0, AttentionBackend::fa2)),
                     naive = work_of(chunks(1, 4096, 0, AttentionBackend::naive));
  CHECK(naive.flops == Approx(2 * flash.flops).epsilon(0.001));
  CHECK(naive.bytes > 24.0 * 32 * 4096 * 4096);
  CHECK(naive.bytes > 50 * flash.bytes);
  CHECK(work_of(decodes(8, 1000, AttentionBackend::naive)).bytes >
        4 * work_of(decodes(8, 1000)).bytes);
}

TEST_CASE("stand-ins are the next wider kernel, then narrower ones, each first with the window",
          "[unit]") {
  DecodeAttentionShape decode = decodes(1, 100);
  decode.head_dim = 96;
  decode.windowed = true;
  const std::vector<std::string> names = stand_ins(decode);
  REQUIRE(names.size() > 4);
  CHECK(names[0] == "decode-attention/fa3/kv2/d96");
  CHECK(names[1] == "decode-attention/fa3/kv2/d128/windowed");
  CHECK(names[2] == "decode-attention/fa3/kv2/d128");
  CHECK(names.back() == "decode-attention/fa3/kv1/d64");
  CHECK(std::find(names.begin(), names.end(), family_of(decode)) == names.end());
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  CHECK(stand_ins(OperatorShape{LatentDecodeShape{}}) ==
        std::vector<std::string>{"latent-decode/kv1"});
  CHECK(stand_ins(OperatorShape{GemmShape{}}).empty());
}

TEST_CASE("every family of attention has knots for every coordinate of its calls", "[invariant]") {
  PrefillAttentionShape mixed = chunks(1, 10, 10), windowed = mixed;
  mixed.decodes = mixed.decode_context = 1;
  windowed.windowed = true;
  DecodeAttentionShape cut = decodes(2, 128);
  cut.windowed = true;
  for (const OperatorShape& shape :
       {OperatorShape{decodes(2, 3)}, OperatorShape{cut}, OperatorShape{chunks(1, 2, 3)},
        OperatorShape{windowed}, OperatorShape{mixed}, OperatorShape{LatentDecodeShape{}},
        OperatorShape{LatentPrefillShape{}}}) {
    const std::string family = family_of(shape);
    INFO(family);
    CHECK(is_attention_family(family));
    const std::vector<LogSurface::Axis> axes = attention_knots_of(family);
    const OperatorWork work = work_of(shape);
    REQUIRE(axes.size() <= kMostAxes);
    std::size_t knots = 1;
    for (const LogSurface::Axis& axis : axes) {
      CHECK(axis.knots.front() > 0);
      CHECK(std::is_sorted(axis.knots.begin(), axis.knots.end()));
      CHECK(std::adjacent_find(axis.knots.begin(), axis.knots.end()) == axis.knots.end());
      knots *= axis.knots.size();
    }
    CHECK(knots < 2500);  // a fit is a summary, no copy of its tables
    for (std::size_t a = 0; a < kMostAxes; ++a) CHECK((work.at[a] > 0) == (a < axes.size()));
  }
  CHECK_FALSE(is_attention_family("gemm/bf16"));
}

TEST_CASE("parametric FlashAttention 2 gives back the figures it was made of", "[unit]") {
  // H100 by sequence length, 16 k tokens in all, causal, width 128
  for (const auto& [length, tflops] : {std::pair{512.0, 191.0}, {2048, 298}, {16384, 335}}) {
    const PrefillAttentionShape shape = chunks(16384 / length, length, 0, AttentionBackend::fa2);
    const double floor = find_gpu("h100")->attention_floor.value;
    CHECK(work_of(shape).flops / (seconds(shape, "h100") - floor) ==
          Approx(tflops * 1e12).epsilon(0.05));
  }
  // A100, microseconds by batch and context, bf16 KV
  for (const auto& [batch, context, us] : {std::tuple{1.0, 1024.0, 20.0},
                                           {1, 8192, 40},
                                           {1, 32768, 107},
                                           {8, 4096, 108},
                                           {32, 1024, 123},
                                           {32, 4096, 419},
                                           {128, 1024, 343}}) {
    CHECK(1e6 * seconds(decodes(batch, context, AttentionBackend::fa2), "a100-80gb-sxm") ==
          Approx(us).epsilon(0.15));
  }
}

TEST_CASE("a chunk too short to fill the GPU takes as long as its longest row of tiles", "[unit]") {
  // 4 x 32 tiles over 132 SMs, over 16 k cached tokens each: half the tiles take the same time
  const PrefillAttentionShape full = chunks(1, 512, 16384, AttentionBackend::fa2);
  PrefillAttentionShape half = full;
  half.query_heads = 16;
  half.kv_heads = 4;
  CHECK(seconds(half, "h100") == Approx(seconds(full, "h100")).epsilon(0.02));
  const PrefillAttentionShape many = chunks(8, 512, 16384, AttentionBackend::fa2);
  CHECK(seconds(many, "h100") > 3 * seconds(full, "h100"));
}

TEST_CASE("naive attention is the slower one, the more so the longer the prompt", "[unit]") {
  double before = 1;
  for (const double length : {1024.0, 4096.0, 16384.0}) {
    const double worth = seconds(chunks(1, length, 0, AttentionBackend::naive), "h100") /
                         seconds(chunks(1, length, 0, AttentionBackend::fa2), "h100");
    CHECK(worth > before);
    before = worth;
  }
  CHECK(before > 5);
}

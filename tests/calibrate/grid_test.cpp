// The benchmark grid: the same everywhere, ceilings first, a fair share of every family wherever it
// is cut, GEMM sites that are those of the models, and within its budget.

#include "kernels/measure/grid.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "hw_models/model_spec.h"
#include "hw_models/weight_groups.h"
#include "kernels/measure/job_lines.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

std::vector<std::string> texts(const std::vector<Point>& points) {
  std::vector<std::string> list;
  for (const Point& point : points) list.push_back(point.text());
  return list;
}

std::map<std::string, int> counts(const std::vector<Point>& points, std::size_t first = 0,
                                  std::size_t last = SIZE_MAX) {
  std::map<std::string, int> count;
  for (std::size_t i = first; i < std::min(last, points.size()); ++i) ++count[points[i].op()];
  return count;
}

double seconds(const std::vector<Point>& points) {
  double sum = 0;
  for (const Point& point : points) sum += estimated_seconds(point);
  return sum;
}

}  // namespace

TEST_CASE("the grid is the same for the same seed, and in another order for another", "[unit]") {
  for (const GridSize size : {GridSize::quick, GridSize::full}) {
    const auto first = texts(bench_grid(size, "", 1));
    CHECK(first == texts(bench_grid(size, "", 1)));
    CHECK(first != texts(bench_grid(size, "", 2)));
  }
}

TEST_CASE("no point stands in the grid twice", "[unit]") {
  const auto all = texts(bench_grid(GridSize::full, "", 3));
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == all.size());
}

TEST_CASE("the quick grid is part of the full one, and has every operator but all-reduce",
          "[unit]") {
  const auto full = texts(bench_grid(GridSize::full, "", 1));
  const std::set<std::string> all(full.begin(), full.end());
  const auto quick = bench_grid(GridSize::quick, "", 1);
  for (const std::string& point : texts(quick)) {
    CAPTURE(point);
    CHECK(all.count(point) == 1);
  }
  const auto count = counts(quick), count_full = counts(bench_grid(GridSize::full, "", 1));
  for (const OperatorAxes& family : operator_axes()) {
    CAPTURE(family.op);
    CHECK(count_full.count(family.op) == 1);
    CHECK((count.count(family.op) == 1) == (family.op != "all_reduce"));
  }
}

TEST_CASE("ceilings come first, and before them every row can be judged", "[unit]") {
  for (const char* only : {"", "gemm", "swap"}) {
    const auto points = bench_grid(GridSize::full, only, 1);
    const std::size_t ceilings = static_cast<std::size_t>(counts(points)["ceiling"]);
    REQUIRE(ceilings > 10);
    CHECK(counts(points, 0, ceilings).size() == 1);
    CHECK(counts(points, ceilings).count("ceiling") == 0);
  }
  CHECK(counts(bench_grid(GridSize::quick, "swap", 1)).size() == 2);
  CHECK(counts(bench_grid(GridSize::quick, "ceiling", 1)).size() == 1);
}

TEST_CASE("leaving other operators out does not change the points of one", "[unit]") {
  const auto all = bench_grid(GridSize::full, "", 5);
  std::vector<std::string> of_all, alone;
  for (const Point& point : all)
    if (point.op() == "decode_attention") of_all.push_back(point.text());
  for (const Point& point : bench_grid(GridSize::full, "decode_attention", 5))
    if (point.op() == "decode_attention") alone.push_back(point.text());
  CHECK(of_all == alone);
}

TEST_CASE("wherever a budget cuts, every operator has given the same share", "[unit]") {
  const auto points = bench_grid(GridSize::full, "", 1);
  const std::size_t ceilings = static_cast<std::size_t>(counts(points)["ceiling"]);
  const auto whole = counts(points, ceilings);
  for (std::size_t cut = ceilings; cut <= points.size(); cut += 97) {
    const double share =
        static_cast<double>(cut - ceilings) / static_cast<double>(points.size() - ceilings);
    auto part = counts(points, ceilings, cut);
    for (const auto& [op, of] : whole) {
      CAPTURE(cut, op);
      CHECK(std::abs(part[op] - share * of) <= 3);  // points
    }
  }
}

TEST_CASE("an operator's coarse points come before its fine ones", "[unit]") {
  const auto quick = texts(bench_grid(GridSize::quick, "gemm", 1));
  const auto full = texts(bench_grid(GridSize::full, "gemm", 1));
  const std::size_t ceilings_quick = 16, gemms = quick.size() - ceilings_quick;
  const std::size_t ceilings_full =
      static_cast<std::size_t>(counts(bench_grid(GridSize::full, "gemm", 1))["ceiling"]);
  REQUIRE(counts(bench_grid(GridSize::quick, "gemm", 1))["ceiling"] == 16);
  const std::set<std::string> head(
      full.begin() + static_cast<std::ptrdiff_t>(ceilings_full),
      full.begin() + static_cast<std::ptrdiff_t>(ceilings_full + gemms));
  for (std::size_t i = ceilings_quick; i < quick.size(); ++i) CHECK(head.count(quick[i]) == 1);
}

TEST_CASE("the plan keeps within its budgets: a minute, and eight", "[unit]") {
  const double quick = seconds(bench_grid(GridSize::quick, "", 1));
  const double full = seconds(bench_grid(GridSize::full, "", 1));
  CAPTURE(quick, full);
  CHECK(quick > 30);
  CHECK(quick < 60);
  CHECK(full > 240);
  CHECK(full < 430);  // the canary and the correctness of its blocks take the rest of 480 s
  for (const Point& point : bench_grid(GridSize::full, "", 1)) {
    CAPTURE(point.text());
    CHECK(estimated_seconds(point) > 0);
    CHECK(estimated_seconds(point) < 2);
  }
}

TEST_CASE("the GEMM sites are the matrices of the models, each shape once", "[unit]") {
  std::set<std::pair<std::int64_t, std::int64_t>> sites, wanted;
  for (const GemmSite& site : gemm_sites()) {
    CAPTURE(site.model, site.matrix, site.tp);
    CHECK(sites.insert({site.n, site.k}).second);
    const ModelSpec* model = find_model(site.model);
    REQUIRE(model != nullptr);
    bool found = false;
    for (const WeightGroup& group : weight_groups(*model, site.tp))
      found = found || (group.rows == site.n && group.columns == site.k);
    CHECK(found);
  }
  for (const auto& [name, tps] : std::map<std::string, std::vector<int>>{
           {"llama-3.1-8b", {1}}, {"llama-3.1-70b", {1, 2, 4, 8}}, {"qwen3-8b", {1}}})
    for (const int tp : tps)
      for (const WeightGroup& group : weight_groups(*find_model(name), tp))
        if (group.role == WeightRole::matrix || group.role == WeightRole::head)
          wanted.insert({group.rows, group.columns});
  CHECK(sites == wanted);
}

TEST_CASE("fp8 is measured on both sides of its tile edges, bf16 is not", "[unit]") {
  std::set<std::pair<std::string, std::int64_t>> seen;
  for (const Point& point : bench_grid(GridSize::full, "gemm", 1))
    if (point.op() == "gemm" && point.word("algo") == "top")
      seen.insert({point.word("dtype"), point.integer("m")});
  for (const std::int64_t edge : {128, 256, 512, 1024, 2048}) {
    CHECK(seen.count({"fp8", edge}) == 1);
    CHECK(seen.count({"fp8", edge + 1}) == 1);
    CHECK(seen.count({"bf16", edge + 1}) == 0);
  }
}

TEST_CASE("the ragged batch and the uniform one that it is held to have as many tokens", "[unit]") {
  const auto points = texts(bench_grid(GridSize::quick, "decode_attention", 1));
  std::map<std::string, std::int64_t> tokens;
  for (const Point& point : bench_grid(GridSize::quick, "decode_attention", 1)) {
    if (point.op() != "decode_attention" || point.word("kv_dtype") != "bf16") continue;
    std::int64_t sum = 0;
    for (const std::int64_t one : point.lengths("lengths")) sum += one;
    tokens[point.values().back().second] = sum;
  }
  REQUIRE(tokens.count("1x32768,63x512") == 1);
  REQUIRE(tokens.count("64x1016") == 1);
  CHECK(tokens["1x32768,63x512"] == tokens["64x1016"]);
}

TEST_CASE("iterations come in every kind of batch, and in each of their parts", "[unit]") {
  std::map<std::string, int> decode, mixed, prompts;
  std::set<std::string> parts, stacks;
  for (const Point& point : bench_grid(GridSize::full, "iteration", 1)) {
    if (point.op() != "iteration") continue;
    parts.insert(point.word("part"));
    stacks.insert(point.word("stack"));
    if (point.word("part") != "all" || point.word("stack") != "llama-3.1-8b") continue;
    const auto fresh = point.lengths("new_lengths");
    const auto decodes = std::count(fresh.begin(), fresh.end(), 1);
    ++(decodes == std::ssize(fresh) ? decode : decodes > 0 ? mixed : prompts)[point.word("mode")];
  }
  CHECK(parts.size() == 14);  // the whole, and 13 operators
  CHECK(stacks.size() == 2);
  CHECK(decode["graph"] >= 10);
  CHECK(decode["eager"] == 0);  // engines capture these
  CHECK(mixed["graph"] >= 3);
  CHECK(mixed["eager"] >= 3);
  CHECK(prompts["graph"] >= 4);
  CHECK(prompts["eager"] >= 4);
}

TEST_CASE("in reverse, ceilings stay first and every other point comes as often, last first",
          "[unit]") {
  const std::vector<Point> there = bench_grid(GridSize::quick, "", 1);
  const std::vector<Point> back = in_reverse(there);
  REQUIRE(back.size() == there.size());
  std::size_t ceilings = 0;
  while (there[ceilings].op() == "ceiling") ++ceilings;
  REQUIRE(ceilings > 5);
  for (std::size_t i = 0; i < there.size(); ++i)
    REQUIRE(back[i] == (i < ceilings ? there[i] : there[there.size() - 1 - (i - ceilings)]));
}

TEST_CASE("the experts of the grid are those of the models", "[unit]") {
  for (const ExpertSite& site : expert_sites()) {
    CAPTURE(site.model);
    const ModelSpec* model = find_model(site.model);
    REQUIRE(model != nullptr);
    REQUIRE(model->moe.has_value());
    CHECK(site.hidden == model->hidden);
    CHECK(site.ffn == model->moe->expert_ffn);
    CHECK(site.experts == model->moe->experts);
    CHECK(site.experts_per_token == model->moe->experts_per_token);
    CHECK(site.experts % site.local_experts == 0);
  }
}

TEST_CASE("products of experts stand beside the dense product of as many rows", "[unit]") {
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> dense;
  const auto points = bench_grid(GridSize::full, "", 1);
  for (const Point& point : points)
    if (point.op() == "gemm" && point.word("dtype") == "bf16")
      dense.insert({point.integer("m"), point.integer("n"), point.integer("k")});
  int compared = 0;
  for (const Point& point : points) {
    if (point.op() != "grouped_gemm" || point.integer("tokens") < 1024) continue;
    const std::int64_t rows = point.integer("tokens") * point.integer("experts_per_token") *
                              point.integer("local_experts") / point.integer("experts");
    CAPTURE(point.text());
    CHECK(dense.count({rows, point.integer("n"), point.integer("k")}) == 1);
    ++compared;
  }
  CHECK(compared >= 30);
}

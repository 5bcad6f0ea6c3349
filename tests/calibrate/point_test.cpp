// Points: which are sound, what is said about the others, and their text forms.

#include "kernels/measure/point.h"

#include <set>

#include "kernels/measure/profile_writer.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

using Values = Point::Values;

const Values kGemm = {{"dtype", "bf16"}, {"m", "1"}, {"n", "4096"}, {"k", "4096"}, {"algo", "top"}};

Values with(Values values, const std::string& axis, const std::string& text) {
  for (auto& [name, value] : values)
    if (name == axis) value = text;
  return values;
}

/// "axis: message" of every fault, one a line.
std::string faults_of(std::string_view op, const Values& values) {
  std::vector<PointFault> faults;
  const bool made = make_point(op, values, faults).has_value();
  CHECK(made == faults.empty());
  std::string text;
  for (const PointFault& fault : faults) text += fault.axis + ": " + fault.message + "\n";
  return text;
}

Values decode(const std::string& lengths) {
  return {{"kv_dtype", "bf16"}, {"query_heads", "32"}, {"kv_heads", "8"},
          {"head_dim", "128"},  {"page_tokens", "16"}, {"lengths", lengths}};
}

}  // namespace

TEST_CASE("a point takes its axes in any order and holds them in the family's", "[unit]") {
  const Point point = sound_point(
      "gemm", {{"algo", "top"}, {"k", "4096"}, {"m", "007"}, {"n", "128"}, {"dtype", "fp8"}});
  CHECK(point.text() == "gemm dtype=fp8 m=7 n=128 k=4096 algo=top");
  CHECK(point.integer("m") == 7);
  CHECK(point.word("dtype") == "fp8");
  CHECK(point ==
        sound_point("gemm",
                    {{"dtype", "fp8"}, {"m", "7"}, {"n", "128"}, {"k", "4096"}, {"algo", "top"}}));
  CHECK_FALSE(point == sound_point("gemm", with(kGemm, "m", "8")));
}

TEST_CASE("asking a point for an axis it has not, or of another kind, is our fault", "[unit]") {
  const Point point = sound_point("gemm", kGemm);
  CHECK_THROWS(point.integer("tokens"));
  CHECK_THROWS(point.integer("dtype"));
  CHECK_THROWS(point.lengths("m"));
}

TEST_CASE("every fault of a point is named, with its axis", "[unit]") {
  CHECK(faults_of("gem", kGemm).find("unknown operator 'gem'; known are ceiling, gemm") !=
        std::string::npos);
  CHECK(faults_of("gemm", with(kGemm, "m", "0")) ==
        "m: m is '0'; a whole number from 1 to 16777216 is expected\n");
  for (const char* bad : {"", "-1", "1.5", "1e3", "+1", " 1", "1 ", "99999999999999999999", "0x10"})
    CHECK(faults_of("gemm", with(kGemm, "m", bad)).find("m: m is '") == 0);
  CHECK(faults_of("gemm", with(kGemm, "dtype", "fp16")) ==
        "dtype: dtype is 'fp16'; one of bf16, fp8, fp8_block, int8, w4a16 is expected\n");
  Values values = with(kGemm, "algo", "fastest");
  values[1] = {"M", "1"};
  values.emplace_back("n", "1");
  CHECK(faults_of("gemm", values) ==
        "M: unknown axis 'M' of gemm; it has dtype, m, n, k, algo\n"
        "m: m of gemm is missing\n"
        "n: n is given twice\n"
        "algo: algo is 'fastest'; one of top, best8 is expected\n");
}

TEST_CASE("what the user wrote is shown short and harmless", "[unit]") {
  const std::string fault = faults_of("gemm", with(kGemm, "m", "\x1b[2J" + std::string(500, 'x')));
  CHECK(fault.find('\x1b') == std::string::npos);
  CHECK(fault.size() < 150);
}

TEST_CASE("lengths are runs of count x tokens, and come back in one form", "[unit]") {
  CHECK(sound_point("decode_attention", decode("1x32768,63x512")).lengths("lengths").size() == 64);
  CHECK(sound_point("decode_attention", decode("2x5,1x5,01x0")).text().find("lengths=3x5,1x0") !=
        std::string::npos);
  CHECK(*parse_lengths("2x5,1x0") == std::vector<std::int64_t>{5, 5, 0});
  CHECK(lengths_text({}).empty());
  for (const char* bad : {"", "512", "0x512", "1x", "x1", "1x5,", ",1x5", "1x5;1x6", "1X5", "-1x5",
                          "1x-5", "1 x 5", "65537x1", "65536x1,1x2", "999999999999999999x1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_lengths(bad).has_value());
    CHECK(faults_of("decode_attention", decode(bad)).find("lengths: lengths is '") == 0);
  }
  CHECK(parse_lengths("65535x1,1x2")->size() == 65536);
}

TEST_CASE("axes that must fit each other are held to it", "[unit]") {
  CHECK(faults_of("decode_attention", with(decode("1x1"), "kv_heads", "5")) ==
        "query_heads: query_heads must be a multiple of kv_heads\n");
  const Values prefill = {
      {"kv_dtype", "bf16"},         {"query_heads", "32"}, {"kv_heads", "8"},
      {"head_dim", "128"},          {"page_tokens", "16"}, {"new_lengths", "2x64"},
      {"cached_lengths", "1x1024"}, {"causal", "1"},       {"window", "0"},
      {"variant", "best"}};
  CHECK(faults_of("prefill_attention", prefill) ==
        "cached_lengths: new_lengths has 2 sequences, cached_lengths has 1\n");
  CHECK(faults_of("prefill_attention", with(prefill, "cached_lengths", "2x0")).empty());
  const Values windowed = with(with(prefill, "cached_lengths", "2x0"), "window", "64");
  CHECK(faults_of("prefill_attention", windowed).empty());
  CHECK(faults_of("prefill_attention", with(windowed, "causal", "0")) ==
        "window: window must be 0 where causal is 0\n");
  Values iteration = {{"stack", "llama-3.1-8b"}, {"weights", "bf16"},      {"kv_dtype", "bf16"},
                      {"page_tokens", "16"},     {"mode", "graph"},        {"part", "all"},
                      {"new_lengths", "2x1"},    {"cached_lengths", "1x7"}};
  CHECK(faults_of("iteration", iteration) ==
        "cached_lengths: new_lengths has 2 sequences, cached_lengths has 1\n");
  CHECK(faults_of("iteration", with(iteration, "cached_lengths", "2x0")).empty());
  CHECK(faults_of("iteration", with(iteration, "new_lengths", "1x0")).find("new_lengths: ") == 0);
  CHECK(faults_of("all_reduce", {{"algorithm", "nccl"}, {"gpus", "3"}, {"bytes", "40"}}) ==
        "gpus: gpus is 2, 4 or 8\nbytes: bytes must be a multiple of 16\n");
}

TEST_CASE("a ceiling is given in the measure of its kind, and in that alone", "[unit]") {
  const auto ceiling = [](const char* kind, const char* bytes, const char* edge) {
    return faults_of("ceiling", {{"kind", kind}, {"bytes", bytes}, {"edge", edge}});
  };
  CHECK(ceiling("read", "1024", "0").empty());
  CHECK(ceiling("gemm_fp8", "0", "8192").empty());
  CHECK(ceiling("graph_node", "0", "0").empty());
  CHECK(ceiling("read", "0", "8192") ==
        "bytes: bytes must be above 0 where kind is read\n"
        "edge: edge must be 0 where kind is read\n");
  CHECK(ceiling("gemm_bf16", "64", "0").size() > 60);
  CHECK(ceiling("launch", "64", "0") == "bytes: bytes must be 0 where kind is launch\n");
}

TEST_CASE("operators, files and the axes of one are told apart by name", "[unit]") {
  std::set<std::string> names, files;
  for (const OperatorAxes& family : operator_axes()) {
    CAPTURE(family.op);
    CHECK(names.insert(family.op).second);
    CHECK(files.insert(family.file).second);
    CHECK(family.file.ends_with(".csv"));
    CHECK_FALSE(family.means.empty());
    CHECK(find_operator(family.op) == &family);
    const auto& results = result_columns();
    std::set<std::string> axes(results.begin(), results.end());  // columns of the same table
    axes.insert({"op", "event"});
    for (const Axis& axis : family.axes) {
      CHECK(axes.insert(axis.name).second);
      CHECK((axis.kind == Axis::Kind::word) == axis.unit.empty());
      CHECK((axis.kind == Axis::Kind::word) == !axis.words.empty());
    }
  }
  CHECK(find_operator("") == nullptr);
}

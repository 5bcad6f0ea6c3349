// Decode attention against float64 on shuffled page tables, where all that must not be read is NaN:
// tokens behind a sequence's end, pages that nobody owns; and page numbers behind a row's end point
// nowhere.

#include "kernels/checks/decode_attention_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hw_models/check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/decode_attention.h"
#include "kernels/operators/plain_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

// Of e4m3 caches; codes then have a standard deviation of some 2 to 5.
constexpr float kKeyScale = 0.4375F, kValueScale = 0.21F;
/// Draws of a cache, repeated when it is larger; a prime, so that repetitions never meet pages.
constexpr std::size_t kDistinctDraws = 1048573;

/// What the operands follow from, with the seed.
std::string name_of(const DecodeCase& c) {
  std::string lengths;
  for (std::size_t i = 0; i < c.lengths.size() && i < 8; ++i)
    lengths += (i == 0 ? "" : ",") + std::to_string(c.lengths[i]);
  if (c.lengths.size() > 8) lengths += ",... (" + std::to_string(c.lengths.size()) + ")";
  return std::string(c.e4m3 ? "e4m3 " : "bf16 ") + std::to_string(c.query_heads) + "/" +
         std::to_string(c.kv_heads) + " heads of " + std::to_string(c.head_dim) + ", pages of " +
         std::to_string(c.page_tokens) + ", lengths " + lengths;
}

template <class Element>
Element element_of(float value, float scale) {
  if constexpr (sizeof(Element) == 2)
    return to_bf16(value);
  else
    return to_e4m3(value / scale);
}

/// Keys or values: normal where a sequence holds a token, NaN elsewhere.
template <class Element>
std::vector<std::uint8_t> cache_of(const DecodeCase& c, const PageTable& table, float scale,
                                   RandomInputs& random) {
  const std::size_t row = static_cast<std::size_t>(c.head_dim);
  const std::size_t head_elements = static_cast<std::size_t>(c.page_tokens) * row;
  std::vector<Element> cache(static_cast<std::size_t>(table.pool_pages) * c.kv_heads *
                             head_elements);
  std::vector<Element> drawn(std::min(cache.size(), kDistinctDraws));
  for (Element& element : drawn) element = element_of<Element>(random.normal(), scale);
  for (std::size_t i = 0; i < cache.size(); ++i) cache[i] = drawn[i % drawn.size()];
  Element not_a_number;
  std::memset(&not_a_number, 0xff, sizeof not_a_number);
  for (std::size_t page = 0; page < static_cast<std::size_t>(table.pool_pages); ++page)
    for (std::size_t head = 0; head < static_cast<std::size_t>(c.kv_heads); ++head) {
      const std::size_t begin = (page * c.kv_heads + head) * head_elements;
      std::fill(
          cache.begin() + static_cast<std::ptrdiff_t>(
                              begin + static_cast<std::size_t>(table.valid_tokens[page]) * row),
          cache.begin() + static_cast<std::ptrdiff_t>(begin + head_elements), not_a_number);
    }
  std::vector<std::uint8_t> bytes(cache.size() * sizeof(Element));
  std::memcpy(bytes.data(), cache.data(), bytes.size());
  return bytes;
}

template <class Element>
std::vector<float> dequantised(const std::vector<std::uint8_t>& bytes, float scale) {
  std::vector<float> values(bytes.size() / sizeof(Element));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, &bytes[i * sizeof(Element)], sizeof element);
    values[i] = to_float(element) * scale;
  }
  return values;
}

/// The device's copy of a case.
template <class Element>
struct OnDevice {
  OnDevice(const DecodeCase& c, const DecodeOperands& operands)
      : query(operands.query),
        keys(operands.keys),
        values(operands.values),
        page_table(operands.page_table),
        lengths(operands.lengths),
        sequences(c.lengths.size()) {}
  DeviceBuffer<Bf16> query;
  DeviceBuffer<std::uint8_t> keys, values;
  DeviceBuffer<int> page_table, lengths;
  std::size_t sequences;
};

template <class Element, class Arguments>
void set_shape_and_cache(Arguments& arguments, const DecodeCase& c, const OnDevice<Element>& device,
                         int row_pages) {
  arguments.query = device.query.data();
  arguments.key_pages = reinterpret_cast<const Element*>(device.keys.data());
  arguments.value_pages = reinterpret_cast<const Element*>(device.values.data());
  arguments.page_table = device.page_table.data();
  arguments.query_heads = c.query_heads;
  arguments.kv_heads = c.kv_heads;
  arguments.head_dim = c.head_dim;
  arguments.page_tokens = c.page_tokens;
  arguments.pages_per_sequence = row_pages;
  arguments.softmax_scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
  arguments.key_scale = c.e4m3 ? kKeyScale : 1.0F;
  arguments.value_scale = c.e4m3 ? kValueScale : 1.0F;
}

/// Runs the operator `times` on poisoned outputs and one workspace; the last result. Says what is
/// wrong beside its numbers.
template <class Element>
AttentionResult run_operator(const DecodeCase& c, const OnDevice<Element>& device, int row_pages,
                             int times, std::string& problem) {
  const std::size_t heads = device.sequences * static_cast<std::size_t>(c.query_heads);
  DecodeAttentionArguments<Element> arguments;
  set_shape_and_cache(arguments, c, device, row_pages);
  arguments.lengths = device.lengths.data();
  arguments.sequences = static_cast<int>(device.sequences);
  arguments.blocks = c.blocks;
  const DeviceBuffer<std::uint8_t> workspace(decode_attention_workspace_bytes(arguments));
  arguments.workspace = workspace.data();
  prepare_decode_attention_workspace(arguments, {});
  AttentionResult result;
  for (int i = 0; i < times; ++i) {
    const DeviceBuffer<Bf16> out(heads * static_cast<std::size_t>(c.head_dim));
    const DeviceBuffer<float> log_sum_exp(heads);
    arguments.out = out.data();
    arguments.log_sum_exp = c.wants_log_sum_exp ? log_sum_exp.data() : nullptr;
    launch_decode_attention(arguments, {});
    device_synchronize();
    const AttentionResult now{out.values(),
                              c.wants_log_sum_exp ? log_sum_exp.values() : std::vector<float>()};
    if (i > 0 && !(now == result)) problem = "a second launch gave other bytes";
    result = now;
    if (!out.guards_intact() || !log_sum_exp.guards_intact() || !workspace.guards_intact())
      problem = "wrote outside its output or workspace";
  }
  return result;
}

/// The oracle for big shapes.
template <class Element>
AttentionOutputs run_plain_kernel(const DecodeCase& c, const OnDevice<Element>& device,
                                  int row_pages) {
  const std::size_t heads = device.sequences * static_cast<std::size_t>(c.query_heads);
  std::vector<int> sequence_of_row;
  for (std::size_t i = 0; i < device.sequences; ++i) sequence_of_row.push_back(static_cast<int>(i));
  const DeviceBuffer<int> sequences(sequence_of_row);
  const DeviceBuffer<float> out(heads * static_cast<std::size_t>(c.head_dim)), log_sum_exp(heads);
  PlainAttentionArguments<Element> arguments;
  set_shape_and_cache(arguments, c, device, row_pages);
  arguments.sequence_of_row = sequences.data();
  arguments.visible = device.lengths.data();
  arguments.rows = static_cast<int>(device.sequences);
  arguments.out = out.data();
  arguments.log_sum_exp = log_sum_exp.data();
  launch_plain_attention(arguments, {});
  device_synchronize();
  const std::vector<float> values = out.values(), sums = log_sum_exp.values();
  return {{values.begin(), values.end()}, {sums.begin(), sums.end()}};
}

/// Sequences without tokens: zeros, and minus infinity. compare() has no eye for either.
std::string problem_of_empty_sequences(const DecodeCase& c, const AttentionResult& result) {
  const std::size_t heads = static_cast<std::size_t>(c.query_heads);
  const std::size_t row = heads * static_cast<std::size_t>(c.head_dim);
  for (std::size_t i = 0; i < c.lengths.size(); ++i) {
    if (c.lengths[i] > 0) continue;
    for (std::size_t j = i * row; j < (i + 1) * row; ++j)
      if (result.out[j].bits != 0) return "a sequence without tokens got no zeros";
    for (std::size_t j = i * heads; c.wants_log_sum_exp && j < (i + 1) * heads; ++j)
      if (result.log_sum_exp[j] != -std::numeric_limits<float>::infinity())
        return "a sequence without tokens got a log-sum-exp";
  }
  return "";
}

CheckReport largest_error_report(std::string what, Comparison comparison, double limit) {
  comparison.relative_error = comparison.largest_error;
  return report_of(std::move(what), comparison, limit);
}

template <class Element>
std::vector<CheckReport> check_case(const DecodeCase& c, std::uint64_t seed,
                                    void (*spoil)(DecodeOperands&), AttentionResult* out_result) {
  RandomInputs random(seed, "decode_attention " + name_of(c));
  const std::string what = name_of(c) +
                           (c.blocks > 0 ? ", " + std::to_string(c.blocks) + " blocks" : "") +
                           " seed " + std::to_string(seed);
  PageTable table = shuffled_page_table(c.lengths, c.page_tokens, random);
  if (c.shared_pages > 0) share_first_pages(table, 0, 1, c.shared_pages);
  DecodeOperands operands;
  operands.query = random.normals_bf16(
      c.lengths.size() * static_cast<std::size_t>(c.query_heads * c.head_dim), c.query_scale);
  operands.keys = cache_of<Element>(c, table, kKeyScale, random);
  operands.values = cache_of<Element>(c, table, kValueScale, random);
  operands.page_table = table.pages;
  operands.lengths = c.lengths;

  std::vector<CheckReport> reports;
  AttentionOutputs exact;
  AttentionInputs inputs;
  if (c.oracle == DecodeOracle::float64) {
    inputs.shape = {c.query_heads, c.kv_heads, c.head_dim,
                    // as the kernel gets it
                    static_cast<double>(1.0F / std::sqrt(static_cast<float>(c.head_dim)))};
    inputs.table = table;
    inputs.rows = decode_rows(c.lengths);
    inputs.queries = floats_of(operands.query);
    inputs.keys = dequantised<Element>(operands.keys, c.e4m3 ? kKeyScale : 1.0F);
    inputs.values = dequantised<Element>(operands.values, c.e4m3 ? kValueScale : 1.0F);
    exact = reference_attention(inputs);
    if (c.checks_plain_kernel) {
      const OnDevice<Element> device(c, operands);
      const AttentionOutputs plain = run_plain_kernel(c, device, table.row_pages);
      reports.push_back(report_of(
          what + ": plain kernel",
          compare(std::vector<float>(plain.out.begin(), plain.out.end()), exact.out), 1e-5));
      reports.push_back(largest_error_report(
          what + ": plain kernel's log-sum-exp",
          compare(std::vector<float>(plain.lse.begin(), plain.lse.end()), exact.lse), 1e-4));
    }
  } else {
    exact = run_plain_kernel(c, OnDevice<Element>(c, operands), table.row_pages);
  }

  if (spoil != nullptr) spoil(operands);
  const OnDevice<Element> device(c, operands);
  std::string problem;
  const AttentionResult result = run_operator(c, device, table.row_pages, 2, problem);
  if (problem.empty()) problem = problem_of_empty_sequences(c, result);
  if (out_result != nullptr) *out_result = result;

  const Comparison output = compare(floats_of(result.out), exact.out);
  reports.insert(reports.begin(), report_of(what, output, c.e4m3 ? 1e-2 : 5e-3));
  if (!problem.empty()) reports.front().problem = problem;
  if (!c.e4m3 && c.oracle == DecodeOracle::float64) {
    const AttentionOutputs in_steps = reference_attention(inputs, AttentionRounding::bf16_steps);
    const Comparison steps =
        compare(std::vector<float>(in_steps.out.begin(), in_steps.out.end()), exact.out);
    reports.push_back(largest_error_report(what + ": largest error, twice that of bf16 in steps",
                                           output, 2 * steps.largest_error));
  }
  if (c.wants_log_sum_exp)
    reports.push_back(
        largest_error_report(what + ": log-sum-exp", compare(result.log_sum_exp, exact.lse), 1e-3));
  return reports;
}

std::vector<DecodeCase> cases_at(Scale scale) {
  std::vector<DecodeCase> cases = {
      // a page, a tile, a chunk: one less, exactly, one more; nothing; one token
      {false, 4, 1, 128, 16, {1, 0, 15, 16, 17, 63, 64, 65}},
      {false, 2, 2, 64, 64, {127, 128, 129, 64, 0, 1}},
      {true, 8, 1, 128, 16, {128, 1, 0, 7, 257}},
      {true, 5, 1, 64, 64, {129, 63, 100}},
      // cut units, of groups that fill the mma, that fill half of it, that are no power of two
      {false, 16, 1, 128, 64, {700}},
      {false, 14, 2, 64, 16, {1, 900, 0, 31}},
      {true, 16, 1, 64, 16, {1100, 5}},
      {true, 4, 4, 128, 64, {650, 0, 3}},
      // sequences that share pages; another page size; nobody asks for log-sum-exps
      {false, 8, 2, 64, 16, {200, 190, 50}, 0, 11},
      {true, 1, 1, 128, 32, {70, 40}, 0, 1, 1, false},
      // nearly all weight on one key: sums that hang on the rescaling
      {false, 4, 1, 128, 16, {400}, 0, 0, 12},
      // more blocks than tiles, one block for all
      {false, 4, 2, 128, 16, {70, 130}, 23},
      {true, 2, 1, 64, 16, {700, 30, 130}, 1},
      // nothing to do
      {false, 4, 1, 128, 16, {0, 0, 0}},
  };
  cases[0].checks_plain_kernel = true;
  DecodeCase plain_64{true, 2, 1, 64, 64, {130, 0, 1}};
  plain_64.checks_plain_kernel = true;
  cases.push_back(plain_64);
  DecodeCase many{false, 1, 1, 64, 16, {}};  // more sequences than threads, most of them empty
  for (int i = 0; i < 330; ++i) many.lengths.push_back(i % 29 == 3 ? i / 3 : 0);
  cases.push_back(many);
  if (scale == Scale::emulated) return cases;

  DecodeCase plain{false, 8, 2, 128, 16, {1500, 700, 0, 33}};  // the oracle of the cases below
  plain.checks_plain_kernel = true;
  for (const bool e4m3 : {false, true}) {
    plain.e4m3 = e4m3;
    cases.push_back(plain);
  }
  RandomInputs random(1, "decode_attention lengths");
  for (const bool e4m3 : {false, true})
    for (const int page_tokens : {16, 64}) {
      DecodeCase one;
      one.e4m3 = e4m3;
      one.page_tokens = page_tokens;
      one.oracle = DecodeOracle::plain_kernel;
      one.query_heads = 32, one.kv_heads = 8, one.head_dim = 128;
      one.lengths = {1024};
      cases.push_back(one);
      one.lengths = {32768};  // one long, the others short: the cuts fall everywhere
      one.lengths.insert(one.lengths.end(), 63, 512);
      cases.push_back(one);
      one.query_heads = 64, one.lengths.clear();
      for (int i = 0; i < 200; ++i)
        one.lengths.push_back(static_cast<int>(random.below(i % 10 == 0 ? 6000 : 300)));
      cases.push_back(one);
      one.query_heads = 8, one.kv_heads = 1, one.lengths = {100000, 0, 7, 33333};
      cases.push_back(one);
      one.head_dim = 64, one.query_heads = 64, one.kv_heads = 8;
      one.lengths.assign(40, 2047), one.shared_pages = 10;
      cases.push_back(one);
      one.query_heads = 40, one.lengths.assign(1500, 33), one.shared_pages = 0;
      cases.push_back(one);
    }
  return cases;
}

}  // namespace

std::vector<CheckReport> check_decode_case(const DecodeCase& c, std::uint64_t seed,
                                           void (*spoil)(DecodeOperands&),
                                           AttentionResult* result) {
  return c.e4m3 ? check_case<E4m3>(c, seed, spoil, result)
                : check_case<Bf16>(c, seed, spoil, result);
}

std::vector<CheckReport> check_decode_attention(std::uint64_t seed, Scale scale) {
  std::vector<CheckReport> reports;
  for (const DecodeCase& c : cases_at(scale))
    for (CheckReport& report : check_decode_case(c, seed)) reports.push_back(std::move(report));
  return reports;
}

}  // namespace fleetsim::kernels

#include "kernels/checks/rope_kv_write_check.h"

#include <cmath>
#include <cstdlib>
#include <type_traits>

#include "hw_models/check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/rope_kv_write.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/rope.h"
#include "kernels/reference/rounding.h"
#include "kernels/reference/row_operators.h"

namespace fleetsim::kernels {
namespace {

/// What must stand in memory: codes of Q and of both halves of the cache.
template <class Element>
struct Written {
  std::vector<Bf16> query;
  std::vector<Element> key_pages, value_pages;
};

template <class T>
std::vector<T> poisoned(std::size_t count) {
  std::vector<T> values(count);
  std::memset(values.data(), 0xFF, count * sizeof(T));
  return values;
}

struct Batch {
  std::vector<Bf16> qkv;
  std::vector<std::int64_t> slots;
  std::vector<int> positions;
  int pages;
};

Batch random_batch(const RopeCase& c, int table_positions, RandomInputs& random) {
  Batch batch;
  const auto heads = static_cast<std::size_t>(c.query_heads + 2 * c.kv_heads);
  batch.qkv = random.normals_bf16(static_cast<std::size_t>(c.tokens) * heads *
                                  static_cast<std::size_t>(c.head_dim));
  batch.pages = ceil_div(c.tokens, c.page_tokens) + 2;  // more slots than tokens
  const std::vector<int> slots = random.shuffled(batch.pages * c.page_tokens);
  for (int token = 0; token < c.tokens; ++token) {
    const bool padding = c.tokens > 1 && token % 7 == 3;
    batch.slots.push_back(padding ? -1 : slots[static_cast<std::size_t>(token)]);
    batch.positions.push_back(
        static_cast<int>(random.below(static_cast<std::uint32_t>(table_positions))));
  }
  batch.positions[0] = table_positions - 1;
  return batch;
}

std::size_t cache_index(const RopeCase& c, std::int64_t slot, int head) {
  const std::int64_t page = slot / c.page_tokens, place = slot % c.page_tokens;
  return static_cast<std::size_t>(((page * c.kv_heads + head) * c.page_tokens + place) *
                                  c.head_dim);
}

template <class Element>
Element code_of(float value, float inverse_scale) {
  if constexpr (std::is_same_v<Element, Bf16>)
    return to_bf16(value);
  else
    return to_e4m3(value * inverse_scale);
}
template <class Element>
Element nearest_code_of(double value, double scale) {
  if constexpr (std::is_same_v<Element, Bf16>)
    return nearest_bf16(value);
  else
    return nearest_e4m3(value / scale);
}

/// By the arithmetic that the interface states: `exact` false; else float64, rounded once.
template <class Element>
Written<Element> expected(const RopeCase& c, const Batch& batch, const RotaryEmbedding& embedding,
                          const std::vector<float>& table, bool exact) {
  const int half = c.head_dim / 2, heads = c.query_heads + 2 * c.kv_heads;
  const auto cache = static_cast<std::size_t>(batch.pages) * static_cast<std::size_t>(c.kv_heads) *
                     static_cast<std::size_t>(c.page_tokens) * static_cast<std::size_t>(c.head_dim);
  Written<Element> out{poisoned<Bf16>(static_cast<std::size_t>(c.tokens) *
                                      static_cast<std::size_t>(c.query_heads * c.head_dim)),
                       poisoned<Element>(cache), poisoned<Element>(cache)};
  const std::vector<double> frequencies = inverse_frequencies(embedding);
  for (int token = 0; token < c.tokens; ++token) {
    const auto t = static_cast<std::size_t>(token);
    if (batch.slots[t] < 0) continue;
    const float* row = table.data() + static_cast<std::size_t>(batch.positions[t]) *
                                          static_cast<std::size_t>(c.head_dim);
    for (int head = 0; head < heads; ++head) {
      const Bf16* from = batch.qkv.data() +
                         (t * static_cast<std::size_t>(heads) + static_cast<std::size_t>(head)) *
                             static_cast<std::size_t>(c.head_dim);
      const bool is_query = head < c.query_heads, is_value = head >= c.query_heads + c.kv_heads;
      std::vector<float> turned(static_cast<std::size_t>(c.head_dim));
      std::vector<double> plain(turned.size());
      for (std::size_t i = 0; i < turned.size(); ++i)
        plain[i] = static_cast<double>(turned[i] = to_float(from[i]));
      if (!is_value) {
        for (int i = 0; i < half; ++i) {
          const float a = to_float(from[i]), b = to_float(from[i + half]);
          const float cosine = row[i], sine = row[half + i];
          turned[static_cast<std::size_t>(i)] = std::fmaf(-b, sine, a * cosine);
          turned[static_cast<std::size_t>(i + half)] = std::fmaf(b, cosine, a * sine);
        }
        plain = rotated(plain, batch.positions[t], frequencies);
      }
      if (is_query) {
        Bf16* to = out.query.data() +
                   (t * static_cast<std::size_t>(c.query_heads) + static_cast<std::size_t>(head)) *
                       static_cast<std::size_t>(c.head_dim);
        for (std::size_t i = 0; i < turned.size(); ++i)
          to[i] = exact ? nearest_bf16(plain[i]) : to_bf16(turned[i]);
        continue;
      }
      const float scale = is_value ? c.value_scale : c.key_scale;
      const int kv_head = head - c.query_heads - (is_value ? c.kv_heads : 0);
      Element* to = (is_value ? out.value_pages : out.key_pages).data() +
                    cache_index(c, batch.slots[t], kv_head);
      for (std::size_t i = 0; i < turned.size(); ++i)
        to[i] = exact ? nearest_code_of<Element>(plain[i], static_cast<double>(scale))
                      : code_of<Element>(turned[i], 1.0F / scale);
    }
  }
  return out;
}

template <class T>
std::int64_t bytes_that_differ(const std::vector<T>& a, const std::vector<T>& b) {
  CHECK(a.size() == b.size());
  const auto* x = reinterpret_cast<const unsigned char*>(a.data());
  const auto* y = reinterpret_cast<const unsigned char*>(b.data());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < a.size() * sizeof(T); ++i) count += x[i] != y[i] ? 1 : 0;
  return count;
}

/// Codes that differ from those of float64, all and by more than a step.
struct Differences {
  std::int64_t codes = 0, differing = 0, far = 0;
};
template <class T>
void add_differences(const std::vector<T>& out, const std::vector<T>& reference, double scale,
                     Differences& sum) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    ++sum.codes;
    if (out[i].bits == reference[i].bits) continue;
    ++sum.differing;
    const bool next = std::abs(int{out[i].bits} - int{reference[i].bits}) == 1;
    // cancelled terms: fp32's rounding of terms of up to 8 in size, normal inputs being smaller
    const double difference = static_cast<double>(to_float(out[i])) * scale -
                              static_cast<double>(to_float(reference[i])) * scale;
    if (!next && !(std::fabs(difference) < 8 * 0x1p-22)) ++sum.far;
  }
}

template <class Element>
struct Run {
  Written<Element> written;
  bool guards_intact;
};

template <class Element>
Run<Element> run(const RopeCase& c, const Batch& batch, const std::vector<float>& table) {
  const DeviceBuffer<Bf16> qkv(batch.qkv);
  const DeviceBuffer<std::int64_t> slots(batch.slots);
  const DeviceBuffer<int> positions(batch.positions);
  const DeviceBuffer<float> device_table(table);
  const auto cache = static_cast<std::size_t>(batch.pages) * static_cast<std::size_t>(c.kv_heads) *
                     static_cast<std::size_t>(c.page_tokens) * static_cast<std::size_t>(c.head_dim);
  const auto query_row = static_cast<std::size_t>(c.query_heads * c.head_dim);
  const DeviceBuffer<Element> key_pages(cache), value_pages(cache);
  const DeviceBuffer<Bf16> query(c.in_place ? 0 : static_cast<std::size_t>(c.tokens) * query_row);
  RopeKvWriteArguments<Element> a;
  a.qkv = qkv.data();
  a.query = c.in_place ? qkv.data() : query.data();
  const auto row = static_cast<std::size_t>((c.query_heads + 2 * c.kv_heads) * c.head_dim);
  a.query_row = static_cast<std::int64_t>(c.in_place ? row : query_row);
  a.key_pages = key_pages.data();
  a.value_pages = value_pages.data();
  a.slots = slots.data();
  a.positions = positions.data();
  a.table = device_table.data();
  a.key_scale = c.key_scale;
  a.value_scale = c.value_scale;
  a.tokens = c.tokens;
  a.query_heads = c.query_heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.page_tokens = c.page_tokens;
  launch_rope_kv_write(a, Stream{});
  Run<Element> out{{query.values(), key_pages.values(), value_pages.values()},
                   qkv.guards_intact() && query.guards_intact() && key_pages.guards_intact() &&
                       value_pages.guards_intact()};
  const std::vector<Bf16> qkv_after = qkv.values();
  if (!c.in_place) {
    if (bytes_that_differ(qkv_after, batch.qkv) != 0) out.guards_intact = false;
    return out;
  }
  // Q as if it had been written elsewhere; K, V and padding in their row must have stayed
  out.written.query = poisoned<Bf16>(static_cast<std::size_t>(c.tokens) * query_row);
  for (std::size_t i = 0; i < qkv_after.size(); ++i) {
    const std::size_t token = i / row, within = i % row;
    const bool rotates = within < query_row && batch.slots[token] >= 0;
    if (rotates)
      out.written.query[token * query_row + within] = qkv_after[i];
    else if (qkv_after[i].bits != batch.qkv[i].bits)
      out.guards_intact = false;
  }
  return out;
}

void plant(RopeFault fault, Batch& batch, int table_positions) {
  if (fault == RopeFault::swapped_slots) std::swap(batch.slots[0], batch.slots[1]);
  if (fault == RopeFault::shifted_position)
    batch.positions[1] = (batch.positions[1] + 1) % table_positions;
}

}  // namespace

template <class Element>
std::vector<CheckReport> check_rope_case(const RopeCase& c, std::uint64_t seed, RopeFault fault) {
  const bool is_bf16 = std::is_same_v<Element, Bf16>;
  const std::string name = std::string("rope_kv_write ") + (is_bf16 ? "bf16" : "e4m3") + ": " +
                           std::to_string(c.tokens) + " tokens, heads " +
                           std::to_string(c.query_heads) + "/" + std::to_string(c.kv_heads) +
                           " of " + std::to_string(c.head_dim) + ", pages of " +
                           std::to_string(c.page_tokens) + (c.in_place ? ", in place" : "") +
                           ", seed " + std::to_string(seed);
  RandomInputs random(seed, name);
  RotaryEmbedding embedding;
  embedding.head_dim = c.head_dim;
  embedding.stretch = 8;
  const int table_positions = 300;
  const std::vector<float> table = rotary_table(embedding, table_positions);
  Batch batch = random_batch(c, table_positions, random);
  const Run<Element> first = run<Element>(c, batch, table), second = run<Element>(c, batch, table);
  plant(fault, batch, table_positions);

  const auto stated = expected<Element>(c, batch, embedding, table, false);
  const auto exact = expected<Element>(c, batch, embedding, table, true);
  const auto bytes = [](const Written<Element>& a, const Written<Element>& b) {
    return bytes_that_differ(a.query, b.query) + bytes_that_differ(a.key_pages, b.key_pages) +
           bytes_that_differ(a.value_pages, b.value_pages);
  };
  CheckReport by_bytes{name + ": bytes against the stated arithmetic",
                       static_cast<double>(bytes(first.written, stated)), 0, ""};
  if (!first.guards_intact) by_bytes.problem = "something was written outside the output";
  if (bytes(first.written, second.written) != 0) by_bytes.problem = "two runs differ";

  Differences sum;
  add_differences(first.written.query, exact.query, 1, sum);
  add_differences(first.written.key_pages, exact.key_pages, static_cast<double>(c.key_scale), sum);
  add_differences(first.written.value_pages, exact.value_pages, static_cast<double>(c.value_scale),
                  sum);
  CheckReport by_codes{name + ": share of codes unlike float64's",
                       static_cast<double>(sum.differing) / static_cast<double>(sum.codes),
                       1e-4 + 1.0 / static_cast<double>(sum.codes), ""};
  if (sum.far > 0) by_codes.problem = std::to_string(sum.far) + " codes differ by more than a step";
  return {by_bytes, by_codes};
}

template std::vector<CheckReport> check_rope_case<Bf16>(const RopeCase&, std::uint64_t, RopeFault);
template std::vector<CheckReport> check_rope_case<E4m3>(const RopeCase&, std::uint64_t, RopeFault);

std::vector<CheckReport> check_rope_kv_write(std::uint64_t seed, Scale scale) {
  std::vector<RopeCase> cases = {
      {1, 4, 4, 64, 16, false, 1, 1},    {17, 8, 2, 128, 16, false, 1, 1},
      {15, 8, 1, 64, 64, true, 1, 1},    {9, 32, 2, 96, 1, false, 1, 1},
      {33, 16, 1, 32, 8, false, 1, 1},   {5, 3, 3, 256, 4, true, 1, 1},
      {80, 32, 8, 128, 16, false, 1, 1},  // enough items for the wide kernel on four SMs
  };
  if (scale == Scale::device) {
    cases.push_back({64, 32, 8, 128, 16, false, 1, 1});
    cases.push_back({2049, 32, 8, 128, 16, true, 1, 1});
    cases.push_back({3000, 8, 1, 128, 64, false, 1, 1});
  }
  std::vector<CheckReport> reports;
  const auto append = [&](std::vector<CheckReport> more) {
    reports.insert(reports.end(), more.begin(), more.end());
  };
  for (RopeCase c : cases) {
    append(check_rope_case<Bf16>(c, seed));
    c.key_scale = 0.0371F;
    c.value_scale = 0.00527F;  // saturates V beyond 2.36
    append(check_rope_case<E4m3>(c, seed));
  }
  return reports;
}

}  // namespace fleetsim::kernels

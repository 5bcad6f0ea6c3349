// Points of `latent_prefill_attention`: operands drawn on the device, a sample of (new token, head)
// pairs in float64.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/arena.h"
#include "kernels/measure/attention_sets.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/latent_prefill_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

/// Pairs that the check computes in float64: the last token of the longest context, the first
/// token, others by chance. Each copies its head's keys and values to the host.
constexpr int kSampledPairs = 5;

struct LatentPrefill {
  std::vector<AttentionRow> rows;  // a new token each
  std::vector<int> lengths, key_starts;
  std::vector<LatentPrefillArguments> sets;

  std::size_t heads() const { return static_cast<std::size_t>(sets[0].heads); }
};

/// `count` rows of `width` elements that lie `stride` apart, as rows of `padded`.
std::vector<float> head_rows(const Bf16* device, std::size_t stride, std::size_t width,
                             std::size_t padded, std::size_t count) {
  std::vector<Bf16> bits(count * width);
  copy_rows_to_host(bits.data(), device, stride * sizeof(Bf16), width * sizeof(Bf16), count);
  std::vector<float> values(count * padded, 0.0F);
  for (std::size_t i = 0; i < bits.size(); ++i)
    values[i / width * padded + i % width] = to_float(bits[i]);
  return values;
}

/// The row and head as the kernel wrote them, and their reference.
void sample_pair(const LatentPrefill& prefill, std::size_t row, std::size_t head,
                 std::vector<float>& out, std::vector<double>& reference) {
  constexpr std::size_t kKey = kLatentKeyWidth, kValue = kLatentValueWidth;
  const LatentPrefillArguments& a = prefill.sets[0];
  const AttentionRow& seen = prefill.rows[row];
  const auto sequence = static_cast<std::size_t>(seen.sequence);
  const std::size_t first_key = static_cast<std::size_t>(prefill.key_starts[sequence]);
  const std::size_t keys = static_cast<std::size_t>(prefill.lengths[sequence]);
  const std::size_t heads = prefill.heads();
  AttentionInputs inputs;
  inputs.shape = {1, 1, kLatentKeyWidth, static_cast<double>(a.softmax_scale)};
  inputs.rows = {{0, seen.visible}};
  inputs.queries = head_rows(a.query + (row * heads + head) * kKey, kKey, kKey, kKey, 1);
  inputs.keys =
      head_rows(a.keys + (first_key * heads + head) * kKey, heads * kKey, kKey, kKey, keys);
  inputs.values = head_rows(a.values + (first_key * heads + head) * kValue, heads * kValue, kValue,
                            kKey, keys);  // padded to the keys' width
  inputs.table.pool_pages = inputs.table.row_pages = 1;
  inputs.table.page_tokens = static_cast<int>(keys);
  inputs.table.lengths = {static_cast<int>(keys)};
  inputs.table.pages = {0};
  const std::vector<double> exact = reference_attention(inputs).out;
  reference.insert(reference.end(), exact.begin(), exact.begin() + kValue);
  const std::vector<float> own =
      head_rows(a.out + (row * heads + head) * kValue, kValue, kValue, kValue, 1);
  out.insert(out.end(), own.begin(), own.end());
}

/// Runs set 0 on a poisoned output.
double check_error(const LatentPrefill& prefill, std::uint64_t seed) {
  const LatentPrefillArguments& a = prefill.sets[0];
  const std::size_t elements = prefill.rows.size() * prefill.heads() * kLatentValueWidth;
  device_fill(a.out, 0xFF, elements * sizeof(Bf16), {});
  launch_latent_prefill(a, {});
  device_synchronize();
  if (!all_finite(a.out, elements)) return std::numeric_limits<double>::infinity();
  if (prefill.rows.empty()) return 0;

  RandomInputs random(seed, "latent_prefill_attention sample");
  const auto longest = std::max_element(
      prefill.rows.begin(), prefill.rows.end(),
      [](const AttentionRow& x, const AttentionRow& y) { return x.visible < y.visible; });
  std::vector<float> out;
  std::vector<double> reference;
  sample_pair(prefill, static_cast<std::size_t>(longest - prefill.rows.begin()), 0, out, reference);
  sample_pair(prefill, 0, prefill.heads() - 1, out, reference);
  for (int i = 2; i < kSampledPairs; ++i) {
    const std::size_t row = random.below(static_cast<std::uint32_t>(prefill.rows.size()));
    sample_pair(prefill, row, random.below(static_cast<std::uint32_t>(prefill.heads())), out,
                reference);
  }
  return compare(out, reference).relative_error;
}

}  // namespace

PreparedPoint prepare_latent_prefill_attention(const Point& point, Arena& arena,
                                               std::uint64_t seed) {
  const std::vector<std::int64_t> given_new = point.lengths("new_lengths");
  const std::vector<std::int64_t> given_cached = point.lengths("cached_lengths");
  const std::vector<int> new_lengths(given_new.begin(), given_new.end());
  const std::vector<int> cached_lengths(given_cached.begin(), given_cached.end());
  const auto prefill = std::make_shared<LatentPrefill>();
  std::vector<int> query_starts = {0};
  std::int64_t tokens = 0, keys = 0;
  for (std::size_t i = 0; i < new_lengths.size(); ++i) {
    // no new tokens: nothing of the sequence is expanded
    const std::int64_t own = new_lengths[i] == 0 ? 0 : given_new[i] + given_cached[i];
    tokens += given_new[i];
    query_starts.push_back(static_cast<int>(tokens));
    prefill->key_starts.push_back(static_cast<int>(keys));
    prefill->lengths.push_back(static_cast<int>(own));
    keys += own;
  }
  LatentPrefillArguments shape;
  shape.heads = static_cast<int>(point.integer("heads"));
  shape.sequences = static_cast<int>(new_lengths.size());
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  if (tokens <= kMost && keys <= kMost) {
    shape.total_tokens = static_cast<int>(tokens);
    shape.total_keys = static_cast<int>(keys);
  }
  if (tokens > kMost || keys > kMost || !latent_prefill_supports(shape))
    throw NotSupportedHere(
        "the latent prefill kernel takes up to 128 heads, and batches whose rows and tiles 32 bits "
        "can count");
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("the latent prefill kernel is written for sm_90");
  shape.softmax_scale = 1.0F / std::sqrt(static_cast<float>(kLatentKeyWidth));
  shape.query_starts = take(query_starts, arena);
  shape.cached_lengths = take(cached_lengths, arena);
  shape.key_starts = take(prefill->key_starts, arena);
  // launches of a stream follow each other: one workspace for all sets
  shape.workspace = arena.take<std::uint8_t>(kLatentPrefillWorkspaceBytes);
  prepare_latent_prefill_workspace(shape.workspace, {});
  prefill->rows = prefill_rows(new_lengths, cached_lengths, true);

  const std::size_t heads = static_cast<std::size_t>(shape.heads);
  const std::size_t query_rows = static_cast<std::size_t>(tokens) * heads;
  const std::size_t key_rows = static_cast<std::size_t>(keys) * heads;
  const int copies = rotation_copies((query_rows + key_rows) *
                                     (kLatentKeyWidth + kLatentValueWidth) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    const auto drawn = [&](std::size_t count, std::uint64_t operand) {
      Bf16* memory = arena.take<Bf16>(count);
      fill_normal(memory, count, 1.0F, seed + 3 * static_cast<std::uint64_t>(copy) + operand, {});
      return memory;
    };
    shape.query = drawn(query_rows * kLatentKeyWidth, 0);
    shape.keys = drawn(key_rows * kLatentKeyWidth, 1);
    shape.values = drawn(key_rows * kLatentValueWidth, 2);
    shape.out = arena.take<Bf16>(query_rows * kLatentValueWidth);
    prefill->sets.push_back(shape);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [prefill](Stream stream, int copy) {
    launch_latent_prefill(prefill->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [prefill, seed] { return check_error(*prefill, seed); };
  prepared.error_limit = 5e-3;
  return prepared;
}

}  // namespace fleetsim::kernels

// Points of `latent_decode_attention`: shuffled page tables, pools drawn on the device, a sample of
// (sequence, query token, head) in float64.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/checks/check.h"
#include "kernels/device/device_memory.h"
#include "kernels/measure/arena.h"
#include "kernels/measure/attention_sets.h"
#include "kernels/measure/operator_points.h"
#include "kernels/operators/latent_decode_attention.h"
#include "kernels/reference/attention.h"

namespace fleetsim::kernels {
namespace {

/// Sequences that the check computes in float64, the longest and others by chance, and heads of
/// each.
constexpr int kSampledSequences = 2, kSampledHeads = 3;

struct LatentDecode {
  PageTable table;
  std::vector<LatentDecodeArguments> sets;

  std::size_t heads() const {  // of all query tokens of a sequence
    return static_cast<std::size_t>(sets[0].query_tokens) * static_cast<std::size_t>(sets[0].heads);
  }
};

void append_floats(std::vector<float>& values, const Bf16* device, std::size_t count) {
  std::vector<Bf16> bits(count);
  copy_to_host(bits.data(), device, count * sizeof(Bf16));
  std::transform(bits.begin(), bits.end(), std::back_inserter(values),
                 [](Bf16 v) { return to_float(v); });
}

/// Compares heads of one sequence: appends what the kernel wrote, and the reference.
void sample_sequence(const LatentDecode& decode, int sequence, RandomInputs& random,
                     std::vector<float>& out, std::vector<double>& reference) {
  const LatentDecodeArguments& a = decode.sets[0];
  const int length = decode.table.lengths[static_cast<std::size_t>(sequence)];
  if (length < a.query_tokens) return;  // rows that see nothing: the check of the operator has them
  AttentionInputs inputs;
  inputs.shape = {1, 1, kLatentRowElements, static_cast<double>(a.softmax_scale)};
  PageTable& table = inputs.table;  // the pages are put in order
  table.page_tokens = a.page_tokens;
  table.lengths = {length};
  table.pool_pages = table.row_pages = ceil_div(length, a.page_tokens);
  const std::size_t page = static_cast<std::size_t>(a.page_tokens) * kLatentRowElements;
  for (int i = 0; i < table.pool_pages; ++i) {
    table.pages.push_back(i);
    const int number = decode.table.page_of(sequence, i * a.page_tokens);
    append_floats(inputs.keys, a.cache_pages + static_cast<std::size_t>(number) * page, page);
  }
  inputs.values = inputs.keys;
  for (int i = 0; i < kSampledHeads; ++i) {
    const std::size_t head = random.below(static_cast<std::uint32_t>(decode.heads()));
    const int token = static_cast<int>(head) / a.heads;
    const std::size_t row = static_cast<std::size_t>(sequence) * decode.heads() + head;
    inputs.rows.push_back({0, length - (a.query_tokens - 1 - token)});
    append_floats(inputs.queries, a.query + row * kLatentRowElements, kLatentRowElements);
    append_floats(out, a.out + row * kLatentElements, kLatentElements);
  }
  const std::vector<double> exact = reference_attention(inputs).out;
  for (auto row = exact.begin(); row != exact.end(); row += kLatentRowElements)
    reference.insert(reference.end(), row, row + kLatentElements);
}

/// Runs set 0 on a poisoned output.
double check_error(const LatentDecode& decode, std::uint64_t seed) {
  const LatentDecodeArguments& a = decode.sets[0];
  const std::size_t elements =
      static_cast<std::size_t>(a.sequences) * decode.heads() * kLatentElements;
  device_fill(a.out, 0xFF, elements * sizeof(Bf16), {});
  launch_latent_decode(a, {});
  device_synchronize();
  std::vector<float> all;
  append_floats(all, a.out, elements);
  for (const float value : all)
    if (!std::isfinite(value)) return std::numeric_limits<double>::infinity();

  RandomInputs random(seed, "latent_decode_attention sample");
  const std::vector<int>& lengths = decode.table.lengths;
  std::vector<int> sequences = {
      static_cast<int>(std::max_element(lengths.begin(), lengths.end()) - lengths.begin())};
  while (static_cast<int>(sequences.size()) < std::min(kSampledSequences, a.sequences))
    sequences.push_back(static_cast<int>(random.below(static_cast<std::uint32_t>(a.sequences))));
  std::vector<float> out;
  std::vector<double> reference;
  for (const int sequence : sequences) sample_sequence(decode, sequence, random, out, reference);
  return compare(out, reference).relative_error;
}

}  // namespace

PreparedPoint prepare_latent_decode_attention(const Point& point, Arena& arena,
                                              std::uint64_t seed) {
  LatentDecodeArguments shape;
  shape.heads = static_cast<int>(point.integer("heads"));
  shape.query_tokens = static_cast<int>(point.integer("query_tokens"));
  shape.page_tokens = static_cast<int>(point.integer("page_tokens"));
  shape.softmax_scale = 1.0F / std::sqrt(192.0F);  // of keys before they were absorbed
  const std::vector<std::int64_t> given = point.lengths("lengths");
  const std::vector<int> lengths(given.begin(), given.end());
  shape.sequences = static_cast<int>(lengths.size());

  const auto decode = std::make_shared<LatentDecode>();
  RandomInputs random(seed, "latent_decode_attention pages");
  decode->table = shuffled_page_table(lengths, shape.page_tokens, random);
  shape.pages_per_sequence = decode->table.row_pages;
  shape.pages = decode->table.pool_pages;
  if (!latent_decode_supports(shape))
    throw NotSupportedHere(
        "the latent decode kernel takes up to 128 heads, up to 4 query tokens, pages of a power of "
        "two of at least 16 tokens, and batches whose tiles 32 bits can count");
  if (device_facts().compute_capability != 90)
    throw NotSupportedHere("the latent decode kernel is written for sm_90");
  shape.page_table = take(decode->table.pages, arena);
  shape.lengths = take(lengths, arena);
  // launches of a stream follow each other: one workspace for all sets
  shape.workspace = arena.take<std::uint8_t>(latent_decode_workspace_bytes(shape));

  const std::size_t rows = lengths.size() * static_cast<std::size_t>(shape.query_tokens) *
                           static_cast<std::size_t>(shape.heads);
  const std::size_t pool = static_cast<std::size_t>(shape.pages) *
                           static_cast<std::size_t>(shape.page_tokens) * kLatentRowElements;
  const int copies =
      rotation_copies((pool + rows * (kLatentRowElements + kLatentElements)) * sizeof(Bf16));
  for (int copy = 0; copy < copies; ++copy) {
    Bf16* query = arena.take<Bf16>(rows * kLatentRowElements);
    Bf16* cache = arena.take<Bf16>(pool);
    const std::uint64_t own_seed = seed + 2 * static_cast<std::uint64_t>(copy);
    fill_normal(query, rows * kLatentRowElements, 1.0F, own_seed, {});
    fill_normal(cache, pool, 1.0F, own_seed + 1, {});
    shape.query = query;
    shape.cache_pages = cache;
    shape.out = arena.take<Bf16>(rows * kLatentElements);
    decode->sets.push_back(shape);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [decode](Stream stream, int copy) {
    launch_latent_decode(decode->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [decode, seed] { return check_error(*decode, seed); };
  prepared.error_limit = 5e-3;
  return prepared;
}

}  // namespace fleetsim::kernels

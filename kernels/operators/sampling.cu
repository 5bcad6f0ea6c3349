// Rows are split over thread blocks; whatever these tell each other are integers and maxima, so a
// row's result does not depend on the split, and the last block of a row to come finishes it.
//
// A cut (top-k, top-p) is found in three passes over the logits:
//   1. the row's largest logit M;
//   2. a histogram over 2048 bins of z = (M - x) * 32 log2(e) / temperature, 32 bins for each
//      halving of probability: how many logits, and how much probability. Its last block finds the
//      bins in which the cuts lie;
//   3. draws among the tokens of better bins, all of which are kept, and lists those of the bins
//      with a cut. Its last block finds the exact cuts within the list by radix search over the
//      bits of the logits, and draws among those kept, too.
// z does not increase with x in floating point either: bins and bits agree about the order. A list
// that overflows (thousands of equal logits) is replaced by reading the row again.

#include <type_traits>

#include "kernels/device/warp.h"
#include "kernels/operators/sampling.h"
#include "kernels/operators/sampling_rows.h"

namespace fleetsim::kernels {
namespace {

using namespace sampling;

constexpr unsigned kThreads = 256;  // fewer for short rows without a cut
constexpr unsigned kBinsPerThread = kBins / kThreads;
constexpr unsigned kDigits = 256;   // of the radix search: one a thread
constexpr unsigned kListed = 4096;  // tokens in bins with a cut
// Probability is counted in units of 2^-44 of the largest token's: 2^17 tokens stay below 2^62.
constexpr float kUnit = 17592186044416.0F;
static_assert(kDigits == kThreads);

/// What passes tell each other about a row with a cut; zeros between launches.
struct RowState {
  unsigned largest_bits;         // ordered_bits of M
  unsigned first_bin, last_bin;  // the final cut lies in one of these
  unsigned count_bin;            // of the top-k cut; kBins: none
  unsigned count_before;         // tokens in bins before count_bin
  unsigned listed;               // tokens in bins with a cut
  Wide mass_before_first;        // probability in bins before first_bin
  Wide mass_before_count;        // and before count_bin; all of it without a top-k cut
};

/// Pointers into the workspace.
struct Workspace {
  unsigned* arrivals;    // [rows]: blocks that are through with the pass
  Wide* best;            // [rows][splits]: best_of() of a split
  RowState* states;      // [rows] and below only of SamplingMethod::filtered
  Wide* bin_masses;      // [rows][kBins], in 2^-24 of the bin's first probability
  unsigned* bin_counts;  // [rows][kBins]
  unsigned* lists;       // [rows][kListed]
  std::size_t bytes;
};

struct Parameters {
  SamplingArguments arguments;
  Workspace workspace;
  unsigned splits, logits_per_split;
};

/// A block's place in the work.
struct Part {
  unsigned row, split, begin, end;
  const float* logits;  // of the row
  bool aligned;
};

FLEETSIM_DEVICE Part part_of(const Parameters& p, unsigned row, unsigned split) {
  const SamplingArguments& a = p.arguments;
  Part part{row,
            split,
            split * p.logits_per_split,
            0,
            a.logits + row * a.row_stride,
            a.row_stride % 4 == 0};
  const unsigned vocab = static_cast<unsigned>(a.vocab);
  part.end = vocab - part.begin < p.logits_per_split ? vocab : part.begin + p.logits_per_split;
  return part;
}

/// Largest value of the block in every thread; scratch: 32 values of shared memory.
template <class T>
FLEETSIM_DEVICE T block_max(T value, T* scratch) {
  value = warp_max(value);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = value;
  sync_block();
  T largest = scratch[0];
  for (unsigned i = 1; i < blockDim.x / kWarpLanes; ++i)
    largest = scratch[i] > largest ? scratch[i] : largest;
  sync_block();
  return largest;
}

/// Sum of the values of lower threads; `total` that of all. Scratch as above.
FLEETSIM_DEVICE Wide sum_before(Wide value, Wide* scratch, Wide& total) {
  const int lane = static_cast<int>(threadIdx.x % kWarpLanes);
  const unsigned warp = threadIdx.x / kWarpLanes;
  Wide sum = value;  // of this lane and those below
  FLEETSIM_UNROLL
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const Wide below = shuffle_up(sum, distance);
    if (lane >= distance) sum += below;
  }
  if (lane == kWarpLanes - 1) scratch[warp] = sum;
  sync_block();
  Wide before = sum - value;
  total = 0;
  for (unsigned i = 0; i < kThreads / kWarpLanes; ++i) {
    if (i < warp) before += scratch[i];
    total += scratch[i];
  }
  sync_block();
  return before;
}

/// True in all threads of the last block of the row to come here, which sees what the others wrote.
FLEETSIM_DEVICE bool is_last_of_row(const Parameters& p, unsigned row, unsigned* scratch) {
  fence_device();
  sync_block();
  if (threadIdx.x == 0) {
    const bool last = add_release(p.workspace.arrivals + row, 1U) == p.splits - 1;
    if (last) p.workspace.arrivals[row] = 0;  // for the next pass
    *scratch = last ? 1U : 0U;
  }
  sync_block();
  const bool last = *scratch == 1U;
  sync_block();
  fence_device();
  return last;
}

/// The least probability (in units) that reaches `share` of `all`: 1 to `all`; grows with `all`.
FLEETSIM_DEVICE Wide share_of(float share, Wide all) {
  const double wanted = ceil(static_cast<double>(share) * static_cast<double>(all));
  if (!(wanted > 1.0)) return 1;
  const Wide units = static_cast<Wide>(wanted);
  return units < all ? units : all;
}

// ---- pass 1 ----

__global__ void __launch_bounds__(kThreads)
    find_largest_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const Part part = part_of(p, blockIdx.x / p.splits, blockIdx.x % p.splits);
  const RowRule rule = rule_of(p.arguments.parameters[part.row], p.arguments.vocab);
  if (!rule.limits_count && !rule.limits_mass) return;
  float largest = kMinusInfinity;
  for_each_four(part.logits, part.aligned, part.begin, part.end, [&](unsigned, const float4& four) {
    largest = fmaxf(fmaxf(largest, fmaxf(four.x, four.y)), fmaxf(four.z, four.w));
  });
  largest = block_max(largest, reinterpret_cast<float*>(dynamic_shared_memory()));
  if (threadIdx.x == 0)
    atomic_max(&p.workspace.states[part.row].largest_bits, ordered_bits(largest));
}

// ---- pass 2 ----

struct BinHistogram {  // in shared memory
  unsigned counts[kBins], low[kBins], high[kBins];
};
struct BinSearch {
  BinHistogram histogram;
  Wide scratch[kWarpLanes];
  unsigned first_bin, last_bin, count_bin, count_before, is_last;
  Wide mass_before_first, mass_before_count, mass_through_count;
};

/// Threads hold kBinsPerThread bins each, in order: calls found(bin, sum before it, sum through it)
/// in the one thread whose bin brings the sum to `wanted`, 1 or more.
template <class Found>
FLEETSIM_DEVICE void find_bin(const Wide (&own)[kBinsPerThread], Wide before, Wide wanted,
                              Found found) {
  FLEETSIM_UNROLL
  for (unsigned i = 0; i < kBinsPerThread; ++i) {
    const Wide through = before + own[i];
    if (before < wanted && wanted <= through)
      found(threadIdx.x * kBinsPerThread + i, before, through);
    before = through;
  }
}

/// The last block of a row: the bins with the cuts, from the whole row's histogram, which it
/// zeroes.
FLEETSIM_DEVICE void find_cut_bins(const Parameters& p, unsigned row, const RowRule& rule,
                                   BinSearch& shared) {
  Wide counts[kBinsPerThread], masses[kBinsPerThread];
  Wide own_count = 0, own_mass = 0;
  FLEETSIM_UNROLL
  for (unsigned i = 0; i < kBinsPerThread; ++i) {
    const unsigned bin = threadIdx.x * kBinsPerThread + i;
    const std::size_t at = static_cast<std::size_t>(row) * kBins + bin;
    counts[i] = p.workspace.bin_counts[at];
    const double scale = exp2(20.0 - static_cast<double>(bin) / 32.0);  // 2^-24 of it to units
    masses[i] = static_cast<Wide>(static_cast<double>(p.workspace.bin_masses[at]) * scale);
    p.workspace.bin_counts[at] = 0;
    p.workspace.bin_masses[at] = 0;
    own_count += counts[i];
    own_mass += masses[i];
  }
  Wide all_count, all_mass;
  const Wide count_before = sum_before(own_count, shared.scratch, all_count);
  const Wide mass_before = sum_before(own_mass, shared.scratch, all_mass);
  if (threadIdx.x == 0) {
    shared.count_bin = kBins;
    shared.count_before = 0;
    shared.mass_before_count = all_mass;
    shared.mass_through_count = all_mass;
  }
  sync_block();
  const Wide top_k = static_cast<Wide>(p.arguments.parameters[row].top_k);
  if (rule.limits_count && top_k < all_count) {
    find_bin(counts, count_before, top_k, [&](unsigned bin, Wide before, Wide) {
      shared.count_bin = bin;
      shared.count_before = static_cast<unsigned>(before);
    });
    sync_block();
    Wide mass = mass_before;
    FLEETSIM_UNROLL
    for (unsigned i = 0; i < kBinsPerThread; ++i) {
      if (threadIdx.x * kBinsPerThread + i == shared.count_bin) {
        shared.mass_before_count = mass;
        shared.mass_through_count = mass + masses[i];
      }
      mass += masses[i];
    }
  }
  sync_block();
  if (threadIdx.x == 0) {
    shared.first_bin = shared.last_bin = shared.count_bin;
    shared.mass_before_first = shared.mass_before_count;
  }
  sync_block();
  if (rule.limits_mass) {
    // what top-k keeps of its bin is not known yet: top-p's cut is bounded from both sides
    const float top_p = p.arguments.parameters[row].top_p;
    const Wide least = shared.mass_before_count > 0 ? shared.mass_before_count : 1;
    find_bin(masses, mass_before, share_of(top_p, least), [&](unsigned bin, Wide before, Wide) {
      shared.first_bin = bin;
      shared.mass_before_first = before;
    });
    find_bin(masses, mass_before, share_of(top_p, shared.mass_through_count),
             [&](unsigned bin, Wide, Wide) { shared.last_bin = bin; });
    sync_block();
  }
  if (threadIdx.x == 0) {
    RowState& state = p.workspace.states[row];
    state.first_bin = shared.first_bin;
    state.last_bin = shared.last_bin;
    state.count_bin = shared.count_bin;
    state.count_before = shared.count_before;
    state.mass_before_first = shared.mass_before_first;
    state.mass_before_count = shared.mass_before_count;
  }
}

__global__ void __launch_bounds__(kThreads, 3)
    find_cut_bins_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  // backwards: the rows that the pass before read last are still in L2
  const unsigned number = gridDim.x - 1 - blockIdx.x;
  const Part part = part_of(p, number / p.splits, number % p.splits);
  const RowRule rule = rule_of(p.arguments.parameters[part.row], p.arguments.vocab);
  if (!rule.limits_count && !rule.limits_mass) return;
  BinSearch& shared = *reinterpret_cast<BinSearch*>(dynamic_shared_memory());
  BinHistogram& histogram = shared.histogram;
  for (unsigned bin = threadIdx.x; bin < kBins; bin += kThreads)
    histogram.counts[bin] = histogram.low[bin] = histogram.high[bin] = 0;
  sync_block();
  const float largest = value_of_ordered(p.workspace.states[part.row].largest_bits);
  const auto count = [&](float x) {
    const float distance = distance_in_bins(x, largest, rule.per_bit);
    const unsigned bin = bin_of(distance);
    if (bin == kBins) return;
    if (rule.limits_count) atomic_add(&histogram.counts[bin], 1U);
    if (rule.limits_mass) {
      // of the bin's first probability: within (0.97, 1], exact in 2^-24
      const float relative = exp2_fast((static_cast<float>(bin) - distance) / kBinsPerHalving);
      add_wide(&histogram.low[bin], &histogram.high[bin],
               static_cast<unsigned>(relative * 16777216.0F));
    }
  };
  for_each_four(part.logits, part.aligned, part.begin, part.end,
                [&](unsigned first_id, const float4& four) {
                  const unsigned ids = ids_before(first_id, part.end);
                  if ((ids & 1U) != 0) count(four.x);
                  if ((ids & 2U) != 0) count(four.y);
                  if ((ids & 4U) != 0) count(four.z);
                  if ((ids & 8U) != 0) count(four.w);
                });
  sync_block();
  for (unsigned bin = threadIdx.x; bin < kBins; bin += kThreads) {
    const std::size_t at = static_cast<std::size_t>(part.row) * kBins + bin;
    if (histogram.counts[bin] != 0) atomic_add(p.workspace.bin_counts + at, histogram.counts[bin]);
    const Wide mass = static_cast<Wide>(histogram.high[bin]) << 32 | histogram.low[bin];
    if (mass != 0) atomic_add(p.workspace.bin_masses + at, mass);
  }
  if (is_last_of_row(p, part.row, &shared.is_last)) find_cut_bins(p, part.row, rule, shared);
}

// ---- pass 3 ----

struct DigitSearch {  // in shared memory
  unsigned counts[kDigits], low[kDigits], high[kDigits];
  Wide scratch[kWarpLanes];
  unsigned digit, is_last;
  Wide before, mass_before, mass_of_digit;
};

/// Tokens of a row in the bins with a cut.
struct Listed {
  const float* logits;  // of the row
  const unsigned* list;
  unsigned listed, vocab;  // more listed than kListed: the whole row is read instead
  unsigned first_bin, last_bin, count_bin;
  float largest, per_bit;
};

/// visit(id, logit, its bin, its distance) in some thread for each of them.
template <class Visit>
FLEETSIM_DEVICE void for_each_listed(const Listed& tokens, Visit visit) {
  const bool complete = tokens.listed <= kListed;
  const unsigned end = complete ? tokens.listed : tokens.vocab;
  for (unsigned i = threadIdx.x; i < end; i += kThreads) {
    const unsigned id = complete ? tokens.list[i] : i;
    const float x = without_nan(tokens.logits[id]);
    const float distance = distance_in_bins(x, tokens.largest, tokens.per_bit);
    const unsigned bin = bin_of(distance);
    if (bin == kBins) continue;
    if ((bin >= tokens.first_bin && bin <= tokens.last_bin) || bin == tokens.count_bin)
      visit(id, x, bin, distance);
  }
}

struct Cut {
  unsigned bits;      // ordered_bits of the least logit kept
  Wide mass_through;  // probability of those listed that pass the filter, from it upwards
};

/// The largest cut such that what lies above or at it, of the listed tokens that pass
/// `filter(bits, bin)`, is `wanted` or more: tokens (`by_mass` false) or units of probability. All
/// of them if they are fewer.
template <class Filter>
FLEETSIM_DEVICE Cut find_cut(const Listed& tokens, bool by_mass, Wide wanted, Filter filter,
                             DigitSearch& shared) {
  unsigned prefix = 0;
  Wide before = 0, mass_before = 0, mass_of_digit = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    shared.counts[threadIdx.x] = shared.low[threadIdx.x] = shared.high[threadIdx.x] = 0;
    if (threadIdx.x == 0) shared.digit = 0;
    sync_block();
    for_each_listed(tokens, [&](unsigned, float x, unsigned bin, float distance) {
      const unsigned bits = ordered_bits(x);
      if (shift < 24 && bits >> (shift + 8) != prefix) return;
      if (!filter(bits, bin)) return;
      const unsigned digit = bits >> shift & (kDigits - 1);
      atomic_add(&shared.counts[digit], 1U);
      add_wide(&shared.low[digit], &shared.high[digit],
               static_cast<Wide>(exp2_fast(-distance / kBinsPerHalving) * kUnit));
    });
    sync_block();
    const unsigned digit = kDigits - 1 - threadIdx.x;  // from above
    const Wide count = shared.counts[digit];
    const Wide mass = static_cast<Wide>(shared.high[digit]) << 32 | shared.low[digit];
    Wide all_count, all_mass;
    const Wide count_above = sum_before(count, shared.scratch, all_count);
    const Wide mass_above = mass_before + sum_before(mass, shared.scratch, all_mass);
    const Wide above = by_mass ? mass_above : before + count_above;
    const Wide own = by_mass ? mass : count;
    const Wide all = by_mass ? mass_before + all_mass : before + all_count;
    const bool reaches = above < wanted && wanted <= above + own;
    const bool is_least = all < wanted && count > 0 && count_above + count == all_count;
    if (reaches || is_least) {
      shared.digit = digit;
      shared.before = above;
      shared.mass_before = mass_above;
      shared.mass_of_digit = mass;
    }
    sync_block();
    prefix = prefix << 8 | shared.digit;
    before = shared.before;
    mass_before = shared.mass_before;
    mass_of_digit = shared.mass_of_digit;
    sync_block();
  }
  return {prefix, mass_before + mass_of_digit};
}

/// The last block of a row: its exact cut, and the best of the listed tokens that are kept.
FLEETSIM_DEVICE Wide draw_listed(const Parameters& p, unsigned row, const RowRule& rule,
                                 unsigned* cut_bits, DigitSearch& shared) {
  const RowState& state = p.workspace.states[row];
  const SamplingRow& parameters = p.arguments.parameters[row];
  const Listed tokens{p.arguments.logits + row * p.arguments.row_stride,
                      p.workspace.lists + static_cast<std::size_t>(row) * kListed,
                      state.listed,
                      static_cast<unsigned>(p.arguments.vocab),
                      state.first_bin,
                      state.last_bin,
                      state.count_bin,
                      value_of_ordered(state.largest_bits),
                      rule.per_bit};
  Wide mass_of_all = state.mass_before_count;  // that top-k keeps
  unsigned cut = 0;
  if (state.count_bin < kBins) {
    const Cut by_count = find_cut(
        tokens, false, static_cast<Wide>(parameters.top_k) - state.count_before,
        [&](unsigned, unsigned bin) { return bin == tokens.count_bin; }, shared);
    cut = by_count.bits;
    mass_of_all += by_count.mass_through;
  }
  if (rule.limits_mass) {
    const Wide wanted = share_of(parameters.top_p, mass_of_all);
    const unsigned count_cut = cut;
    cut = find_cut(
              tokens, true, wanted > state.mass_before_first ? wanted - state.mass_before_first : 1,
              [&](unsigned bits, unsigned bin) {
                return bits >= count_cut && bin >= tokens.first_bin && bin <= tokens.last_bin;
              },
              shared)
              .bits;
  }
  *cut_bits = cut;
  Wide best = 0;
  for_each_listed(tokens, [&](unsigned id, float x, unsigned, float) {
    if (ordered_bits(x) < cut) return;
    const float4 four = {x, x, x, x};
    best = better(best, best_of_four(rule, parameters, id - id % 4, four, 1U << id % 4));
  });
  return best;
}

template <SamplingMethod kMethod>
__global__ void __launch_bounds__(kThreads, kMethod == SamplingMethod::filtered ? 3 : 4)
    draw_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const SamplingArguments& a = p.arguments;
  const Part part = part_of(p, blockIdx.x / p.splits, blockIdx.x % p.splits);
  SamplingRow row;
  if constexpr (kMethod == SamplingMethod::greedy)
    row.temperature = 0;
  else
    row = a.parameters[part.row];
  const RowRule rule = rule_of(row, a.vocab);
  DigitSearch& shared = *reinterpret_cast<DigitSearch*>(dynamic_shared_memory());
  const bool cuts = kMethod == SamplingMethod::filtered && (rule.limits_count || rule.limits_mass);

  Wide best = 0;
  if (!cuts) {
    for_each_four(part.logits, part.aligned, part.begin, part.end,
                  [&](unsigned first_id, const float4& four) {
                    const unsigned ids = ids_before(first_id, part.end);
                    best = better(best, best_of_four(rule, row, first_id, four, ids));
                  });
  } else if constexpr (kMethod == SamplingMethod::filtered) {
    RowState& state = p.workspace.states[part.row];
    const float largest = value_of_ordered(state.largest_bits);
    const unsigned first_bin = state.first_bin, last_bin = state.last_bin;
    const unsigned count_bin = state.count_bin;
    unsigned* list = p.workspace.lists + static_cast<std::size_t>(part.row) * kListed;
    /// True when surely kept; puts what may be kept on the list.
    const auto keeps = [&](float x, unsigned id) {
      const unsigned bin = bin_of(distance_in_bins(x, largest, rule.per_bit));
      if (bin == kBins) return false;
      if (bin < first_bin) return true;
      if (bin <= last_bin || bin == count_bin) {
        const unsigned place = atomic_add(&state.listed, 1U);
        if (place < kListed) list[place] = id;
      }
      return false;
    };
    for_each_four(part.logits, part.aligned, part.begin, part.end,
                  [&](unsigned first_id, const float4& four) {
                    const unsigned ids = ids_before(first_id, part.end);
                    unsigned kept = 0;
                    if ((ids & 1U) != 0 && keeps(four.x, first_id)) kept |= 1U;
                    if ((ids & 2U) != 0 && keeps(four.y, first_id + 1)) kept |= 2U;
                    if ((ids & 4U) != 0 && keeps(four.z, first_id + 2)) kept |= 4U;
                    if ((ids & 8U) != 0 && keeps(four.w, first_id + 3)) kept |= 8U;
                    best = better(best, best_of_four(rule, row, first_id, four, kept));
                  });
  }
  best = block_max(best, shared.scratch);
  Wide* bests = p.workspace.best + static_cast<std::size_t>(part.row) * p.splits;
  if (threadIdx.x == 0) bests[part.split] = best;
  if (!is_last_of_row(p, part.row, &shared.is_last)) return;

  for (unsigned i = threadIdx.x; i < p.splits; i += blockDim.x) best = better(best, bests[i]);
  unsigned cut_bits = ordered_bits(kMinusInfinity);
  if constexpr (kMethod == SamplingMethod::filtered)
    if (cuts && p.workspace.states[part.row].first_bin < kBins)
      best = better(best, draw_listed(p, part.row, rule, &cut_bits, shared));
  best = block_max(best, shared.scratch);
  if (threadIdx.x != 0) return;
  a.tokens[part.row] = static_cast<std::int32_t>(0xffffffffU - static_cast<unsigned>(best));
  if (a.cuts != nullptr) a.cuts[part.row] = value_of_ordered(cut_bits);
  if constexpr (kMethod == SamplingMethod::filtered) p.workspace.states[part.row] = RowState{};
}

// ---- host ----

int splits_of(const SamplingArguments& a) { return a.splits > 0 ? a.splits : sampling_splits(a); }

/// Logits of a split: a multiple of 4.
unsigned logits_per_split(const SamplingArguments& a) {
  return ceil_div(ceil_div(static_cast<unsigned>(a.vocab), static_cast<unsigned>(splits_of(a))),
                  4U) *
         4;
}

Workspace workspace_of(const SamplingArguments& a) {
  Workspace workspace{};
  const auto rows = static_cast<std::size_t>(a.rows);
  auto* base = static_cast<unsigned char*>(a.workspace);
  const auto take = [&](auto*& pointer, std::size_t count) {
    using T = std::remove_reference_t<decltype(*pointer)>;
    if (base != nullptr) pointer = reinterpret_cast<T*>(base + workspace.bytes);
    workspace.bytes += ceil_div<std::size_t>(count * sizeof(T), 256) * 256;
  };
  take(workspace.arrivals, rows);
  take(workspace.best, rows * static_cast<std::size_t>(splits_of(a)));
  if (a.method != SamplingMethod::filtered) return workspace;
  take(workspace.states, rows);
  take(workspace.bin_masses, rows * kBins);
  take(workspace.bin_counts, rows * kBins);
  take(workspace.lists, rows * kListed);
  return workspace;
}

}  // namespace

int sampling_splits(const SamplingArguments& a) {
  // filtered blocks each empty a histogram of 2048 bins: fewer and longer ones
  const int blocks = device_facts().sms * (a.method == SamplingMethod::filtered ? 4 : 8);
  const int by_device = ceil_div(blocks, a.rows > 0 ? a.rows : 1);
  const int by_length = ceil_div(a.vocab, 2048);
  return by_device < by_length ? by_device : by_length;
}

std::size_t sampling_workspace_bytes(const SamplingArguments& arguments) {
  return workspace_of(arguments).bytes;
}

void launch_sampling(const SamplingArguments& a, Stream stream) {
  CHECK(a.rows >= 0 && a.vocab >= 1 && a.vocab <= 1 << 30 && a.row_stride >= a.vocab);
  CHECK(a.workspace != nullptr && a.tokens != nullptr && a.logits != nullptr);
  CHECK(a.method == SamplingMethod::greedy || a.parameters != nullptr);
  CHECK(a.splits >= 0);
  if (a.rows == 0) return;
  Parameters p{};
  p.arguments = a;
  p.workspace = workspace_of(a);
  p.logits_per_split = logits_per_split(a);
  p.splits = ceil_div(static_cast<unsigned>(a.vocab), p.logits_per_split);
  const std::int64_t blocks = static_cast<std::int64_t>(a.rows) * p.splits;
  CHECK(blocks < (std::int64_t{1} << 31), "too many rows for one launch");
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(blocks), 1, 1};
  shape.block = {kThreads, 1, 1};
  shape.stream = stream;
  shape.after_trigger = true;
  if (a.method == SamplingMethod::filtered) {
    shape.shared_bytes = kWarpLanes * sizeof(float);
    launch(find_largest_kernel, shape, p);
    shape.shared_bytes = sizeof(BinSearch);
    launch(find_cut_bins_kernel, shape, p);
  }
  shape.shared_bytes = sizeof(DigitSearch);
  if (a.method != SamplingMethod::filtered) {
    const unsigned useful = ceil_div(ceil_div(p.logits_per_split, 4U), 32U) * 32;
    shape.block.x = useful < kThreads ? useful : kThreads;
  }
  if (a.method == SamplingMethod::greedy)
    launch(draw_kernel<SamplingMethod::greedy>, shape, p);
  else if (a.method == SamplingMethod::gumbel)
    launch(draw_kernel<SamplingMethod::gumbel>, shape, p);
  else
    launch(draw_kernel<SamplingMethod::filtered>, shape, p);
}

}  // namespace fleetsim::kernels

// Three kernels, so that rows of 100,000 logits are read by the whole device and only numbers by
// the walk over a tree:
//   1. a block reads 4096 logits of a row: their largest, its id, and the sum of probabilities
//      relative to it. Pieces are a property of the vocabulary alone, and are added up in a fixed
//      order: a request's numbers do not depend on who shares the batch;
//   2. a block a request: p and q of every draft token from the pieces, then the walk, which all
//      threads do alike. Only siblings behind a rejected one need more than numbers: what is left
//      of p after the rejection, summed over the row by the block;
//   3. a block reads 4096 logits of the row where the walk ended and draws among them, the largest
//      of log2(weight) + Gumbel noise; the last block of a request to come takes the best. Requests
//      whose last row is greedy had their token in 2.

#include <type_traits>

#include "kernels/device/warp.h"
#include "kernels/operators/rejection_sampling.h"
#include "kernels/operators/sampling_rows.h"

namespace fleetsim::kernels {
namespace {

using namespace sampling;

constexpr unsigned kThreads = 256;  // fewer for small vocabularies
constexpr unsigned kFours = 4;      // 16-byte reads of a thread
constexpr unsigned kPieceLogits = kThreads * kFours * 4;

/// What kernel 1 says of a piece of a row.
struct Piece {
  Wide best;       // best_of() without noise: the largest logit and its lowest id
  float sum;       // of 2^((x - largest of the piece) * per_bit)
  float not_used;  // 16 bytes
};

/// What the walk says of the draw behind it.
struct Draw {
  unsigned row;            // to draw from
  unsigned depth;          // accepted tokens
  unsigned excluded;       // tokens that were rejected without probabilities
  unsigned likeliest;      // id of the largest logit
  float largest, per_bit;  // its logit
  float draft_weight;      // weights are 2^((x - largest) * per_bit) - draft_weight * q
  unsigned wanted;         // 1: kernel 3 draws
};

struct Workspace {
  Piece* pieces;           // [rows][pieces]
  Draw* draws;             // [requests]
  std::int32_t* excluded;  // [requests][nodes_max]
  Wide* best;              // [requests][pieces]
  unsigned* arrivals;      // [requests]: blocks of kernel 3 that are through; 0 between launches
  std::size_t bytes;
};

struct Parameters {
  RejectionSamplingArguments arguments;
  Workspace workspace;
  unsigned pieces;  // of a row
};

FLEETSIM_DEVICE float logit_of(Wide best) {
  return value_of_ordered(static_cast<unsigned>(best >> 32));
}
FLEETSIM_DEVICE unsigned id_of(Wide best) { return 0xffffffffU - static_cast<unsigned>(best); }
FLEETSIM_DEVICE bool is_infinite(float x) { return x == INFINITY || x == -INFINITY; }

/// Probability relative to that of `largest`; 1 of equal ones, infinite or not.
FLEETSIM_DEVICE float relative_weight(float x, float largest, float per_bit) {
  return x == largest ? 1.0F : exp2_fast((x - largest) * per_bit);
}

/// Draft probabilities as they count.
FLEETSIM_DEVICE float counted(float q) { return q > 0.0F ? q : 0.0F; }

/// Sum over the block's warps, in their order, in every thread; scratch: 32 values.
FLEETSIM_DEVICE float block_sum_in_order(float value, float* scratch) {
  value = warp_sum(value);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = value;
  sync_block();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / kWarpLanes; ++i) sum += scratch[i];
  sync_block();
  return sum;
}

FLEETSIM_DEVICE Wide block_best(Wide value, Wide* scratch) {
  value = warp_max(value);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = value;
  sync_block();
  for (unsigned i = 0; i < blockDim.x / kWarpLanes; ++i) value = better(value, scratch[i]);
  sync_block();
  return value;
}

/// Calls visit(first id, four values) for what this thread has of a piece.
template <class Visit>
FLEETSIM_DEVICE void for_each_four_of_piece(const float* row, bool aligned, unsigned piece,
                                            unsigned vocab, Visit visit) {
  const unsigned begin = piece * kPieceLogits;
  FLEETSIM_UNROLL
  for (unsigned i = 0; i < kFours; ++i) {
    const unsigned at = begin + (i * blockDim.x + threadIdx.x) * 4;
    if (at < vocab) visit(i, at, load_four(row, at, vocab, aligned));
  }
}

// ---- kernel 1: pieces of rows ----

__global__ void __launch_bounds__(kThreads) piece_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const RejectionSamplingArguments& a = p.arguments;
  const unsigned request = blockIdx.y;
  const unsigned node = blockIdx.x / p.pieces, piece = blockIdx.x % p.pieces;
  const unsigned row = static_cast<unsigned>(a.node_starts[request]) + node;
  if (row >= static_cast<unsigned>(a.node_starts[request + 1])) return;
  const unsigned vocab = static_cast<unsigned>(a.vocab);
  const float per_bit = rule_of(a.parameters[request], a.vocab).per_bit;
  auto* const scratch = reinterpret_cast<Wide*>(dynamic_shared_memory());

  float4 fours[kFours];
  Wide best = 0;
  FLEETSIM_UNROLL
  for (unsigned i = 0; i < kFours; ++i)
    fours[i] = {kMinusInfinity, kMinusInfinity, kMinusInfinity, kMinusInfinity};
  for_each_four_of_piece(a.logits + row * a.row_stride, a.row_stride % 4 == 0, piece, vocab,
                         [&](unsigned i, unsigned id, const float4& four) {
                           fours[i] = four;
                           best = better(best, best_of(four.x, id));
                           if (id + 1 < vocab) best = better(best, best_of(four.y, id + 1));
                           if (id + 2 < vocab) best = better(best, best_of(four.z, id + 2));
                           if (id + 3 < vocab) best = better(best, best_of(four.w, id + 3));
                         });
  best = block_best(best, scratch);
  const float largest = logit_of(best);
  float sum = 0;
  FLEETSIM_UNROLL
  for (unsigned i = 0; i < kFours; ++i)
    sum += relative_weight(fours[i].x, largest, per_bit) +
           relative_weight(fours[i].y, largest, per_bit) +
           relative_weight(fours[i].z, largest, per_bit) +
           relative_weight(fours[i].w, largest, per_bit);
  sum = block_sum_in_order(sum, reinterpret_cast<float*>(scratch));
  if (threadIdx.x == 0)
    p.workspace.pieces[static_cast<std::size_t>(row) * p.pieces + piece] = {best, sum, 0};
}

// ---- kernel 2: the walk ----

/// A request's tree in shared memory.
struct Tree {
  int parent[kDraftNodesMax];
  std::int32_t token[kDraftNodesMax];
  float largest[kDraftNodesMax];       // logit of the node's row
  unsigned likeliest[kDraftNodesMax];  // its id
  float mass[kDraftNodesMax];  // of the row, relative to its largest; 0: all of it on the likeliest
  float target[kDraftNodesMax];  // p of the node's token in its parent's row, times mass
  float draft[kDraftNodesMax];   // q of it
  std::int32_t rejected[kDraftNodesMax];
  float scratch[kWarpLanes];
};

/// A warp adds up the pieces of a row.
FLEETSIM_DEVICE void read_row(const Parameters& p, unsigned row, bool greedy, float per_bit,
                              int node, Tree& tree) {
  const unsigned lane = threadIdx.x % kWarpLanes;
  const Piece* pieces = p.workspace.pieces + static_cast<std::size_t>(row) * p.pieces;
  Wide best = 0;
  for (unsigned i = lane; i < p.pieces; i += kWarpLanes) best = better(best, pieces[i].best);
  best = warp_max(best);
  const float largest = logit_of(best);
  float mass = 0;
  for (unsigned i = lane; i < p.pieces; i += kWarpLanes)
    mass += pieces[i].sum * relative_weight(logit_of(pieces[i].best), largest, per_bit);
  mass = warp_sum(mass);
  if (lane != 0) return;
  tree.largest[node] = largest;
  tree.likeliest[node] = id_of(best);
  tree.mass[node] = greedy || is_infinite(largest) ? 0.0F : mass;
}

/// What is left of a row when `draft_weight` times its draft probabilities is taken away: the sum
/// of max(2^((x - largest) * per_bit) - draft_weight * q, 0), in every thread.
FLEETSIM_DEVICE float mass_left(const RejectionSamplingArguments& a, unsigned row, float largest,
                                float per_bit, float draft_weight, float* scratch) {
  const float* logits = a.logits + row * a.row_stride;
  const float* draft = a.draft_probabilities + row * a.row_stride;
  const unsigned vocab = static_cast<unsigned>(a.vocab);
  const bool aligned = a.row_stride % 4 == 0;
  float sum = 0;
  const auto left = [&](float x, float q) {
    return fmaxf(relative_weight(x, largest, per_bit) - draft_weight * counted(q), 0.0F);
  };
  for (unsigned at = threadIdx.x * 4; at < vocab; at += blockDim.x * 4) {
    const float4 x = load_four(logits, at, vocab, aligned);  // beyond the end: no weight
    const float4 q = load_four(draft, at, vocab, aligned);
    sum += left(x.x, q.x) + left(x.y, q.y) + left(x.z, q.z) + left(x.w, q.w);
  }
  return block_sum_in_order(sum, scratch);
}

__global__ void __launch_bounds__(kThreads) walk_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const RejectionSamplingArguments& a = p.arguments;
  const unsigned request = blockIdx.x, thread = threadIdx.x;
  const unsigned first_row = static_cast<unsigned>(a.node_starts[request]);
  const int nodes = a.node_starts[request + 1] - static_cast<int>(first_row);
  if (nodes <= 0) {
    if (thread == 0) p.workspace.draws[request].wanted = 0;
    return;
  }
  Tree& tree = *reinterpret_cast<Tree*>(dynamic_shared_memory());
  const SamplingRow parameters = a.parameters[request];
  const RowRule rule = rule_of(parameters, a.vocab);

  for (int node = static_cast<int>(thread / kWarpLanes); node < nodes;
       node += static_cast<int>(blockDim.x / kWarpLanes))
    read_row(p, first_row + static_cast<unsigned>(node), rule.greedy, rule.per_bit, node, tree);
  sync_block();
  for (int node = static_cast<int>(thread); node < nodes; node += static_cast<int>(blockDim.x)) {
    tree.parent[node] = node == 0 ? -1 : a.parents[first_row + static_cast<unsigned>(node)];
    const std::int32_t token =
        node == 0 ? 0 : a.draft_tokens[first_row + static_cast<unsigned>(node)];
    tree.token[node] = token;
    if (node == 0) continue;
    const int parent = tree.parent[node];
    const std::size_t at = (first_row + static_cast<unsigned>(parent)) * a.row_stride + token;
    tree.target[node] =
        tree.mass[parent] == 0
            ? (static_cast<unsigned>(token) == tree.likeliest[parent] ? 1.0F : 0.0F)
            : relative_weight(without_nan(a.logits[at]), tree.largest[parent], rule.per_bit);
    tree.draft[node] = a.draft_probabilities == nullptr ? 0 : counted(a.draft_probabilities[at]);
  }
  sync_block();

  // Every thread walks alike. At the node reached: `left` is the mass of what p has become, in
  // units of the row's largest probability; of `taken` times q it was relieved.
  int here = 0;
  unsigned depth = 0, tried = 0, rejected = 0;
  const auto arrive = [&](float& left, float& taken) {
    left = tree.mass[here] == 0 ? 1.0F : tree.mass[here];
    taken = 0;
    tried = rejected = 0;
  };
  float left, taken;
  bool is_stale = false;  // a child was rejected, and `left` is not summed up again yet
  arrive(left, taken);
  for (int node = 1; node < nodes; ++node) {
    if (tree.parent[node] != here) continue;
    const std::int32_t token = tree.token[node];
    const bool certain = tree.mass[here] == 0;  // all of it is on one token
    const bool with_draft = a.draft_probabilities != nullptr && !certain;
    if (is_stale) {
      left = mass_left(a, first_row + static_cast<unsigned>(here), tree.largest[here], rule.per_bit,
                       taken, tree.scratch);
      is_stale = false;
    }
    const float chance = open_unit(
        random_words(parameters.seed, parameters.position + depth, DrawPurpose::acceptance, tried)
            .x);
    ++tried;
    float weight = tree.target[node];  // of the token in what p has become
    bool accept;
    if (with_draft) {
      weight = fmaxf(weight - taken * tree.draft[node], 0.0F);
      accept = chance * tree.draft[node] * left < weight;
    } else {
      for (unsigned i = 0; i < rejected; ++i)
        if (tree.rejected[i] == token) weight = 0;
      accept = certain ? weight > 0 : chance * left < weight;
    }
    if (accept) {
      if (thread == 0) {
        a.tokens[static_cast<std::size_t>(request) * a.nodes_max + depth] = token;
        if (a.nodes != nullptr)
          a.nodes[static_cast<std::size_t>(request) * a.nodes_max + depth] = node;
      }
      here = node;
      ++depth;
      is_stale = false;
      arrive(left, taken);
    } else if (with_draft) {
      taken += left;
      is_stale = true;
    } else if (!certain && weight > 0) {
      left -= weight;
      sync_block();  // nobody reads the list
      if (thread == 0) tree.rejected[rejected] = token;
      sync_block();
      ++rejected;
    }
  }

  const bool certain = tree.mass[here] == 0;
  for (unsigned i = thread; i < rejected; i += blockDim.x)
    p.workspace.excluded[static_cast<std::size_t>(request) * a.nodes_max + i] = tree.rejected[i];
  if (thread != 0) return;
  a.accepted[request] = static_cast<std::int32_t>(depth);
  if (certain)
    a.tokens[static_cast<std::size_t>(request) * a.nodes_max + depth] =
        static_cast<std::int32_t>(tree.likeliest[here]);
  p.workspace.draws[request] = {first_row + static_cast<unsigned>(here),
                                depth,
                                rejected,
                                tree.likeliest[here],
                                tree.largest[here],
                                rule.per_bit,
                                taken,
                                certain ? 0U : 1U};
}

// ---- kernel 3: the next token ----

__global__ void __launch_bounds__(kThreads)
    next_token_kernel(const __grid_constant__ Parameters p) {
  wait_for_kernel_before();
  let_next_kernel_start();
  const RejectionSamplingArguments& a = p.arguments;
  const unsigned request = blockIdx.y, piece = blockIdx.x;
  const Draw draw = p.workspace.draws[request];
  if (draw.wanted == 0) return;
  const unsigned vocab = static_cast<unsigned>(a.vocab);
  const bool aligned = a.row_stride % 4 == 0;
  const float* const draft =
      draw.draft_weight > 0 ? a.draft_probabilities + draw.row * a.row_stride : nullptr;
  const std::int32_t* const excluded =
      p.workspace.excluded + static_cast<std::size_t>(request) * a.nodes_max;
  SamplingRow parameters = a.parameters[request];
  parameters.position += draw.depth;
  auto* const scratch = reinterpret_cast<Wide*>(dynamic_shared_memory());

  Wide best = 0;
  for_each_four_of_piece(
      a.logits + draw.row * a.row_stride, aligned, piece, vocab,
      [&](unsigned, unsigned first_id, const float4& four) {
        unsigned kept = ids_before(first_id, vocab);
        for (unsigned i = 0; i < draw.excluded; ++i) {
          const unsigned place = static_cast<unsigned>(excluded[i]) - first_id;
          if (place < 4) kept &= ~(1U << place);
        }
        const float4 noise = noise_of_four(parameters, first_id, DrawPurpose::recovered_token);
        float4 q = {0, 0, 0, 0};
        if (draft != nullptr) q = load_four(draft, first_id, vocab, aligned);
        const auto add = [&](unsigned i, float x, float probability, float own_noise) {
          if ((kept >> i & 1U) == 0) return;
          float score = (x - draw.largest) * draw.per_bit;
          if (draft != nullptr) {
            const float weight = exp2_fast(score) - draw.draft_weight * counted(probability);
            if (!(weight > 0)) return;
            score = log2_fast(weight);
          }
          if (score == kMinusInfinity) return;
          best = better(best, best_of(score + own_noise, first_id + i));
        };
        add(0, four.x, q.x, noise.x);
        add(1, four.y, q.y, noise.y);
        add(2, four.z, q.z, noise.z);
        add(3, four.w, q.w, noise.w);
      });
  best = block_best(best, scratch);
  Wide* const bests = p.workspace.best + static_cast<std::size_t>(request) * p.pieces;
  auto* const is_last = reinterpret_cast<unsigned*>(scratch);
  if (threadIdx.x == 0) {
    bests[piece] = best;
    fence_device();
    const bool last = add_release(p.workspace.arrivals + request, 1U) == p.pieces - 1;
    if (last) p.workspace.arrivals[request] = 0;  // for the next launch
    *is_last = last ? 1U : 0U;
  }
  sync_block();
  const bool last = *is_last == 1U;
  sync_block();
  if (!last) return;
  fence_device();
  best = 0;
  for (unsigned i = threadIdx.x; i < p.pieces; i += blockDim.x) best = better(best, bests[i]);
  best = block_best(best, scratch);
  if (threadIdx.x == 0)
    a.tokens[static_cast<std::size_t>(request) * a.nodes_max + draw.depth] =
        static_cast<std::int32_t>(best == 0 ? draw.likeliest : id_of(best));
}

// ---- host ----

unsigned pieces_of(const RejectionSamplingArguments& a) {
  return ceil_div(static_cast<unsigned>(a.vocab), kPieceLogits);
}

Workspace workspace_of(const RejectionSamplingArguments& a) {
  Workspace workspace{};
  const auto rows = static_cast<std::size_t>(a.rows);
  const auto requests = static_cast<std::size_t>(a.requests);
  auto* base = static_cast<unsigned char*>(a.workspace);
  const auto take = [&](auto*& pointer, std::size_t count) {
    using T = std::remove_reference_t<decltype(*pointer)>;
    if (base != nullptr) pointer = reinterpret_cast<T*>(base + workspace.bytes);
    workspace.bytes += ceil_div<std::size_t>(count * sizeof(T), 256) * 256;
  };
  take(workspace.pieces, rows * pieces_of(a));
  take(workspace.draws, requests);
  take(workspace.excluded, requests * static_cast<std::size_t>(a.nodes_max));
  take(workspace.best, requests * pieces_of(a));
  take(workspace.arrivals, requests);
  return workspace;
}

}  // namespace

std::size_t rejection_sampling_workspace_bytes(const RejectionSamplingArguments& arguments) {
  return workspace_of(arguments).bytes;
}

void launch_rejection_sampling(const RejectionSamplingArguments& a, Stream stream) {
  CHECK(a.requests >= 0 && a.requests <= 65535 && a.rows >= 0);  // a grid is 65535 blocks high
  CHECK(a.nodes_max >= 1 && a.nodes_max <= kDraftNodesMax);
  CHECK(a.vocab >= 1 && a.vocab <= 1 << 24 && a.row_stride >= a.vocab);
  CHECK(a.logits != nullptr && a.node_starts != nullptr && a.parents != nullptr);
  CHECK(a.draft_tokens != nullptr && a.parameters != nullptr && a.workspace != nullptr);
  CHECK(a.tokens != nullptr && a.accepted != nullptr);
  if (a.requests == 0 || a.rows == 0) return;
  const Parameters p{a, workspace_of(a), pieces_of(a)};
  const unsigned requests = static_cast<unsigned>(a.requests);
  const unsigned useful = ceil_div(ceil_div(static_cast<unsigned>(a.vocab), 4U), 32U) * 32;
  LaunchShape shape;
  shape.block = {useful < kThreads ? useful : kThreads, 1, 1};
  shape.stream = stream;
  shape.after_trigger = true;
  shape.shared_bytes = kWarpLanes * sizeof(Wide);
  shape.grid = {p.pieces * static_cast<unsigned>(a.nodes_max), requests, 1};
  launch(piece_kernel, shape, p);
  shape.shared_bytes = sizeof(Tree);
  shape.grid = {requests, 1, 1};
  launch(walk_kernel, shape, p);
  shape.shared_bytes = kWarpLanes * sizeof(Wide);
  shape.grid = {p.pieces, requests, 1};
  launch(next_token_kernel, shape, p);
}

}  // namespace fleetsim::kernels

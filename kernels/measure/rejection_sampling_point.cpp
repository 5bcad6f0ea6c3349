// Points of `rejection_sampling`: temperature 1, logits with a standard deviation of 3, draft
// tokens by chance (few are accepted; what is read hardly depends on it). Draft probabilities are
// all 2.7e-6: of a vocabulary of 100,000 they sum to less than 1, which the kernel does not mind.

#include <memory>

#include "kernels/device/device_memory.h"
#include "kernels/measure/operator_points.h"
#include "kernels/measure/row_sample.h"
#include "kernels/operators/rejection_sampling.h"
#include "kernels/reference/gemm.h"
#include "kernels/reference/random_inputs.h"
#include "kernels/reference/rejection_sampling.h"

namespace fleetsim::kernels {
namespace {

constexpr int kSampledRequests = 2;
constexpr int kProbabilityByte = 0x36;  // of a float: 0x36363636 is 2.7e-6

struct Verifications {
  std::vector<RejectionSamplingArguments> sets;
  std::vector<SamplingRow> requests;
  std::vector<std::int32_t> draft_tokens;
  DraftTree tree;  // of every request
};

template <class T>
const T* take(const std::vector<T>& values, Arena& arena) {
  T* memory = arena.take<T>(values.size());
  copy_to_device(memory, values.data(), values.size() * sizeof(T));
  return memory;
}

/// Sampled requests whose tokens float64 clearly contradicts.
double check_error(const Verifications& verifications, std::uint64_t seed) {
  const RejectionSamplingArguments& a = verifications.sets[0];
  const auto nodes = static_cast<std::size_t>(a.nodes_max);
  const auto requests = static_cast<std::size_t>(a.requests);
  device_fill(a.tokens, 0xFF, requests * nodes * sizeof(std::int32_t), {});
  device_fill(a.accepted, 0xFF, requests * sizeof(std::int32_t), {});
  launch_rejection_sampling(a, {});
  device_synchronize();
  std::vector<std::int32_t> tokens(requests * nodes), accepted(requests);
  copy_to_host(tokens.data(), a.tokens, tokens.size() * sizeof(std::int32_t));
  copy_to_host(accepted.data(), a.accepted, requests * sizeof(std::int32_t));
  double wrong = 0;
  for (const int request : sampled_indices(a.requests, kSampledRequests, seed)) {
    const auto at = static_cast<std::size_t>(request);
    DraftInputs inputs;
    inputs.tree = verifications.tree;
    for (std::size_t node = 0; node < nodes; ++node) {
      const int row = request * a.nodes_max + static_cast<int>(node);
      inputs.tokens.push_back(verifications.draft_tokens[at * nodes + node]);
      inputs.logits.push_back(rows_of(a.logits, static_cast<int>(a.row_stride), {row}));
      if (a.draft_probabilities != nullptr)
        inputs.draft_probabilities.push_back(
            rows_of(a.draft_probabilities, static_cast<int>(a.row_stride), {row}));
    }
    inputs.seed = verifications.requests[at].seed;
    inputs.position = verifications.requests[at].position;
    const DraftVerdict verdict = rejection_reference(inputs);
    if (!verdict.clear) continue;
    const std::size_t count = verdict.tokens.size();
    bool same = accepted[at] == static_cast<std::int32_t>(count) - 1;
    for (std::size_t i = 0; same && i < count; ++i)
      same = tokens[at * nodes + i] == verdict.tokens[i];
    wrong += same ? 0 : 1;
  }
  return wrong;
}

}  // namespace

PreparedPoint prepare_rejection_sampling(const Point& point, Arena& arena, std::uint64_t seed) {
  RejectionSamplingArguments a;
  a.requests = static_cast<int>(point.integer("requests"));
  a.nodes_max = static_cast<int>(point.integer("draft_tokens"));
  a.rows = a.requests * a.nodes_max;
  a.vocab = static_cast<int>(point.integer("vocab"));
  a.row_stride = a.vocab;
  const auto verifications = std::make_shared<Verifications>();
  verifications->tree =
      point.word("draft") == "tree" ? level_tree(a.nodes_max, 4) : chain_tree(a.nodes_max);
  RandomInputs random(seed, "rejection_sampling point");
  std::vector<int> starts = {0}, parents;
  for (int i = 0; i < a.requests; ++i) {
    SamplingRow row;
    row.seed = std::uint64_t{random.word()} << 32 | random.word();
    row.position = random.below(8192);
    verifications->requests.push_back(row);
    for (const int parent : verifications->tree) {
      parents.push_back(parent);
      verifications->draft_tokens.push_back(
          static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(a.vocab))));
    }
    starts.push_back(static_cast<int>(parents.size()));
  }
  a.node_starts = take(starts, arena);
  a.parents = take(parents, arena);
  a.draft_tokens = take(verifications->draft_tokens, arena);
  a.parameters = take(verifications->requests, arena);
  a.tokens = arena.take<std::int32_t>(parents.size());
  a.accepted = arena.take<std::int32_t>(verifications->requests.size());
  const std::size_t workspace_bytes = rejection_sampling_workspace_bytes(a);
  a.workspace = arena.take<unsigned char>(workspace_bytes);
  device_fill(a.workspace, 0, workspace_bytes, {});

  const std::size_t logits = parents.size() * static_cast<std::size_t>(a.vocab);
  const bool drawn = point.word("drafts") == "drawn";
  const int copies = rotation_copies(logits * sizeof(float) * (drawn ? 2 : 1));
  for (int copy = 0; copy < copies; ++copy) {
    float* values = arena.take<float>(logits);
    fill_normal(values, logits, 3.0F, seed + static_cast<std::uint64_t>(copy), {});
    a.logits = values;
    if (drawn) {
      float* probabilities = arena.take<float>(logits);
      device_fill(probabilities, kProbabilityByte, logits * sizeof(float), {});
      a.draft_probabilities = probabilities;
    }
    verifications->sets.push_back(a);
  }
  device_synchronize();

  PreparedPoint prepared;
  prepared.copies = copies;
  prepared.launch = [verifications](Stream stream, int copy) {
    launch_rejection_sampling(verifications->sets[static_cast<std::size_t>(copy)], stream);
  };
  prepared.check_error = [verifications, seed] { return check_error(*verifications, seed); };
  prepared.error_limit = 0;
  return prepared;
}

}  // namespace fleetsim::kernels

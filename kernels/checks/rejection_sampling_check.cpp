#include "kernels/checks/rejection_sampling_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "hw_models/check.h"
#include "kernels/checks/operator_checks.h"
#include "kernels/device/device_memory.h"
#include "kernels/operators/rejection_sampling.h"
#include "kernels/reference/rejection_sampling.h"
#include "kernels/reference/sampling.h"

namespace fleetsim::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

struct Outcome {
  std::vector<int> nodes, tokens;
  bool operator==(const Outcome&) const = default;
};

int draw(const std::vector<double>& probability, RandomInputs& random) {
  double rest = static_cast<double>(random.unit());
  int last = 0;
  for (std::size_t id = 0; id < probability.size(); ++id) {
    if (!(probability[id] > 0)) continue;
    last = static_cast<int>(id);
    rest -= probability[id];
    if (rest < 0) break;
  }
  return last;
}

std::vector<float> floats_of(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// Runs a batch `times` times on one workspace.
std::vector<Outcome> run(int times, const std::vector<DraftInputs>& requests, int nodes_max,
                         int vocab, int row_stride, std::string* problem) {
  std::vector<int> starts = {0}, parents;
  std::vector<std::int32_t> tokens;
  std::vector<float> logits, probabilities;
  std::vector<SamplingRow> rows;
  const auto add_row = [&](std::vector<float>& to, const std::vector<float>& row) {
    to.insert(to.end(), row.begin(), row.end());
    to.resize(to.size() + static_cast<std::size_t>(row_stride - vocab), 1e30F);  // read by nobody
  };
  for (const DraftInputs& request : requests) {
    parents.insert(parents.end(), request.tree.begin(), request.tree.end());
    tokens.insert(tokens.end(), request.tokens.begin(), request.tokens.end());
    for (const auto& row : request.logits) add_row(logits, row);
    for (const auto& row : request.draft_probabilities) add_row(probabilities, row);
    starts.push_back(static_cast<int>(parents.size()));
    SamplingRow row;
    row.temperature = static_cast<float>(request.temperature);
    row.seed = request.seed;
    row.position = request.position;
    rows.push_back(row);
  }
  const DeviceBuffer<int> device_starts(starts), device_parents(parents);
  const DeviceBuffer<std::int32_t> device_tokens(tokens);
  const DeviceBuffer<float> device_logits(logits), device_probabilities(probabilities);
  const DeviceBuffer<SamplingRow> device_rows(rows);
  RejectionSamplingArguments a;
  a.logits = device_logits.data();
  a.node_starts = device_starts.data();
  a.parents = device_parents.data();
  a.draft_tokens = device_tokens.data();
  if (!probabilities.empty()) a.draft_probabilities = device_probabilities.data();
  a.parameters = device_rows.data();
  a.requests = static_cast<int>(requests.size());
  a.rows = static_cast<int>(parents.size());
  a.nodes_max = nodes_max;
  a.vocab = vocab;
  a.row_stride = row_stride;
  const DeviceBuffer<unsigned char> workspace(rejection_sampling_workspace_bytes(a));
  device_fill(workspace.data(), 0, workspace.size(), Stream{});
  a.workspace = workspace.data();

  std::vector<Outcome> first;
  for (int time = 0; time < times; ++time) {
    const std::size_t places = requests.size() * static_cast<std::size_t>(nodes_max);
    const DeviceBuffer<std::int32_t> out(places), nodes(places), accepted(requests.size());
    a.tokens = out.data();
    a.nodes = nodes.data();
    a.accepted = accepted.data();
    launch_rejection_sampling(a, Stream{});
    device_synchronize();
    const auto all_tokens = out.values(), all_nodes = nodes.values(), counts = accepted.values();
    if (!out.guards_intact() || !nodes.guards_intact() || !accepted.guards_intact() ||
        !workspace.guards_intact())
      *problem = "a guard was overwritten";
    std::vector<Outcome> outcomes(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].tree.empty()) continue;
      const int count = counts[i];
      if (count < 0 || count >= nodes_max) {
        *problem = "an impossible number of accepted tokens";
        continue;
      }
      const auto at = static_cast<std::ptrdiff_t>(i) * nodes_max;
      outcomes[i].nodes.assign(all_nodes.begin() + at, all_nodes.begin() + at + count);
      outcomes[i].tokens.assign(all_tokens.begin() + at, all_tokens.begin() + at + count + 1);
    }
    if (time == 0) first = outcomes;
    if (!(first == outcomes)) *problem = "two runs differ";
  }
  return first;
}

std::vector<float> random_logits(const RejectionCase& c, std::size_t row, RandomInputs& random) {
  std::vector<float> logits;
  for (int id = 0; id < c.vocab; ++id) {
    float x = 3.0F * random.normal();
    if (c.shape == LogitShape::coarse) x = std::round(2.0F * x) / 2.0F;
    if (c.shape == LogitShape::flat) x = -1.5F;
    if (c.shape == LogitShape::masked && id % 3 == 0) x = -kInfinity;
    if (c.shape == LogitShape::masked && id % 11 == 7) x = kNotANumber;
    if (c.shape == LogitShape::masked && row % 7 == 4) x = id % 2 == 0 ? -kInfinity : kNotANumber;
    if (c.shape == LogitShape::masked && row % 7 == 5 && id % 5 == 3) x = kInfinity;
    if (c.shape == LogitShape::peaked && id == c.vocab / 2) x = 60.0F;
    logits.push_back(x);
  }
  return logits;
}

/// A tree whose drafts come from somewhat other logits than the target's.
DraftInputs random_request(const RejectionCase& c, std::size_t number, RandomInputs& random) {
  DraftInputs request;
  // the batch holds a request without a root, one without drafts, and a full one
  const int nodes = number % 8 == 3   ? 0
                    : number % 8 == 4 ? 1
                    : number % 8 == 5
                        ? c.nodes_max
                        : 1 + static_cast<int>(random.below(static_cast<unsigned>(c.nodes_max)));
  if (nodes > 0)
    request.tree = number % 3 == 0   ? chain_tree(nodes)
                   : number % 3 == 1 ? level_tree(nodes, 3)
                                     : random_tree(nodes, random);
  request.temperature = number % 5 == 2 ? 0.0 : 0.3 + static_cast<double>(random.unit());
  request.temperature = static_cast<double>(static_cast<float>(request.temperature));
  request.seed = std::uint64_t{random.word()} << 32 | random.word();
  request.position = random.word();
  std::vector<std::vector<double>> drafts;
  for (int node = 0; node < nodes; ++node) {
    request.logits.push_back(random_logits(c, number + static_cast<std::size_t>(node), random));
    std::vector<float> others = request.logits.back();
    for (float& x : others) x += 0.7F * random.normal();
    drafts.push_back(target_distribution(others, std::max(0.3, request.temperature)));
    request.tokens.push_back(
        node == 0 ? -1 : draw(drafts[static_cast<std::size_t>(request.tree[node])], random));
    if (!c.with_probabilities) continue;
    request.draft_probabilities.push_back(floats_of(drafts.back()));
    if (c.shape == LogitShape::masked)  // count as 0
      for (std::size_t id = 5; id < others.size(); id += 17)
        request.draft_probabilities.back()[id] = id % 2 == 0 ? kNotANumber : -1.0F;
  }
  return request;
}

// ---- draws ----

constexpr int kDrawVocab = 7;

/// The target's and the draft's logits of the first token, and of the second behind each first.
struct TwoTokens {
  std::vector<float> first, draft_first;
  std::vector<std::vector<float>> second, draft_second;
};

TwoTokens random_model(RandomInputs& random) {
  TwoTokens model;
  model.first = random.normals(kDrawVocab);
  model.draft_first = random.normals(kDrawVocab);
  for (int i = 0; i < kDrawVocab; ++i) {
    model.second.push_back(random.normals(kDrawVocab));
    model.draft_second.push_back(random.normals(kDrawVocab));
  }
  return model;
}

/// Drafts of `model` in a tree of two levels.
DraftInputs drawn_request(const TwoTokens& model, int children, bool with_probabilities,
                          DraftFault fault, RandomInputs& random) {
  DraftInputs request;
  request.tree = level_tree(1 + children + children * children, children);
  for (std::size_t node = 0; node < request.tree.size(); ++node) {
    int token = -1;
    if (node > 0) {
      const auto parent = static_cast<std::size_t>(request.tree[node]);
      const int sibling = static_cast<int>(node - 1) % children;
      const auto& draft =
          parent == 0 ? model.draft_first
                      : model.draft_second[static_cast<std::size_t>(request.tokens[parent])];
      if (!with_probabilities)
        token = (request.tokens[parent] + 2 + sibling % 2 * 3) % kDrawVocab;
      else
        token = draw(target_distribution(draft, 1), random);
    }
    request.tokens.push_back(token);
    const auto at = static_cast<std::size_t>(std::max(token, 0));
    request.logits.push_back(node == 0 ? model.first : model.second[at]);
    if (!with_probabilities) continue;
    const std::vector<float>& own = node == 0 ? model.draft_first : model.draft_second[at];
    const double told = fault == DraftFault::other_distribution ? 2 : 1;
    request.draft_probabilities.push_back(floats_of(target_distribution(own, told)));
  }
  return request;
}

}  // namespace

CheckReport check_rejection_case(const RejectionCase& c, std::uint64_t seed) {
  CheckReport report{"rejection sampling: " + std::to_string(c.requests) + " requests of up to " +
                         std::to_string(c.nodes_max) + " nodes, vocab " + std::to_string(c.vocab) +
                         " by " + std::to_string(c.row_stride) + ", logits " +
                         std::to_string(static_cast<int>(c.shape)) +
                         (c.with_probabilities ? ", with" : ", without") + " probabilities, seed " +
                         std::to_string(seed),
                     0, 0, ""};
  RandomInputs random(seed, report.what);
  std::vector<DraftInputs> requests;
  for (int i = 0; i < c.requests; ++i)
    requests.push_back(random_request(c, static_cast<std::size_t>(i), random));
  const std::vector<Outcome> outcomes =
      run(2, requests, c.nodes_max, c.vocab, c.row_stride, &report.problem);
  int asked = 0, clear = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].tree.empty()) continue;
    const DraftVerdict verdict = rejection_reference(requests[i]);
    ++asked;
    if (!verdict.clear) continue;
    ++clear;
    if (!(outcomes[i] == Outcome{verdict.nodes, verdict.tokens})) ++report.error;
  }
  if (4 * clear < 3 * asked) report.problem = "too few requests are clear";
  std::vector<Outcome> reversed = run(1, {requests.rbegin(), requests.rend()}, c.nodes_max, c.vocab,
                                      c.row_stride, &report.problem);
  std::reverse(reversed.begin(), reversed.end());
  if (!(reversed == outcomes))
    report.problem = "a request's tokens depend on its place in the batch";
  return report;
}

CheckReport check_rejection_draws(int children, bool with_probabilities, int requests,
                                  std::uint64_t seed, DraftFault fault) {
  CheckReport report{"rejection sampling draws: " + std::to_string(children) + " children, " +
                         (with_probabilities ? "drawn, " : "always the same, ") +
                         std::to_string(requests) + " requests, seed " + std::to_string(seed),
                     0, 4, ""};
  RandomInputs random(seed, report.what);
  const TwoTokens model = random_model(random);
  const int nodes = 1 + children + children * children;
  constexpr auto kIds = static_cast<std::size_t>(kDrawVocab);
  std::vector<std::int64_t> firsts(kIds, 0), pairs(kIds * kIds, 0);
  constexpr int kBatch = 8192;
  for (int done = 0; done < requests; done += kBatch) {
    std::vector<DraftInputs> batch, rest;
    for (int i = done; i < std::min(requests, done + kBatch); ++i) {
      batch.push_back(drawn_request(model, children, with_probabilities, fault, random));
      batch.back().seed = seed + static_cast<std::uint64_t>(i % 2) * static_cast<unsigned>(i);
      batch.back().position = 10 * static_cast<std::uint64_t>(i);
    }
    const auto stepped = run(1, batch, nodes, kDrawVocab, kDrawVocab, &report.problem);
    if (!report.problem.empty()) return report;
    // whoever has one token yet gets the second by a step of its own
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto first = static_cast<std::size_t>(stepped[i].tokens[0]);
      DraftInputs next = batch[i];
      next.position += 1;
      next.tree = {-1};
      next.tokens = {-1};
      next.logits = {model.second[first]};
      if (with_probabilities) next.draft_probabilities.resize(1);
      rest.push_back(next);
    }
    const auto second = run(1, rest, 1, kDrawVocab, kDrawVocab, &report.problem);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto a = static_cast<std::size_t>(stepped[i].tokens[0]);
      const auto b = static_cast<std::size_t>(stepped[i].tokens.size() > 1 ? stepped[i].tokens[1]
                                                                           : second[i].tokens[0]);
      ++firsts[a];
      ++pairs[a * kIds + b];
    }
  }
  const double temperature = fault == DraftFault::hotter ? 1.5 : 1;
  const std::vector<double> p = target_distribution(model.first, temperature);
  std::vector<double> of_pairs;
  for (std::size_t a = 0; a < kIds; ++a)
    for (const double b : target_distribution(model.second[a], temperature))
      of_pairs.push_back(p[a] * b);
  const double chance = std::min(agreement(firsts, p), agreement(pairs, of_pairs));
  report.error = -std::log10(std::max(chance, 1e-300));
  return report;
}

std::vector<CheckReport> check_rejection_sampling(std::uint64_t seed, Scale scale) {
  // vocabularies of 4n, of odd length in padded rows and in rows that are not 16-byte aligned; of
  // one piece, of several, and one token more than a piece
  std::vector<RejectionCase> cases = {
      {LogitShape::normal, 16, 9, 300, 300, false}, {LogitShape::normal, 16, 9, 301, 304, true},
      {LogitShape::coarse, 16, 5, 97, 97, true},    {LogitShape::masked, 24, 7, 203, 203, false},
      {LogitShape::masked, 24, 7, 203, 204, true},  {LogitShape::flat, 16, 6, 50, 50, false},
      {LogitShape::flat, 16, 6, 50, 50, true},      {LogitShape::peaked, 12, 6, 130, 130, true},
      {LogitShape::normal, 8, 64, 40, 40, true},    {LogitShape::normal, 8, 64, 40, 40, false},
      {LogitShape::normal, 6, 4, 4097, 4097, true}, {LogitShape::normal, 6, 3, 9001, 9004, false},
      {LogitShape::normal, 10, 3, 1, 1, false},     {LogitShape::normal, 10, 3, 2, 4, true},
      {LogitShape::normal, 5, 1, 33, 33, false}};
  // Few draws on the emulated device: 20 s of tests. Power:
  // tests/kernels/rejection_sampling_test.cpp.
  int draws = 400;
  if (scale == Scale::device) {
    for (const int vocab : {32'000, 50'257, 128'256, 151'936})
      for (const bool with_probabilities : {false, true}) {
        cases.push_back({LogitShape::normal, 8, 5, vocab, vocab, with_probabilities});
        cases.push_back({LogitShape::masked, 8, 5, vocab, vocab, with_probabilities});
      }
    draws = 100'000;
  }
  std::vector<CheckReport> reports;
  for (const RejectionCase& c : cases) reports.push_back(check_rejection_case(c, seed));
  for (const int children : {1, 2, 3})
    for (const bool with_probabilities : {false, true})
      reports.push_back(check_rejection_draws(children, with_probabilities, draws, seed));
  return reports;
}

}  // namespace fleetsim::kernels

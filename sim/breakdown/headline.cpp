// Sentences state figures of the breakdown; none is computed here that the tables do not show.

#include "sim/breakdown/headline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

std::string whole_percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

double share_of(const PhaseBreakdown& phase, CostGroup group) {
  return phase.by_group[static_cast<std::size_t>(group)] / phase.time;
}

double share_of(const PhaseBreakdown& phase, Bound bound) {
  return phase.share_by_bound[static_cast<std::size_t>(bound)];
}

std::string phase_words(const PhaseBreakdown& phase) {
  return fmt::format("{} is {} ({} of its time)", phase.name, name_of(phase.bound),
                     whole_percent(share_of(phase, phase.bound)));
}

std::string batch_words(const Breakdown& b) {
  return fmt::format("batch {} at context {}", count_text(b.question.batch),
                     count_text(b.question.context));
}

std::string fit_words(const Breakdown& b) {
  const DecodeSweeps& s = b.sweeps;
  return fmt::format(
      "The KV pool holds {} tokens. {} takes {} of it; {} requests fit at this context{}, contexts "
      "up to {}{} at this batch.",
      count_text(b.memory.plan.kv_tokens()), b.question.batch == 1 ? "This request" : "This batch",
      whole_percent(static_cast<double>(b.memory.kv_of_batch.value) /
                    static_cast<double>(b.memory.plan.kv_cache.value)),
      count_text(b.memory.kv.batch_fits),
      b.memory.kv.batch_fits > b.deployment.rules.max_num_seqs
          ? fmt::format(" (the engine runs {} at most)",
                        count_text(b.deployment.rules.max_num_seqs))
          : "",
      count_text(s.longest_context),
      s.longest_context_is_of_memory ? "" : " (the model's longest)");
}

std::string turn_words(const Breakdown& b) {
  const DecodeSweeps& s = b.sweeps;
  if (!s.products_turn_at)
    return fmt::format(
        "Matrix products of decode iterations are not compute-bound at any batch up to {}.",
        count_text(b.deployment.rules.max_num_batched_tokens));
  return fmt::format("Matrix products of decode iterations turn compute-bound at batch {}; {}.",
                     count_text(*s.products_turn_at),
                     s.products_turn_fits_to >= 1
                         ? fmt::format("so many requests fit up to context {}",
                                       count_text(s.products_turn_fits_to))
                         : "so many requests do not fit at any context");
}

std::string takeover_words(const Breakdown& b) {
  if (!b.sweeps.attention_takes_over_at)
    return fmt::format("At batch {} attention stays below the matrix products at every context.",
                       count_text(b.question.batch));
  const std::int64_t from = *b.sweeps.attention_takes_over_at;
  return fmt::format(
      "At batch {} attention takes longer than the matrix products from context {}{}.",
      count_text(b.question.batch), count_text(from),
      from > b.sweeps.longest_context ? ", which does not fit any more" : "");
}

}  // namespace

std::string size_text(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && std::fabs(bytes) >= 1024) {
    bytes /= 1024;
    ++unit;
  }
  return number_text(bytes) + " " + kUnits[unit];
}

std::string si_text(double value) {
  static constexpr std::array<const char*, 7> kPrefixes = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t prefix = 0;
  while (prefix + 1 < kPrefixes.size() && std::fabs(value) >= 999.5) {
    value /= 1000;
    ++prefix;
  }
  return number_text(value) + " " + kPrefixes[prefix];
}

std::string bounds_text(const PhaseBreakdown& phase) {
  std::array<int, kBounds> order = {0, 1, 2, 3, 4};
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return phase.share_by_bound[static_cast<std::size_t>(a)] >
           phase.share_by_bound[static_cast<std::size_t>(b)];
  });
  std::string text;
  for (const int bound : order) {
    const double share = phase.share_by_bound[static_cast<std::size_t>(bound)];
    if (share < 0.0005) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(static_cast<Bound>(bound)),
                        percent_text(share));
  }
  return text;
}

std::string breakdown_headline(const Breakdown& b) {
  return fmt::format("{}: {}, {}", b.title(), phase_words(b.decode), phase_words(b.prefill));
}

std::vector<std::string> breakdown_findings(const Breakdown& b) {
  std::vector<std::string> findings;
  findings.push_back(fmt::format(
      "A decode iteration of {} takes {}: {} tokens/s, MFU {}, MBU {}; {} of it goes to matrix "
      "products, {} to attention.",
      batch_words(b), duration_text(b.decode.time.value),
      number_text(static_cast<double>(b.question.batch) / b.decode.time.value),
      percent_text(b.decode.mfu), percent_text(b.decode.mbu),
      whole_percent(share_of(b.decode, CostGroup::gemm)),
      whole_percent(share_of(b.decode, CostGroup::attention))));
  findings.push_back(
      fmt::format("A prompt of {} tokens takes {} in {} iteration{}: {} tokens/s, MFU {}, MBU {}.",
                  count_text(b.question.prompt), duration_text(b.prefill.time.value),
                  b.prefill.iterations, b.prefill.iterations == 1 ? "" : "s",
                  number_text(static_cast<double>(b.question.prompt) / b.prefill.time.value),
                  percent_text(b.prefill.mfu), percent_text(b.prefill.mbu)));
  findings.push_back(fit_words(b));
  findings.push_back(turn_words(b));
  findings.push_back(takeover_words(b));
  findings.push_back(fmt::format(
      "A request of {} tokens holds {} of KV cache{}: over PCIe {} one way at the datasheet's "
      "rate, "
      "computed again {}.",
      count_text(b.question.context), size_text(static_cast<double>(b.request.kv_per_gpu.value)),
      b.deployment.gpus_per_replica > 1 ? " on each GPU" : "",
      duration_text(b.request.swap_one_way.value), duration_text(b.request.recompute.value)));
  return findings;
}

std::vector<CheckedClaim> checked_claims(const Breakdown& b) {
  const MemoryPlan& plan = b.memory.plan;
  const double total = static_cast<double>(plan.total.value);
  const auto of_memory = [&](Bytes part) {
    return percent_text(static_cast<double>(part.value) / total);
  };
  std::vector<CheckedClaim> claims;
  claims.push_back(
      {"Decoding waits for memory, prefill for arithmetic.",
       fmt::format("Decode: {}. Prefill: {}.", bounds_text(b.decode), bounds_text(b.prefill))});
  claims.push_back({"Weights in 16 bits take two bytes a parameter.",
                    fmt::format("{} parameters on a GPU take {}, {} bytes each.",
                                count_text(b.memory.parameters),
                                size_text(static_cast<double>(b.memory.stored_weights.value)),
                                number_text(static_cast<double>(b.memory.stored_weights.value) /
                                            static_cast<double>(b.memory.parameters)))});
  claims.push_back(
      {"The KV cache takes 100 to 200 MB a token and layer.",
       fmt::format("{} bytes a token and layer, {} a token over all layers that grow{}.",
                   count_text(b.memory.kv.per_token_and_layer.value),
                   size_text(static_cast<double>(b.memory.kv.per_token.value)),
                   b.tp > 1 ? ", on each GPU" : "")});
  claims.push_back({"Activations and temporary tensors take 10 to 20 % of the memory.",
                    fmt::format("{} of the GPU's memory, {}; weights take {}, the KV cache {}.",
                                of_memory(plan.activations),
                                size_text(static_cast<double>(plan.activations.value)),
                                of_memory(plan.weights), of_memory(plan.kv_cache))});
  claims.push_back(
      {"A 7B model needs tens of TFLOPS, a 70B model hundreds.",
       fmt::format("A decoded token costs {}FLOP (layers {}, attention {}, logits {}), this prompt "
                   "{}FLOP. At what rate depends on the batch: decode runs at {}FLOP/s, prefill at "
                   "{}FLOP/s.",
                   si_text(b.request.flops()), si_text(b.request.linear_flops),
                   si_text(b.request.attention_flops), si_text(b.request.head_flops),
                   si_text(b.prefill.useful_flops.value),
                   si_text(b.decode.useful_flops.value / b.decode.time.value),
                   si_text(b.prefill.useful_flops.value / b.prefill.time.value))});
  claims.push_back(
      {"More than half of the attention cycles wait for memory.", [&] {
         for (const OperatorShare& one : b.decode.operators)
           if (one.cost.group == CostGroup::attention)
             return fmt::format(
                 "Decode attention is {}: MBU {}, and only {} of the tensor cores' peak.",
                 name_of(one.bound), percent_text(one.mbu), percent_text(one.mfu));
         return std::string("This model has no attention over a KV cache.");
       }()});
  claims.push_back(
      {"Moving the KV cache to the CPU is slowed down by PCIe.",
       fmt::format(
           "One request's {} take {} one way at the datasheet's {}B/s, as long as {} decode "
           "iterations; computing them again takes {}.",
           size_text(static_cast<double>(b.request.kv_per_gpu.value)),
           duration_text(b.request.swap_one_way.value),
           si_text(b.deployment.gpu->pcie_per_direction.value),
           number_text(b.request.swap_one_way / b.decode.time, 2),
           duration_text(b.request.recompute.value))});
  return claims;
}

}  // namespace fleetsim

#include "sim/validation/service_validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "sim/validation/fitted_on.h"

namespace fleetsim {
namespace {

/// Mean tokens of an answer: the published mean, or that of the uniform law.
double mean_output_tokens(const ServiceRow& row) {
  const double nominal = row.output_tokens.value_or(1);
  return row.length_spread.starts_with("uniform") ? 0.9 * nominal : nominal;
}

double of_statistic(LatencyStatistic statistic, double mean, double median) {
  return statistic == LatencyStatistic::median ? median : mean;
}

void set_pair(ValidatedRow& row, ServiceMetric metric, double measured, double predicted) {
  if (measured > 0 && predicted > 0)
    row.pairs[static_cast<std::size_t>(metric)] = MeasuredPair{measured, predicted};
}

void pair_up(ValidatedRow& validated) {
  const ServiceRow& row = validated.row;
  const ServicePrediction& sim = validated.prediction;
  const double ttft = of_statistic(row.ttft_statistic, sim.ttft_mean_s, sim.ttft_median_s);
  const double tpot = of_statistic(row.tpot_statistic, sim.tpot_mean_s, sim.tpot_median_s);
  if (row.ttft_s) set_pair(validated, ServiceMetric::ttft, *row.ttft_s, ttft);
  if (row.tpot_s) set_pair(validated, ServiceMetric::tpot, *row.tpot_s, tpot);
  if (row.itl_s) set_pair(validated, ServiceMetric::tpot, *row.itl_s, sim.itl_mean_s);
  const double tokens = mean_output_tokens(row);
  const double computed = ttft + tpot * (tokens - 1);
  if (row.e2e_s) {
    set_pair(validated, ServiceMetric::e2e, *row.e2e_s,
             of_statistic(row.ttft_statistic, sim.e2e_mean_s, sim.e2e_median_s));
  } else if (row.ttft_s && row.tpot_s) {
    set_pair(validated, ServiceMetric::e2e, *row.ttft_s + *row.tpot_s * (tokens - 1), computed);
  }
  if (row.output_tokens_per_s) {
    set_pair(validated, ServiceMetric::throughput, *row.output_tokens_per_s,
             sim.output_tokens_per_s);
  } else if (row.clients && row.ttft_s && row.tpot_s) {
    const double in_flight = static_cast<double>(*row.clients) * tokens;
    set_pair(validated, ServiceMetric::throughput,
             in_flight / (*row.ttft_s + *row.tpot_s * (tokens - 1)), in_flight / computed);
  }
}

/// Rows grouped by what `key` makes of them, scored, in the order of the keys.
std::vector<ClassScores> scored_classes(
    const std::vector<ValidatedRow>& rows,
    const std::function<std::optional<ClassScores>(const ValidatedRow&)>& key) {
  struct Group {
    ClassScores scores;
    std::array<std::vector<MeasuredPair>, kServiceMetrics> pairs;
  };
  std::map<std::tuple<int, std::string, std::string, std::string, std::string, std::string>, Group>
      groups;
  for (const ValidatedRow& row : rows) {
    const std::optional<ClassScores> made = key(row);
    if (!made) continue;
    Group& group = groups[{static_cast<int>(made->scope), made->source, made->model,
                           made->precision, made->gpu, made->engine}];
    if (group.scores.rows == 0) group.scores = *made;
    ++group.scores.rows;
    if (!row.predicted()) continue;
    ++group.scores.predicted;
    for (const ServiceMetric metric : kAllServiceMetrics)
      if (const auto& pair = row.pair(metric))
        group.pairs[static_cast<std::size_t>(metric)].push_back(*pair);
  }
  std::vector<ClassScores> out;
  for (auto& [order, group] : groups) {
    for (std::size_t i = 0; i < group.pairs.size(); ++i)
      group.scores.scores[i] = error_scores(group.pairs[i]);
    out.push_back(std::move(group.scores));
  }
  return out;
}

/// In scope: rows that coverage is counted over, and those scored apart.
bool in_scope(const ValidatedRow& row) {
  return row.scenario.scope == RowScope::simulated || row.scenario.scope == RowScope::assumed;
}

std::vector<RankScores> rank_scores(const std::vector<ValidatedRow>& rows) {
  using Model = std::pair<std::string, std::string>;
  std::map<Model, std::map<std::pair<double, double>, std::vector<MeasuredPair>>> models;
  for (const ValidatedRow& row : rows) {
    const auto& pair = row.pair(ServiceMetric::throughput);
    if (!pair || row.scenario.scope != RowScope::simulated) continue;
    const auto gpus = static_cast<double>(row.row.gpus);
    models[{row.row.source, row.row.model}]
          [{row.row.prompt_tokens.value_or(0), row.row.output_tokens.value_or(0)}]
              .push_back({pair->measured / gpus, pair->predicted / gpus});
  }
  std::vector<RankScores> out;
  for (const auto& [model, lengths] : models) {
    RankScores scores{model.first, model.second, 0, 0, 0};
    double weighted = 0;
    for (const auto& [length, pairs] : lengths) {
      const auto correlation = rank_correlation(pairs);
      if (!correlation) continue;
      ++scores.groups;
      scores.rows += static_cast<std::int64_t>(pairs.size());
      weighted += *correlation * static_cast<double>(pairs.size());
    }
    if (scores.groups == 0) continue;
    scores.correlation = weighted / static_cast<double>(scores.rows);
    out.push_back(scores);
  }
  return out;
}

std::vector<LeftOut> left_out(const std::vector<ValidatedRow>& rows, bool refused) {
  std::map<std::tuple<std::string, std::string, std::string, std::string, std::string>,
           std::int64_t>
      counts;
  for (const ValidatedRow& row : rows) {
    if (refused ? !row.has_scenario() || row.predicted() : row.has_scenario()) continue;
    ++counts[{name_of(row.scenario.scope), refused ? row.prediction.refused : row.scenario.reason,
              row.row.source, row.row.model, row.row.gpu}];
  }
  std::vector<LeftOut> out;
  for (const auto& [key, count] : counts) {
    const auto& [scope, reason, source, model, gpu] = key;
    out.push_back({scope, reason, source, model, gpu, count});
  }
  return out;
}

/// The rows that the filter leaves. Texts that fit no row are faults.
std::vector<ServiceRow> filtered(std::vector<ServiceRow> rows, const RowFilter& filter,
                                 Problems& problems) {
  std::set<std::string> sources, models, gpus;
  for (const std::string& text : filter.only) {
    bool known = false;
    for (const ServiceRow& row : rows) {
      if (row.source == text) known = sources.insert(text).second || true;
      if (row.model == text || catalogue_model(row.model) == text)
        known = models.insert(text).second || true;
      if (row.gpu == text) known = gpus.insert(text).second || true;
    }
    if (known) continue;
    std::set<std::string> names;
    for (const ServiceRow& row : rows) names.insert({row.source, row.model, row.gpu});
    const std::string near = nearest_word(text, {names.begin(), names.end()});
    problems.add("--only", {},
                 fmt::format("no measured row has the source, model or GPU '{}'{}", text,
                             near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
  std::erase_if(rows, [&](const ServiceRow& row) {
    return (!sources.empty() && !sources.contains(row.source)) ||
           (!models.empty() && !models.contains(row.model) &&
            !models.contains(catalogue_model(row.model))) ||
           (!gpus.empty() && !gpus.contains(row.gpu));
  });
  return rows;
}

void simulate_rows(std::vector<ValidatedRow>& rows, int threads) {
  std::vector<NamedScenario> scenarios;
  std::vector<ValidatedRow*> of;
  for (ValidatedRow& row : rows) {
    if (!row.has_scenario()) continue;
    scenarios.push_back({row.row.row_id, row.scenario.yaml});
    of.push_back(&row);
  }
  std::vector<ServicePrediction> predictions = predict_services(scenarios, threads);
  for (std::size_t i = 0; i < of.size(); ++i) {
    of[i]->prediction = std::move(predictions[i]);
    if (of[i]->predicted()) pair_up(*of[i]);
  }
}

}  // namespace

const char* name_of(ServiceMetric metric) {
  switch (metric) {
    case ServiceMetric::ttft:
      return "TTFT";
    case ServiceMetric::tpot:
      return "TPOT";
    case ServiceMetric::e2e:
      return "E2E";
    case ServiceMetric::throughput:
      return "throughput";
  }
  return "";
}

std::string ValidatedRow::engine() const {
  return fmt::format("{} {}", row.engine, row.version.empty() ? "(no version)" : row.version);
}

std::string ClassScores::name() const {
  std::string text = source;
  for (const std::string* part : {&model, &precision, &gpu, &engine})
    if (!part->empty()) text += " " + *part;
  return text;
}

ServiceValidation validate_services(const std::string& data_dir, const RowFilter& filter,
                                    int threads, Problems& problems) {
  ServiceValidation out;
  const std::vector<ServiceRow> all = read_service_rows(data_dir, problems);
  if (!problems.empty()) return out;
  const std::vector<ServiceRow> rows = filtered(all, filter, problems);
  if (!problems.empty()) return out;
  const std::vector<RowScenario> scenarios = row_scenarios(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ValidatedRow row;
    row.row = rows[i];
    row.scenario = scenarios[i];
    row.fitted = is_fitted_on(rows[i]);
    out.rows.push_back(std::move(row));
  }
  simulate_rows(out.rows, threads);

  const auto whole_class = [](const ValidatedRow& row) -> std::optional<ClassScores> {
    if (!in_scope(row)) return std::nullopt;
    ClassScores made;
    made.source = row.row.source;
    made.model = catalogue_model(row.row.model);
    made.precision = row.row.precision;
    made.gpu = row.row.gpu;
    made.engine = row.engine();
    made.scope = row.scenario.scope;
    made.fitted = row.fitted;
    return made;
  };
  const auto by_source = [](const ValidatedRow& row) -> std::optional<ClassScores> {
    if (!in_scope(row)) return std::nullopt;
    ClassScores made;
    made.source = row.row.source;
    made.scope = row.scenario.scope;
    return made;
  };
  const auto by_fit = [&](bool fitted) {
    return [&by_source, fitted](const ValidatedRow& row) -> std::optional<ClassScores> {
      if (row.fitted != fitted || row.scenario.scope != RowScope::simulated) return std::nullopt;
      return by_source(row);
    };
  };
  out.classes = scored_classes(out.rows, whole_class);
  out.sources = scored_classes(out.rows, by_source);
  out.fitted = scored_classes(out.rows, by_fit(true));
  out.unseen = scored_classes(out.rows, by_fit(false));
  out.ranks = rank_scores(out.rows);
  out.refused = left_out(out.rows, true);
  out.other = left_out(out.rows, false);
  return out;
}

}  // namespace fleetsim

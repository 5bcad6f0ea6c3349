// Names, label names and bucket bounds are vLLM's (vllm/v1/metrics/loggers.py, release 0.11), so
// that a dashboard made for the real engine needs no change. Each pool is one `engine`. What vLLM
// observes per gap between tokens is only known per request here: each gap counts at the mean of
// its request, which keeps count and sum exact and blurs the buckets; the HELP line says so.

#include "sim/report/openmetrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

namespace fleetsim {
namespace {

constexpr double kTtftBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                  1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
constexpr double kTokenBounds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                   0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
constexpr double kRequestBounds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                     30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};

struct HistogramRow {
  OpenMetrics::Histogram histogram;
  const char *name, *help;
  std::span<const double> bounds;
};
const HistogramRow kHistogramRows[] = {
    {OpenMetrics::ttft, "vllm:time_to_first_token_seconds", "Time to first token.", kTtftBounds},
    {OpenMetrics::inter_token, "vllm:inter_token_latency_seconds",
     "Time between tokens; each gap counted at the mean of its request.", kTokenBounds},
    {OpenMetrics::inter_token, "vllm:time_per_output_token_seconds",
     "The older name of vllm:inter_token_latency_seconds.", kTokenBounds},
    {OpenMetrics::per_output_token, "vllm:request_time_per_output_token_seconds",
     "Mean time per output token of a request, first token left out.", kTokenBounds},
    {OpenMetrics::e2e, "vllm:e2e_request_latency_seconds", "Arrival to last token.",
     kRequestBounds},
    {OpenMetrics::queue, "vllm:request_queue_time_seconds", "Arrival to first scheduled.",
     kRequestBounds},
};

std::span<const double> bounds_of(OpenMetrics::Histogram histogram) {
  for (const HistogramRow& row : kHistogramRows)
    if (row.histogram == histogram) return row.bounds;
  fail_check("histogram has a row", __FILE__, __LINE__, "");
}

std::string escaped(const std::string& label) {
  std::string text;
  for (const char c : label) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text;
}

/// OpenMetrics wants bounds in canonical form: "1.0", not "1".
std::string le_text(double bound) {
  std::string text = fmt::format("{}", bound);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

}  // namespace

OpenMetrics::OpenMetrics(const RecordNames& names)
    : names_(names),
      interval_(15 * kNanosecondsPerSecond),  // Prometheus operators' usual scrape interval
      scrapes_(names.pools.size()) {}

void OpenMetrics::Scrape::add(const Scrape& other) {
  for (std::size_t h = 0; h < kHistograms; ++h) {
    for (std::size_t b = 0; b < kBucketsMax; ++b)
      histograms[h].buckets[b] += other.histograms[h].buckets[b];
    histograms[h].sum += other.histograms[h].sum;
  }
  prompt_tokens += other.prompt_tokens;
  generation_tokens += other.generation_tokens;
  stopped += other.stopped;
  aborted += other.aborted;
  preemptions += other.preemptions;
  prefix_queries += other.prefix_queries;
  prefix_hits += other.prefix_hits;
}

OpenMetrics::Scrape& OpenMetrics::at(std::size_t pool, SimTime time) {
  while (static_cast<std::size_t>(time / interval_) >= kScrapesMax) {
    interval_ *= 2;
    for (std::vector<Scrape>& scrapes : scrapes_) {
      for (std::size_t i = 0; i < scrapes.size(); ++i) {
        if (i % 2)
          scrapes[i / 2].add(scrapes[i]);
        else if (i)
          scrapes[i / 2] = scrapes[i];
      }
      scrapes.resize((scrapes.size() + 1) / 2);
    }
  }
  const auto index = static_cast<std::size_t>(time / interval_);
  if (scrapes_[pool].size() <= index) scrapes_[pool].resize(index + 1);
  return scrapes_[pool][index];
}

void OpenMetrics::observe(Scrape& scrape, Histogram histogram, double seconds,
                          std::int64_t count) const {
  const auto bounds = bounds_of(histogram);
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
  scrape.histograms[histogram].buckets[static_cast<std::size_t>(bucket)] += count;
  scrape.histograms[histogram].sum += seconds * static_cast<double>(count);
}

void OpenMetrics::add(const RequestRecord& record) {
  if (record.pool < 0) return;  // no engine saw it
  const auto pool = static_cast<std::size_t>(record.pool);
  if (record.first_scheduled >= 0) {
    Scrape& scrape = at(pool, record.first_scheduled);
    observe(scrape, queue, to_seconds(record.first_scheduled - record.arrival).value, 1);
    scrape.prefix_queries += record.prompt_tokens;
    scrape.prefix_hits += record.cached_tokens;
  }
  if (record.first_token >= 0) {
    Scrape& scrape = at(pool, record.first_token);
    observe(scrape, ttft, to_seconds(record.first_token - record.arrival).value, 1);
    scrape.prompt_tokens += record.prompt_tokens;
  }
  if (record.last_token < 0) return;
  Scrape& scrape = at(pool, record.last_token);
  scrape.generation_tokens += record.output_tokens;
  scrape.preemptions += record.preemptions;
  if (record.first_token < 0) scrape.prompt_tokens += record.prompt_tokens;  // prefill only
  if (record.first_token >= 0 && record.output_tokens > 1) {
    const double gap =
        to_seconds(record.last_token - record.first_token).value / (record.output_tokens - 1);
    observe(scrape, inter_token, gap, record.output_tokens - 1);
    if (record.status == RequestStatus::completed) observe(scrape, per_output_token, gap, 1);
  }
  if (record.status == RequestStatus::completed) {
    observe(scrape, e2e, to_seconds(record.last_token - record.arrival).value, 1);
    ++scrape.stopped;
  } else {
    ++scrape.aborted;
  }
}

std::vector<std::vector<OpenMetrics::Scrape>> OpenMetrics::cumulated() const {
  std::vector<std::vector<Scrape>> sums = scrapes_;
  std::size_t longest = 1;
  for (const auto& pool : sums) longest = std::max(longest, pool.size());
  for (auto& pool : sums) {
    pool.resize(longest);  // every engine answers every scrape
    for (std::size_t i = 1; i < pool.size(); ++i) pool[i].add(pool[i - 1]);
  }
  return sums;
}

std::string OpenMetrics::labels(std::size_t pool) const {
  return fmt::format("model_name=\"{}\",engine=\"{}\"", escaped(names_.models[pool]),
                     escaped(names_.pools[pool]));
}

void OpenMetrics::append_counters(std::string& out,
                                  const std::vector<std::vector<Scrape>>& sums) const {
  struct Row {
    const char *name, *help;
    std::int64_t Scrape::*value;
  };
  static constexpr Row kRows[] = {
      {"vllm:prompt_tokens", "Prefill tokens processed.", &Scrape::prompt_tokens},
      {"vllm:generation_tokens", "Tokens generated, counted when their request ends.",
       &Scrape::generation_tokens},
      {"vllm:num_preemptions", "Preemptions, counted when their request ends.",
       &Scrape::preemptions},
      {"vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.",
       &Scrape::prefix_queries},
      {"vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.", &Scrape::prefix_hits}};
  const auto second = [&](std::size_t scrape) {
    return to_seconds(static_cast<SimTime>(scrape + 1) * interval_).value;
  };
  for (const Row& row : kRows) {
    append(out, "# TYPE {0} counter\n# HELP {0} {1}\n", row.name, row.help);
    for (std::size_t pool = 0; pool < sums.size(); ++pool)
      for (std::size_t i = 0; i < sums[pool].size(); ++i)
        append(out, "{}_total{{{}}} {} {}\n", row.name, labels(pool), sums[pool][i].*row.value,
               second(i));
  }
  append(out,
         "# TYPE vllm:request_success counter\n# HELP vllm:request_success Requests that ended, by "
         "reason.\n");
  for (std::size_t pool = 0; pool < sums.size(); ++pool)
    for (const auto& [reason, value] :
         {std::pair{"stop", &Scrape::stopped}, std::pair{"abort", &Scrape::aborted}})
      for (std::size_t i = 0; i < sums[pool].size(); ++i)
        append(out, "vllm:request_success_total{{{},finished_reason=\"{}\"}} {} {}\n", labels(pool),
               reason, sums[pool][i].*value, second(i));
}

void OpenMetrics::append_histograms(std::string& out,
                                    const std::vector<std::vector<Scrape>>& sums) const {
  for (const HistogramRow& row : kHistogramRows) {
    append(out, "# TYPE {0} histogram\n# UNIT {0} seconds\n# HELP {0} {1}\n", row.name, row.help);
    for (std::size_t pool = 0; pool < sums.size(); ++pool)
      for (std::size_t i = 0; i < sums[pool].size(); ++i) {
        const Observed& seen = sums[pool][i].histograms[row.histogram];
        const double second = to_seconds(static_cast<SimTime>(i + 1) * interval_).value;
        std::int64_t below = 0;
        for (std::size_t bucket = 0; bucket <= row.bounds.size(); ++bucket) {
          below += seen.buckets[bucket];
          const std::string bound =
              bucket < row.bounds.size() ? le_text(row.bounds[bucket]) : "+Inf";
          append(out, "{}_bucket{{{},le=\"{}\"}} {} {}\n", row.name, labels(pool), bound, below,
                 second);
        }
        append(out, "{}_count{{{}}} {} {}\n", row.name, labels(pool), below, second);
        append(out, "{}_sum{{{}}} {} {}\n", row.name, labels(pool), seen.sum, second);
      }
  }
}

void OpenMetrics::append_gauges(std::string& out,
                                const std::vector<TimeseriesPoint>& points) const {
  struct Row {
    const char *name, *help;
    double (*value)(const TimeseriesPoint&, std::int64_t kv_blocks);
  };
  const auto kv = [](const TimeseriesPoint& point, std::int64_t blocks) {
    return blocks > 0 ? point.kv_blocks_used / static_cast<double>(blocks) : 0.0;
  };
  const Row rows[] = {
      {"vllm:num_requests_running", "Requests in execution batches, over the replicas of the pool.",
       [](const TimeseriesPoint& point, std::int64_t) { return point.running; }},
      {"vllm:num_requests_waiting",
       "Requests waiting to be processed, over the replicas of the pool.",
       [](const TimeseriesPoint& point, std::int64_t) { return point.queue; }},
      {"vllm:kv_cache_usage_perc", "KV-cache use, mean over replicas; 1 is full.", kv},
      {"vllm:gpu_cache_usage_perc", "The older name of vllm:kv_cache_usage_perc.", kv}};
  for (const Row& row : rows) {
    append(out, "# TYPE {0} gauge\n# HELP {0} {1}\n", row.name, row.help);
    for (std::size_t pool = 0; pool < names_.pools.size(); ++pool)
      for (const TimeseriesPoint& point : points)
        if (static_cast<std::size_t>(point.pool) == pool)
          append(out, "{}{{{}}} {} {}\n", row.name, labels(pool),
                 row.value(point, names_.kv_blocks[pool]),
                 to_seconds(point.start + point.length).value);
  }
}

std::string OpenMetrics::text(const std::vector<TimeseriesPoint>& points) const {
  std::string out;
  const auto sums = cumulated();
  append_gauges(out, points);
  append_counters(out, sums);
  append_histograms(out, sums);
  out += "# EOF\n";
  return out;
}

}  // namespace fleetsim

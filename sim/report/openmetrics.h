#pragma once
// metrics.prom: the run as a Prometheus server would have scraped it from vLLM, in OpenMetrics text
// with time stamps, so that `promtool tsdb create-blocks-from openmetrics` and existing dashboards
// read it.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/metrics/summary.h"
#include "sim/report/record_names.h"

namespace fleetsim {

/// Collects what the counters and histograms need, by scrape. Memory does not grow with the run:
/// above kScrapesMax scrapes their interval doubles.
class OpenMetrics {
 public:
  static constexpr std::size_t kScrapesMax = 1'000;

  explicit OpenMetrics(const RecordNames& names);
  void add(const RequestRecord& record);
  /// The whole file. Gauges come from the time series, whose means stand for the moment of a
  /// scrape.
  std::string text(const std::vector<TimeseriesPoint>& points) const;

  enum Histogram { ttft, inter_token, per_output_token, e2e, queue, kHistograms };
  static constexpr std::size_t kBucketsMax = 23;  // the largest of vLLM's lists and +Inf

 private:
  struct Observed {
    std::array<std::int64_t, kBucketsMax> buckets{};
    double sum = 0;
  };
  /// What happened between two scrapes of one pool.
  struct Scrape {
    std::array<Observed, kHistograms> histograms;
    std::int64_t prompt_tokens = 0, generation_tokens = 0, stopped = 0, aborted = 0,
                 preemptions = 0, prefix_queries = 0, prefix_hits = 0;
    void add(const Scrape& other);
  };
  Scrape& at(std::size_t pool, SimTime time);
  void observe(Scrape& scrape, Histogram histogram, double seconds, std::int64_t count) const;
  std::vector<std::vector<Scrape>> cumulated() const;
  void append_counters(std::string& out, const std::vector<std::vector<Scrape>>& sums) const;
  void append_histograms(std::string& out, const std::vector<std::vector<Scrape>>& sums) const;
  void append_gauges(std::string& out, const std::vector<TimeseriesPoint>& points) const;
  std::string labels(std::size_t pool) const;

  const RecordNames& names_;
  SimTime interval_;
  std::vector<std::vector<Scrape>> scrapes_;  // by pool
};

}  // namespace fleetsim

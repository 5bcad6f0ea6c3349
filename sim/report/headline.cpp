// Every number in these sentences is in summary.json; the words choose which of them decide.

#include "sim/report/headline.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "sim/report/decimal_text.h"
#include "sim/report/report_charts.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

double number_or_infinity(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::infinity();
}

std::string window_text(double seconds) {
  if (seconds == 1) return "worst second";
  if (seconds == 60) return "worst minute";
  if (seconds == 3600) return "worst hour";
  return "worst " + duration_text(seconds) + " window";
}

std::string percentile_text(double percentile) { return "p" + fmt::format("{}", percentile); }

/// The section that decides: a missed one first, then the one nearest to its limit.
const Json& deciding_section(const Json& sections) {
  const auto strain = [](const Json& section) {
    double worst = 0;
    for (const Json& limit : section.at("window").at("limits"))
      worst = std::max(worst, number_or_infinity(limit.at("worst_window_s")) /
                                  limit.at("limit_s").get<double>());
    return section.at("met").get<bool>() ? worst : worst + 1e6;
  };
  return *std::max_element(sections.begin(), sections.end(),
                           [&](const Json& a, const Json& b) { return strain(a) < strain(b); });
}

std::string slo_text(const Json& data) {
  const Json& section = deciding_section(data.at("slo"));
  const bool met = data.at("slo_met").get<bool>();
  const Json& window = section.at("window");
  std::string text = fmt::format("SLO {} in the {}", met ? "met" : "missed",
                                 window_text(window.at("length_s").get<double>()));
  const std::string name = section.at("class").get<std::string>();
  if (data.at("slo").size() > 1) text += name.empty() ? "" : fmt::format(" of class {}", name);
  for (const Json& limit : window.at("limits"))
    text += fmt::format(", {} {} {}", percentile_text(window.at("percentile").get<double>()),
                        limit.at("metric").get<std::string>(), of_limit_text(limit));
  return text;
}

std::string throughput_sentence(const Json& data) {
  const Json& summary = data.at("summary");
  std::string text =
      fmt::format("{} requests/s served",
                  number_text(summary.at("throughput").at("requests_per_s").get<double>()));
  const Json& latency = summary.at("latency");
  if (latency.contains("e2e"))
    text += fmt::format(", p95 e2e {}", duration_text(latency.at("e2e").at("p95").get<double>()));
  return text + fmt::format(", GPUs busy {} of the time",
                            percent_text(summary.at("fleet").at("busy").get<double>()));
}

std::string seeds_sentence(const Json& data) {
  const Json& seeds = data.at("seeds");
  if (data.at("slo").empty() || seeds.size() < 2) return "";
  const auto met = std::count_if(seeds.begin(), seeds.end(),
                                 [](const Json& one) { return one.at("met").get<bool>(); });
  const auto all = static_cast<std::ptrdiff_t>(seeds.size());
  if (met == all) return fmt::format("The objective is met with all {} seeds.", all);
  if (met == 0) return fmt::format("The objective is missed with all {} seeds.", all);
  return fmt::format("The objective is met with {} of {} seeds: this fleet stands on the edge.",
                     met, all);
}

std::string lost_sentence(const Json& requests) {
  std::string text;
  const auto add = [&](const char* key, const char* words) {
    if (const auto count = requests.at(key).get<std::int64_t>(); count > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count_text(count), words);
  };
  add("rejected", "rejected");
  add("timed_out", "timed out");
  add("lost", "lost");
  add("unfinished", "unfinished");
  if (text.empty()) return "";
  return fmt::format("Of {} requests that arrived: {}.",
                     count_text(requests.at("arrived").get<std::int64_t>()), text);
}

std::string work_sentence(const Json& data) {
  const Json& fleet = data.at("summary").at("fleet");
  std::string text =
      fmt::format("GPUs run a forward pass {} of the time, {} requests in a batch on average",
                  percent_text(fleet.at("busy").get<double>()),
                  number_text(fleet.at("batch_mean").get<double>()));
  if (fleet.at("kv_blocks_total").get<std::int64_t>() > 0)
    text += fmt::format("; KV blocks in use: {} on average, {} at the peak of a replica",
                        percent_text(fleet.at("kv_blocks_mean").get<double>() /
                                     fleet.at("kv_blocks_total").get<double>()),
                        percent_text(fleet.at("kv_blocks_peak").get<double>() /
                                     fleet.at("kv_blocks_total").get<double>()));
  const auto preemptions = fleet.at("preemptions").get<std::int64_t>();
  return text + (preemptions ? fmt::format("; {} preemptions.", count_text(preemptions))
                             : "; no preemption.");
}

std::string time_sentence(const Json& data) {
  const Json& summary = data.at("summary");
  if (!summary.contains("time_breakdown")) return "";
  std::string largest;
  double share = 0;
  for (const auto& [name, value] : summary.at("time_breakdown").items())
    if (name != "idle" && value.get<double>() > share) {
      largest = name;
      share = value.get<double>();
    }
  if (largest.empty()) return "";
  return fmt::format("Most GPU time goes to {}, {}; {} is idle.", part_title(largest),
                     percent_text(share),
                     percent_text(summary.at("time_breakdown").at("idle").get<double>()));
}

}  // namespace

std::string gpu_short_name(const std::string& gpu) {
  std::string name = gpu.substr(0, gpu.find('-'));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (name.size() > 3 && name.rfind("RTX", 0) == 0) name.insert(3, " ");
  return name.empty() ? "GPU" : name;
}

std::string fleet_text(const Json& data) {
  std::string text;
  for (const Json& pool : data.at("pools")) {
    const auto gpus =
        pool.at("replicas").get<std::int64_t>() * pool.at("gpus_per_replica").get<std::int64_t>();
    const std::string gpu = pool.at("gpu").is_string() ? pool.at("gpu").get<std::string>() : "";
    text +=
        fmt::format("{}{} × {}", text.empty() ? "" : " + ", count_text(gpus), gpu_short_name(gpu));
  }
  return text;
}

std::string of_limit_text(const Json& limit) {
  const double allowed = limit.at("limit_s").get<double>();
  const double worst = number_or_infinity(limit.at("worst_window_s"));
  if (!std::isfinite(worst)) return fmt::format("not reached (limit {})", duration_text(allowed));
  int digits = 3;
  // 3.0004 s against 3 s must not read "3 s of 3 s"
  while (digits < 9 && worst != allowed &&
         duration_text(worst, digits) == duration_text(allowed, digits))
    ++digits;
  return fmt::format("{} of {}", duration_text(worst, digits), duration_text(allowed));
}

std::string headroom_text(const Json& data) {
  if (!data.contains("headroom") || !data.at("headroom").at("complete").get<bool>()) return "";
  const Json& headroom = data.at("headroom");
  const bool met = headroom.at("met_as_written").get<bool>();
  const Json& turn = headroom.at("turns_at_percent");
  const auto probed = headroom.at("probed_to_percent").get<std::int64_t>();
  if (met && turn.is_number())
    return fmt::format("missed from +{} % load", turn.get<std::int64_t>());
  if (met) return fmt::format("still met at +{} % load", probed);
  if (turn.is_number()) return fmt::format("met up to −{} % load", -turn.get<std::int64_t>());
  return fmt::format("missed even at −{} % load", -probed);
}

bool hardware_priced(const Json& data) {
  for (const Json& pool : data.at("pools")) {
    const std::string kind = pool.at("cost_model").get<std::string>();
    if (kind != "fixed" && kind != "linear") return true;
  }
  return false;
}

std::string headline(const Json& data) {
  std::string text = fleet_text(data) + ": ";
  text += data.at("slo").empty() ? throughput_sentence(data) : slo_text(data);
  if (const std::string headroom = headroom_text(data); !headroom.empty()) text += "; " + headroom;
  return text;
}

std::vector<std::string> reasons(const Json& data) {
  std::vector<std::string> lines;
  const Json& summary = data.at("summary");
  const auto add = [&](std::string line) {
    if (!line.empty()) lines.push_back(std::move(line));
  };
  if (summary.at("stopped_early").get<bool>())
    add("The run was stopped before its end: every figure is partial.");
  if (summary.at("saturated").get<bool>())
    add("Saturated: the backlog kept growing until arrivals ended; with a longer run the latencies "
        "would be longer.");
  add(seeds_sentence(data));
  add(lost_sentence(summary.at("requests")));
  add(work_sentence(data));
  add(time_sentence(data));
  return lines;
}

}  // namespace fleetsim

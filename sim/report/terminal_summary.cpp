#include "sim/report/terminal_summary.h"

#include <fmt/format.h>

#include <iterator>
#include <limits>

#include "sim/report/decimal_text.h"
#include "sim/report/headline.h"
#include "sim/report/model_evidence.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

template <typename... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

/// Columns are counted in characters, and "µ" and "×" are two bytes.
std::size_t characters(const std::string& text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}
std::string right(const std::string& text, std::size_t width) {
  const std::size_t length = characters(text);
  return length < width ? std::string(width - length, ' ') + text : text;
}

std::string styled(const std::string& text, const char* code, bool color) {
  return color ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
}

void add_latency(std::string& out, const Json& latency, bool color) {
  if (latency.empty()) return;
  std::string head = right("latency", 9);
  for (const char* column : {"mean", "p50", "p90", "p95", "p99", "max"}) head += right(column, 10);
  append(out, "\n{}\n", styled(head, "2", color));
  for (const auto& [name, row] : latency.items()) {
    out += right(name, 9);
    for (const char* column : {"mean", "p50", "p90", "p95", "p99", "max"})
      out += right(duration_text(row.at(column).get<double>()), 10);
    out += '\n';
  }
}

void add_line(std::string& out, const char* name, const std::string& text) {
  if (!text.empty()) append(out, "{}  {}\n", right(name, 9), text);
}

std::string requests_line(const Json& requests) {
  std::string text;
  for (const auto& [key, value] : requests.items()) {
    if (value.get<std::int64_t>() == 0 && key != "completed") continue;
    std::string name = key;
    for (char& c : name)
      if (c == '_') c = ' ';
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count_text(value.get<std::int64_t>()),
                        name);
  }
  return text;
}

std::string time_line(const Json& summary) {
  if (!summary.contains("time_breakdown")) return "";
  std::string text;
  for (const auto& [key, value] : summary.at("time_breakdown").items()) {
    if (value.get<double>() < 0.0005) continue;
    std::string name = key;
    for (char& c : name)
      if (c == '_') c = ' ';
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", name, percent_text(value.get<double>()));
  }
  return text;
}

std::string memory_line(const Json& summary) {
  if (!summary.contains("memory_breakdown")) return "";
  const Json& memory = summary.at("memory_breakdown");
  const auto part = [&](const char* key) { return bytes_text(memory.at(key).get<double>()); };
  return fmt::format(
      "weights {}, KV cache {}, activations {}, CUDA graphs {}, other {}, free {} (per GPU)",
      part("weights"), part("kv_cache"), part("activations"), part("cuda_graphs"),
      part("non_torch"), part("free"));
}

std::string cost_line(const Json& summary) {
  if (!summary.contains("cost")) return "";
  const Json& cost = summary.at("cost");
  const auto number = [&](const char* key) {
    return cost.at(key).is_number() ? cost.at(key).get<double>()
                                    : std::numeric_limits<double>::infinity();
  };
  return fmt::format("{} an hour, {} per 1,000 requests, {} per million output tokens",
                     money_text(number("usd_per_hour")),
                     money_text(1000 * number("usd_per_request")),
                     money_text(number("usd_per_million_output_tokens")));
}

std::string energy_line(const Json& summary) {
  if (!summary.contains("energy")) return "";
  const Json& energy = summary.at("energy");
  std::string text =
      fmt::format("{} W a GPU on average", number_text(energy.at("watts_per_gpu").get<double>()));
  if (energy.at("joules_per_output_token").is_number())
    text += fmt::format(", {} J per output token",
                        number_text(energy.at("joules_per_output_token").get<double>()));
  return text;
}

std::string throughput_line(const Json& summary) {
  const Json& throughput = summary.at("throughput");
  std::string text = fmt::format("{} requests/s, {} output tokens/s",
                                 number_text(throughput.at("requests_per_s").get<double>(), 4),
                                 number_text(throughput.at("output_tokens_per_s").get<double>()));
  if (throughput.contains("goodput_requests_per_s"))
    text += fmt::format(", {} requests/s within limits",
                        number_text(throughput.at("goodput_requests_per_s").get<double>(), 4));
  return text;
}

}  // namespace

std::string terminal_summary(const Json& data, const WallSection& wall, bool color) {
  const Json& summary = data.at("summary");
  const bool judged = !data.at("slo").empty();
  const bool good = data.at("slo_met").get<bool>();
  std::string out = styled(headline(data), !judged ? "1" : good ? "1;32" : "1;31", color) + "\n";
  for (const std::string& reason : reasons(data)) append(out, "  - {}\n", reason);
  add_latency(out, summary.at("latency"), color);
  out += '\n';
  add_line(out, "requests", requests_line(summary.at("requests")));
  add_line(out, "served", throughput_line(summary));
  add_line(out, "GPU time", time_line(summary));
  add_line(out, "memory", memory_line(summary));
  add_line(out, "cost", cost_line(summary));
  add_line(out, "energy", energy_line(summary));
  const std::size_t probes =
      data.contains("headroom") ? data.at("headroom").at("probes").size() : 0;
  const std::size_t seeds = data.at("seeds").size();
  add_line(out, "runs",
           fmt::format(
               "{} ({} seed{}, {} other loads); this one took {} at {} requests/s, peak memory {}",
               seeds + probes, seeds, seeds == 1 ? "" : "s", probes, duration_text(wall.simulate_s),
               number_text(wall.requests_per_wall_s),
               bytes_text(static_cast<double>(wall.peak_rss_bytes))));
  add_line(out, "model",
           hardware_priced(data) ? model_evidence(data)
                                 : "no hardware model: iteration times are the scenario's own");
  return out;
}

}  // namespace fleetsim

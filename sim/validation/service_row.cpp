// Both files are small (two thousand rows), so they are read whole; e2e.csv quotes cells that hold
// commas.

#include "sim/validation/service_row.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <string_view>

#include "sim/report/output_folder.h"

namespace fleetsim {
namespace {

/// Cells of one line; "a ""quoted"" cell, with a comma" is one.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

/// One file's rows by column name, with faults placed at file and line.
class RowReader {
 public:
  RowReader(std::string path, Problems& problems) : path_(std::move(path)), problems_(problems) {}

  /// Calls `visit` for every row.
  void read(const std::function<void(RowReader&)>& visit) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path_, error)) {
      problems_.add(path_, {}, "no such file; --data names the folder that holds e2e/");
      return;
    }
    const std::string text = read_whole_file(path_);
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      ++line_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) continue;
      cells_ = cells_of(line);
      if (place_.empty()) {
        for (std::size_t i = 0; i < cells_.size(); ++i) place_[cells_[i]] = i;
        continue;
      }
      if (cells_.size() != place_.size()) {
        fault(fmt::format("{} cells where the header has {}", cells_.size(), place_.size()));
        continue;
      }
      visit(*this);
      if (problems_.size() > 20) return;  // the wrong file: no need to say it a thousand times
    }
  }

  const std::string& text(const std::string& column) {
    static const std::string kNone;
    const auto found = place_.find(column);
    if (found != place_.end()) return cells_[found->second];
    if (missing_.emplace(column, true).second)
      problems_.add(path_, {1, 0}, fmt::format("the column '{}' is missing", column));
    return kNone;
  }
  std::optional<double> number(const std::string& column) {
    const std::string& cell = text(column);
    if (cell.empty()) return std::nullopt;
    double value = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error == std::errc() && end == cell.data() + cell.size() && std::isfinite(value))
      return value;
    fault(fmt::format("'{}' in column {} is no number", cell, column));
    return std::nullopt;
  }
  std::optional<std::int64_t> whole(const std::string& column) {
    const auto value = number(column);
    if (!value) return std::nullopt;
    if (*value == std::floor(*value) && std::abs(*value) < 1e15)
      return static_cast<std::int64_t>(*value);
    fault(fmt::format("{} in column {} is no whole number", *value, column));
    return std::nullopt;
  }
  std::optional<double> milliseconds(const std::string& column) {
    const auto value = number(column);
    return value ? std::optional(*value / 1e3) : std::nullopt;
  }
  LatencyStatistic statistic(const std::string& column) {
    const std::string& cell = text(column);
    if (cell == "mean") return LatencyStatistic::mean;
    if (cell == "median") return LatencyStatistic::median;
    return LatencyStatistic::unstated;
  }

 private:
  void fault(const std::string& message) { problems_.add(path_, {line_, 0}, message); }

  std::string path_;
  Problems& problems_;
  int line_ = 0;
  std::map<std::string, std::size_t> place_;
  std::map<std::string, bool> missing_;
  std::vector<std::string> cells_;
};

ServiceRow closed_or_offline_row(RowReader& row) {
  ServiceRow out;
  out.row_id = row.text("row_id");
  out.source = row.text("source");
  out.gpu = row.text("gpu");
  out.engine = row.text("engine");
  out.version = row.text("version");
  out.precision = row.text("precision");
  out.kv_format = row.text("kv_dtype");
  out.model = row.text("model");
  out.length_spread = row.text("len_spread");
  out.load = row.text("load");
  out.speculation = row.text("spec_decode");
  out.measured_on = row.text("measured_on");
  out.notes = row.text("notes");
  out.gpus = row.whole("n_gpus").value_or(1);
  out.tp = row.whole("tp");
  out.pp = row.whole("pp");
  out.ep = row.whole("ep");
  out.data_parallel_attention = row.whole("dp_attn").value_or(0) != 0;
  out.prompt_tokens = row.number("isl");
  out.output_tokens = row.number("osl");
  out.clients = row.whole("concurrency");
  out.rate_per_s = row.number("rate_rps");
  out.ttft_s = row.milliseconds("ttft_ms");
  out.tpot_s = row.milliseconds("tpot_ms");
  out.e2e_s = row.milliseconds("e2e_ms");
  out.ttft_p99_s = row.milliseconds("ttft_p99_ms");
  out.output_tokens_per_s = row.number("total_out_tok_s");
  out.output_tokens_per_s_per_gpu = row.number("out_tok_s_per_gpu");
  out.ttft_statistic = row.statistic("ttft_stat");
  out.tpot_statistic = row.statistic("tpot_stat");
  return out;
}

ServiceRow open_loop_row(RowReader& row) {
  ServiceRow out;
  out.source = "vllm-openloop";
  out.stage = row.text("stage");
  out.row_id = fmt::format("openloop-{}-{}", row.text("exp_id"), out.stage);
  out.gpu = row.text("gpu");
  out.engine = "vllm";
  out.version = "0.15.1";  // the data's README
  out.precision = row.text("precision");
  out.model = row.text("model");
  out.load = "poisson";
  out.speculation = "off";
  out.notes = row.text("set");
  out.tp = row.whole("tp");
  out.gpus = out.tp.value_or(1);
  out.prompt_tokens = row.number("isl_mean");
  out.output_tokens = row.number("osl_mean");
  out.rate_per_s = row.number("rate_rps");
  out.workload = row.text("workload");
  out.max_num_batched_tokens = row.whole("max_num_batched_tokens");
  out.gpu_memory_utilization = row.number("gpu_mem_util");
  out.cpu_offload = row.text("cpu_offload") == "True";
  out.ttft_s = row.milliseconds("ttft_mean_ms");
  out.ttft_p90_s = row.milliseconds("ttft_p90_ms");
  out.ttft_p99_s = row.milliseconds("ttft_p99_ms");
  out.itl_s = row.milliseconds("itl_mean_ms");
  out.e2e_s = row.milliseconds("e2e_mean_ms");
  out.e2e_p90_s = row.milliseconds("e2e_p90_ms");
  out.e2e_p99_s = row.milliseconds("e2e_p99_ms");
  out.ttft_statistic = out.tpot_statistic = LatencyStatistic::mean;
  return out;
}

}  // namespace

std::vector<ServiceRow> read_service_rows(const std::string& data_dir, Problems& problems) {
  std::vector<ServiceRow> rows;
  RowReader(data_dir + "/e2e/e2e.csv", problems).read([&](RowReader& row) {
    rows.push_back(closed_or_offline_row(row));
  });
  RowReader(data_dir + "/e2e/vllm_openloop.csv", problems).read([&](RowReader& row) {
    rows.push_back(open_loop_row(row));
  });
  return rows;
}

}  // namespace fleetsim

#include "sim/report/timeseries_csv.h"

#include "sim/report/decimal_text.h"

namespace fleetsim {

std::string timeseries_csv(const std::vector<TimeseriesPoint>& points, const RecordNames& names) {
  fmt::memory_buffer out;
  append_text(out, kTimeseriesCsvHeader);
  const auto field = [&](double value) {
    out.push_back(',');
    append_double(out, value);
  };
  for (const TimeseriesPoint& point : points) {
    const auto pool = static_cast<std::size_t>(point.pool);
    append_seconds(out, point.start);
    out.push_back(',');
    append_seconds(out, point.length);
    out.push_back(',');
    append_csv_field(out, names.pools.at(pool));
    fmt::format_to(std::back_inserter(out), ",{},{}", point.arrivals, point.completed);
    field(point.queue);
    field(point.running);
    field(point.kv_blocks_used);
    out.push_back(',');
    if (names.kv_blocks.at(pool) > 0)
      append_double(out, point.kv_blocks_used / static_cast<double>(names.kv_blocks[pool]));
    field(point.busy);
    const double seconds = to_seconds(point.length).value;
    const auto rate = [&](std::int64_t count) {
      out.push_back(',');
      if (seconds > 0) append_double(out, static_cast<double>(count) / seconds);
    };
    rate(point.prompt_tokens);
    rate(point.output_tokens);
    fmt::format_to(std::back_inserter(out), ",{},{},", point.iterations, point.replicas);
    if (point.watts) append_double(out, *point.watts);
    out.push_back('\n');
  }
  return fmt::to_string(out);
}

}  // namespace fleetsim

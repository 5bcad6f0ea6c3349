// The out-of-line half of the meter: what happens when an iteration crosses a border of the time
// series or of the window, and the read side. Long waits are kept as changes: a request that waits
// over [from, to) adds its exact part to the two intervals at the ends, +1 to the change of the
// first whole interval and -1 to the one that it no longer covers; reading sums the changes up.

#include "sim/metrics/meter.h"

#include <algorithm>

namespace fleetsim {

PoolMeter::PoolMeter(const MeterWindow& window, std::int64_t replicas, std::int64_t max_tokens)
    : window_(window), replicas_(replicas) {
  CHECK(window.interval > 0, "time series interval");
  CHECK(window.from >= 0,
        "window");  // an empty one is the user's choice: a warm-up past the last arrival
  CHECK(replicas >= 1 && max_tokens >= 1, "pool without replicas or tokens");
  by_tokens_.resize(static_cast<std::size_t>(max_tokens) + 1, 0);
  by_rows_.resize(static_cast<std::size_t>(max_tokens) + 1, 0);
}

PoolMeter::Bin& PoolMeter::find_bin(SimTime at) {
  CHECK(at >= 0, "an event before the start: " + std::to_string(at));
  const SimTime index = at / window_.interval;
  cached_bin_ = static_cast<std::size_t>(index);
  cached_from_ = index * window_.interval;
  cached_to_ = cached_from_ + window_.interval;
  if (cached_bin_ >= bins_.size()) bins_.resize(cached_bin_ + 1);
  return bins_[cached_bin_];
}

void PoolMeter::split_iteration(SimTime start, SimTime end, std::int64_t kv_used) {
  for (SimTime at = start; at < end;) {
    Bin& bin = bin_at(at);
    const SimTime part = std::min(end, cached_to_) - at;
    bin.busy += part;
    bin.kv_block_nanoseconds += static_cast<Wide>(kv_used) * part;
    at += part;
  }
}

void PoolMeter::clip_iteration(SimTime start, SimTime end, std::int64_t kv_used) {
  const SimTime inside = std::min(end, window_.to) - std::max(start, window_.from);
  if (inside <= 0) return;
  totals_.busy += inside;
  totals_.kv_block_nanoseconds += static_cast<Wide>(kv_used) * inside;
}

void PoolMeter::spread(Wide Bin::*sum, std::int64_t Bin::*change, SimTime from, SimTime to) {
  CHECK(from <= to, "a span that ends before it starts");
  if (from == to) return;
  Bin& last = bin_at(to - 1);
  const SimTime last_from = cached_from_;
  const std::size_t last_index = cached_bin_;
  if (from >= last_from) {
    last.*sum += to - from;
    return;
  }
  last.*sum += to - last_from;
  last.*change -= 1;
  Bin& first = bin_at(from);
  first.*sum += cached_to_ - from;
  bins_[cached_bin_ + 1].*change += 1;
  CHECK(cached_bin_ < last_index, "intervals out of order");
}

std::vector<MeterInterval> PoolMeter::intervals(SimTime end) const {
  const SimTime interval = window_.interval;
  const auto count = static_cast<std::size_t>((end + interval - 1) / interval);
  std::vector<MeterInterval> answer(count);
  std::int64_t waiting = 0, running = 0;  // requests that cover the whole interval
  for (std::size_t i = 0; i < std::max(count, bins_.size()) && count > 0; ++i) {
    MeterInterval bin;
    if (i < bins_.size()) {
      bin = bins_[i];
      waiting += bins_[i].waiting_change;
      running += bins_[i].running_change;
    }
    MeterInterval& point = answer[std::min(i, count - 1)];
    point.arrivals += bin.arrivals;
    point.completed += bin.completed;
    point.output_tokens += bin.output_tokens;
    point.iterations += bin.iterations;
    point.prompt_tokens += bin.prompt_tokens;
    point.busy += bin.busy;
    point.kv_block_nanoseconds += bin.kv_block_nanoseconds;
    point.waiting += bin.waiting + static_cast<Wide>(waiting) * interval;
    point.running += bin.running + static_cast<Wide>(running) * interval;
  }
  return answer;
}

}  // namespace fleetsim

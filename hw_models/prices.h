#pragma once
// What an hour of a GPU costs, from a dated file that users may replace (prices.yaml). Prices are
// data: none stands in code.

#include <map>
#include <optional>
#include <string>

#include "hw_models/problems.h"

namespace fleetsim {

/// US dollars for one GPU and hour.
struct GpuPrice {
  double usd_per_hour = 0;
  std::optional<double> low, high;  // range of the lists behind it
  std::string source;               // empty where the file gives a bare number
};

struct PriceList {
  std::string file;  // as the user named it; "prices.yaml" for the built-in one
  std::string date;  // "2026-05-31": of the prices, as the file states it
  std::map<std::string, GpuPrice> by_gpu;  // canonical GPU names

  const GpuPrice* find(const std::string& gpu) const;
};

/// The list that comes with the program.
const PriceList& built_in_prices();
/// Its text, to start an own file from.
std::string built_in_prices_yaml();

/// Reads a price file: `schema: fleetsim.prices/1`, `date`, and `usd_per_gpu_hour`, a map by GPU of
/// a number or of {value, low, high, source}. Errors: every fault goes to `problems` with its place
/// (unknown keys and GPUs, a GPU twice, no numbers, prices below 0, low <= value <= high broken);
/// the result is usable only when there is none.
PriceList read_prices(const std::string& text, const std::string& file, Problems& problems);

}  // namespace fleetsim

// A default price is an assumption, so each one leaves a note.

#include "sim/fleet/default_prices.h"

#include <fmt/format.h>

namespace fleetsim {
namespace {

std::string range_text(const GpuPrice& price) {
  if (price.low && price.high)
    return fmt::format(", lists from ${} to ${}", *price.low, *price.high);
  return "";
}

}  // namespace

void price_by_list(Deployment& deployment, const PriceList& prices) {
  for (PoolDeployment& pool : deployment.pools) {
    if (pool.priced) continue;
    const GpuPrice* price = prices.find(pool.gpu->name);
    if (price == nullptr) {
      pool.notes.push_back(fmt::format(
          "{}: neither the scenario (cost.usd_per_gpu_hour) nor {} of {} has a price, so the cost "
          "is unknown",
          pool.gpu->name, prices.file, prices.date));
      continue;
    }
    pool.usd_per_gpu_hour = price->usd_per_hour;
    pool.priced = true;
    pool.notes.push_back(fmt::format(
        "{}: ${} an hour, from {} of {}{}{}; the scenario states none (cost.usd_per_gpu_hour)",
        pool.gpu->name, price->usd_per_hour, prices.file, prices.date, range_text(*price),
        price->source.empty() ? "" : " (" + price->source + ")"));
  }
}

}  // namespace fleetsim

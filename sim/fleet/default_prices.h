#pragma once
// Prices for pools whose scenario states none, from a price file.

#include "hw_models/prices.h"
#include "sim/fleet/deployment.h"

namespace fleetsim {

/// Prices every pool that has no price yet and says so in its notes: which file, of which day, in
/// which range; or that the file has no price for its GPU, so that its cost is unknown.
void price_by_list(Deployment& deployment, const PriceList& prices);

}  // namespace fleetsim

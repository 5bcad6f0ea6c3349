// Names of what can become of a request, as requests.csv and summary.json print them.

#include "sim/metrics/records.h"

#include "hw_models/check.h"

namespace fleetsim {

const char* name_of(RequestStatus status) {
  switch (status) {
    case RequestStatus::completed:
      return "completed";
    case RequestStatus::cache_hit:
      return "cache_hit";
    case RequestStatus::rejected:
      return "rejected";
    case RequestStatus::timed_out:
      return "timed_out";
    case RequestStatus::lost:
      return "lost";
    case RequestStatus::unfinished:
      return "unfinished";
  }
  CHECK(false, "unknown request status");
  return "";
}

}  // namespace fleetsim

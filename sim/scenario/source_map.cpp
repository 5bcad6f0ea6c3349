// Places of faults that are found after reading: the key's own place, or its nearest parent's.

#include "sim/scenario/scenario.h"

namespace fleetsim {

void SourceMap::report(Problems& problems, const std::string& path,
                       const std::string& message) const {
  for (std::string key = path;; key.resize(key.rfind('.'))) {
    if (const auto found = overrides.find(key); found != overrides.end())
      return problems.add(found->second, {}, message);
    if (const auto found = positions.find(key); found != positions.end())
      return problems.add(file, found->second, message);
    if (key.rfind('.') == std::string::npos) break;
  }
  problems.add(file, {}, message);
}

}  // namespace fleetsim

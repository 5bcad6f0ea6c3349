#pragma once
// What became of one file of somebody's measurements.

#include <cstdint>
#include <map>
#include <string>

namespace fleetsim {

struct ImportedFile {
  std::string file;
  std::int64_t rows_read = 0;
  std::int64_t rows_of_other_gpus = 0;  // in a file that holds several
  /// Rows for which not even a shape exists, by what they are: "dtype int8_wo".
  std::map<std::string, std::int64_t> without_shape;
  std::string left_out;  // why nothing was read of it; empty: it was read
};

}  // namespace fleetsim

#pragma once
// A MeasuredTable as a folder: manifest.yaml (schema fleetsim.measured/1) and one CSV file a kind
// of operator: the shape's columns, median_ns, engine, kernel, flag.

#include <optional>
#include <string>

#include "calibrate/measured_table.h"
#include "hw_models/problems.h"

namespace fleetsim {

inline constexpr const char* kMeasuredSchema = "fleetsim.measured/1";

/// Writes the folder, the manifest last. Rows keep their order within a kind. Errors: ConfigError
/// when the folder cannot be written, or holds anything and `force` is not set (then the files of
/// an earlier table go away and everything else stays).
void write_measured_folder(const MeasuredTable& table, const std::string& folder, bool force);

/// Reads it back: the rows by kind, in the order of the files' lines. Errors: all faults to
/// `problems`, with file, line and column: no or another schema, files that are not what the
/// manifest vouches for (rows, sha256), cells out of form; nullopt when there is any.
std::optional<MeasuredTable> read_measured_folder(const std::string& folder, Problems& problems);

}  // namespace fleetsim

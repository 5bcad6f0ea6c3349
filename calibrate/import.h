#pragma once
// `fleetsim calibrate import`: tables of other people's measurements become one MeasuredTable, with
// every row that a fit must not trust flagged and counted.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/imported_file.h"
#include "calibrate/measured_table.h"
#include "hw_models/gpu_spec.h"
#include "hw_models/problems.h"

namespace fleetsim {

/// Whose form the tables have.
enum class TableOwner { aiconfigurator, vidur, llmservingsim, profile };
const char* name_of(TableOwner owner);
std::optional<TableOwner> table_owner_named(std::string_view name);
std::vector<std::string> table_owner_names();

struct Import {
  MeasuredTable table;
  std::vector<ImportedFile> files;  // ascending in name
};

/// Reads files, and of folders every file directly in them that the owner's form knows and that
/// holds rows of the GPU; the others are listed with the reason. Rows keep the order of files by
/// name and of lines. Errors: all faults to `problems`: a path that is not there or holds nothing
/// to read, a named file of another GPU, and what the readers find. The result is then incomplete.
Import import_tables(TableOwner owner, const std::vector<std::string>& paths, const GpuSpec& gpu,
                     Problems& problems);

/// The report on the terminal: files, then a line for each kind of operator with its rows read,
/// kept and flagged, and an example of each flag. Ends with a line end.
std::string import_report(const Import& import, const GpuSpec& gpu);

}  // namespace fleetsim

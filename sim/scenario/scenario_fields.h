#pragma once
// The description of a scenario file: every key once, bound to the value it fills. Sections are
// split over scenario_fields.cpp (fleet and the rest), workload_fields.cpp and length_fields.cpp.

#include <optional>
#include <string>
#include <vector>

#include "sim/scenario/field.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

/// What the description needs to know of the world to judge names and paths.
struct FieldContext {
  std::string folder;                        // of the scenario file; empty: the working directory
  std::string data_dir;                      // second place; empty: none
  std::vector<std::string> router_policies;  // empty: any name is taken

  /// Places where a relative path is looked up, in order.
  std::vector<std::string> candidates(const std::string& path) const;
  /// The first candidate that is a file, or "".
  std::string find_file(const std::string& path) const;
  /// "" when the file is there, else the message that names every place tried.
  std::string file_fault(const std::string& path) const;
};

/// The whole file. `scenario` and `context` must outlive the record.
Record scenario_record(Scenario& scenario, const FieldContext& context);

// Its parts, for each other.
Record workload_record(Workload& workload, const FieldContext& context);
Record length_record(const Place<LengthDistribution>& where, const FieldContext& context);
Record slo_record(const Place<Slo>& where);
/// A text field for a file: keeps the path as written beside the one that was found.
Field file_path(std::string key, std::string& written, std::string& resolved,
                const FieldContext& context, std::string doc);
Field model_name(std::string key, std::string& model, std::string doc);

/// "S[0:8] T[0:3]" as stretches; nullopt when it is not of this form.
std::optional<std::vector<NamedStretch>> parse_stretches(const std::string& text);
std::string format_stretches(const std::vector<NamedStretch>& stretches);

inline constexpr std::int64_t kTokensMax =
    100'000'000;  // of one request; 32-bit counters with room

}  // namespace fleetsim

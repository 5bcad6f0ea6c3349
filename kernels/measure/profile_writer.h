#pragma once
// The folder of a profile: manifest.yaml and one CSV file a family, valid after every row.

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "hw_models/sha256.h"
#include "kernels/measure/measured_row.h"
#include "kernels/measure/physical_floor.h"
#include "kernels/measure/run_facts.h"

namespace fleetsim::kernels {

inline constexpr const char* kProfileSchema = "fleetsim.profile/1";

/// The folder cannot be used or written: the message says which and why.
class ProfileFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "h200-sxm" for "NVIDIA H200": the name of hw_models/gpus where the GPU is known there, else the
/// device's own name as a folder's name.
std::string gpu_slug(std::string_view device_name);
/// hw_models/profiles/<gpu>/<YYYY-MM-DD>, below the current folder. `started_utc` as in RunFacts.
std::string default_profile_folder(std::string_view device_name, std::string_view started_utc);

/// Columns that every table has after its axes, in their order; no axis is called like one.
const std::vector<std::string>& result_columns();
/// "op,dtype,m,...": without a line end.
std::string csv_header(const OperatorAxes& family);
/// Texts quoted as RFC 4180 has it; without a line end.
std::string csv_line(const MeasuredRow& row);

/// Writes as rows come: a run that is killed leaves a folder that can be loaded, marked as partial.
/// Errors of all members: ProfileFault.
class ProfileWriter {
 public:
  /// Makes the folder ready. Refuses one that holds anything, unless `force`: then earlier files of
  /// a profile go away and everything else stays.
  ProfileWriter(std::string folder, RunFacts facts, bool force);
  ~ProfileWriter();
  ProfileWriter(const ProfileWriter&) = delete;
  ProfileWriter& operator=(const ProfileWriter&) = delete;

  /// Appends to the family's file and rewrites the manifest. Errors: CHECK that times are in order
  /// (0 < p10 <= median <= p90, n >= 1) and the error is finite.
  void add(const MeasuredRow& row);
  /// Kept, and written with the next row or finish().
  void set_clocks(const ClockFacts& clocks) { clocks_ = clocks; }
  /// A sentence for the manifest: a dropped block, a skipped point.
  void add_warning(const std::string& text);
  /// The last word. `stopped`: empty when every point was reached, else why not ("budget").
  void finish(const std::string& stopped);

  const std::string& folder() const { return folder_; }
  const Ceilings& ceilings() const { return ceilings_; }
  std::int64_t rows() const { return rows_; }

 private:
  struct Table {
    const OperatorAxes* family = nullptr;
    std::FILE* file = nullptr;
    Sha256 hash;  // of the bytes written so far
    std::int64_t bytes = 0, rows = 0;
  };
  Table& table_of(const OperatorAxes& family);
  void append(Table& table, const std::string& line);
  void write_manifest() const;
  std::string manifest() const;

  std::string folder_;
  RunFacts facts_;
  ClockFacts clocks_;
  Ceilings ceilings_;
  std::vector<std::string> warnings_;
  std::vector<Table> tables_;  // in the order of their first rows
  std::int64_t rows_ = 0;
  bool complete_ = false;
  std::string stopped_ = "the run has not ended, or was killed";
};

}  // namespace fleetsim::kernels

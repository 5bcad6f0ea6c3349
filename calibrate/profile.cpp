// Manifest and tables are read on their own; here they are held against each other and against
// physics.

#include "calibrate/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "calibrate/manifest.h"
#include "calibrate/profile_table.h"
#include "hw_models/sha256.h"
#include "kernels/measure/work.h"

namespace fleetsim {
namespace {

using kernels::Ceilings;
using kernels::OperatorAxes;

std::optional<std::string> read_file(const std::string& path, Problems& problems) {
  constexpr std::size_t kBytesMax = 100'000'000;  // a full grid's tables take a few hundred KB
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) {
    problems.add(path, {}, fmt::format("cannot be read: {}", std::strerror(errno)));
    return std::nullopt;
  }
  std::string text;
  char part[65536];
  while (const std::size_t bytes = std::fread(part, 1, sizeof part, file.get())) {
    text.append(part, bytes);
    if (text.size() > kBytesMax) break;
  }
  if (std::ferror(file.get()) != 0 || text.size() > kBytesMax) {
    problems.add(path, {},
                 text.size() > kBytesMax ? fmt::format("is larger than {} bytes", kBytesMax)
                                         : "cannot be read to its end");
    return std::nullopt;
  }
  return text;
}

/// Whether the manifest means the table that this version writes for the operator.
const OperatorAxes* family_of(const ManifestTable& table, const std::string& file,
                              Problems& problems) {
  const std::size_t before = problems.size();
  const auto add = [&](const std::string& message) { problems.add(file, table.position, message); };
  const OperatorAxes* family = kernels::find_operator(table.op);
  if (family == nullptr) {
    add(fmt::format("unknown operator '{}'", table.op));
    return nullptr;
  }
  if (table.file != family->file)
    add(fmt::format("the table of {} is {}, not '{}'", table.op, family->file, table.file));
  std::vector<std::string> axes;
  std::vector<std::pair<std::string, std::string>> units;
  for (const kernels::Axis& axis : family->axes) {
    axes.push_back(axis.name);
    if (!axis.unit.empty()) units.emplace_back(axis.name, axis.unit);
  }
  if (table.axes != axes)
    add(fmt::format("the axes of {} are {}, not {}", table.op, fmt::join(axes, ", "),
                    fmt::join(table.axes, ", ")));
  if (table.units != units) add(fmt::format("{} is measured in other units", table.op));
  return problems.size() == before ? family : nullptr;
}

std::vector<TableRow> load_table(const ManifestTable& table, const OperatorAxes& family,
                                 bool complete, const std::string& path,
                                 const std::string& manifest_file, Problems& problems) {
  std::optional<std::string> text = read_file(path, problems);
  if (!text) return {};
  // a run that was killed may have written one row more than it could vouch for
  if (!complete && std::ssize(*text) > table.bytes)
    text->resize(static_cast<std::size_t>(table.bytes));
  if (std::ssize(*text) != table.bytes)
    problems.add(path, {},
                 fmt::format("has {} bytes; the manifest says {}", text->size(), table.bytes));
  const std::string digest = sha256_hex(*text);
  if (digest != table.sha256)
    problems.add(path, {},
                 fmt::format("its sha256 is {}, the manifest says {}: the file was changed", digest,
                             table.sha256));
  const std::size_t before = problems.size();
  std::vector<TableRow> rows = read_profile_table(*text, path, family, problems);
  if (problems.size() == before && std::ssize(rows) != table.rows)
    problems.add(
        manifest_file, table.position,
        fmt::format("{} has {} rows; the manifest says {}", family.file, rows.size(), table.rows));
  return rows;
}

/// The rows' own ceilings must be those of the manifest: everything else is judged by them.
void check_ceilings(const Manifest& manifest, const Ceilings& measured, const std::string& file,
                    Problems& problems) {
  constexpr double kRounding = 1e-9;
  for (const kernels::CeilingFigure& figure : kernels::ceiling_figures()) {
    const double stated = manifest.ceilings.*figure.value, found = measured.*figure.value;
    if (std::abs(stated - found) > kRounding * found)
      problems.add(file, manifest.ceilings_position,
                   fmt::format("ceilings.{} is {}; the rows of ceilings.csv give {}", figure.name,
                               stated, found));
  }
}

/// Empty when every ceiling that judges the row was measured.
const char* missing_ceiling(const kernels::MeasuredRow& row, const Ceilings& c) {
  if (row.point.op() == "ceiling") return "";
  const kernels::Work work = kernels::work_of(row.point);
  if (work.bytes > 0 && c.hbm_read_gb_s == 0 && c.hbm_copy_gb_s == 0 && c.hbm_write_gb_s == 0)
    return "memory bandwidth";
  if (work.rate != kernels::MathRate::plain && c.bf16_tflop_s == 0) return "bf16 GEMM";
  if (work.link == kernels::Link::host_to_device && c.h2d_gb_s == 0) return "host to device copy";
  if (work.link == kernels::Link::device_to_host && c.d2h_gb_s == 0) return "device to host copy";
  return "";
}

void check_floor(const TableRow& row, const Ceilings& ceilings, const std::string& file,
                 Problems& problems) {
  const SourcePosition position{row.line, row.median_column};
  if (const char* missing = missing_ceiling(row.measured, ceilings); *missing != '\0') {
    problems.add(file, position,
                 fmt::format("cannot be judged: no ceiling of {} was measured", missing));
    return;
  }
  const double floor = kernels::floor_ns(row.measured.point, row.measured.l2, ceilings);
  if (static_cast<double>(row.measured.median_ns) >= floor) return;
  const kernels::Work work = kernels::work_of(row.measured.point);
  problems.add(
      file, position,
      fmt::format("{} ns is under the physical floor of {:.0f} ns: {:.4g} FLOPs, {:.4g} bytes of "
                  "memory and {:.4g} bytes over a link at the measured ceilings, with {:.0f} % "
                  "allowed on FLOPs and {:.0f} % on bytes",
                  row.measured.median_ns, std::ceil(floor), work.flops, work.bytes, work.link_bytes,
                  100 * kernels::kFlopsTolerance, 100 * kernels::kBytesTolerance));
}

}  // namespace

std::optional<Profile> load_profile(const std::string& folder, const ProfileRules& rules,
                                    Problems& problems) {
  const std::size_t before = problems.size();
  const std::string manifest_file = folder + "/manifest.yaml";
  const std::optional<std::string> text = read_file(manifest_file, problems);
  if (!text) return std::nullopt;
  std::optional<Manifest> manifest = parse_manifest(*text, manifest_file, problems);
  if (!manifest) return std::nullopt;
  if (rules.require_clean && manifest->facts.software.dirty)
    problems.add(manifest_file, manifest->dirty_position,
                 "was measured by a build of uncommitted sources (dirty: true)");
  const std::size_t before_tables = problems.size();
  struct Loaded {
    std::string path;
    std::vector<TableRow> rows;
  };
  std::vector<Loaded> tables;
  std::vector<std::string> seen;
  Ceilings ceilings;
  for (const ManifestTable& table : manifest->tables) {
    if (std::find(seen.begin(), seen.end(), table.op) != seen.end()) {
      problems.add(manifest_file, table.position, fmt::format("a second table of {}", table.op));
      continue;
    }
    seen.push_back(table.op);
    const OperatorAxes* family = family_of(table, manifest_file, problems);
    if (family == nullptr) continue;
    const std::string path = folder + "/" + family->file;
    tables.push_back(
        {path, load_table(table, *family, manifest->complete, path, manifest_file, problems)});
    for (const TableRow& row : tables.back().rows) kernels::add_ceiling(ceilings, row.measured);
  }
  // a broken table has no ceilings to judge others by
  if (problems.size() == before_tables) {
    check_ceilings(*manifest, ceilings, manifest_file, problems);
    for (const Loaded& table : tables)
      for (const TableRow& row : table.rows) check_floor(row, ceilings, table.path, problems);
  }
  if (problems.size() != before) return std::nullopt;
  Profile profile{manifest->facts,   manifest->clocks,   ceilings, manifest->complete,
                  manifest->stopped, manifest->warnings, {}};
  for (Loaded& table : tables)
    for (TableRow& row : table.rows) profile.rows.push_back(std::move(row.measured));
  return profile;
}

}  // namespace fleetsim

// What an import came to, for people.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <string_view>

#include "calibrate/import.h"
#include "calibrate/row_flags.h"
#include "calibrate/shape_columns.h"

namespace fleetsim {
namespace {

constexpr std::array kFlags = {RowFlag::under_floor, RowFlag::launch_bound, RowFlag::warm_l2,
                               RowFlag::repeated, RowFlag::not_modelled};

std::string_view file_name(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

std::string example(const MeasuredOperator& row, const GpuSpec& gpu) {
  std::string text = text_of(row.shape);
  if (!row.engine.empty() || !row.kernel.empty())
    text += fmt::format(" ({}{}{})", row.engine, row.kernel.empty() ? "" : ": ", row.kernel);
  text += fmt::format(": {:.4g} us", row.seconds * 1e6);
  const DatasheetFloor floor = datasheet_floor(row.shape, gpu);
  const double least = std::max(floor.compute, floor.memory);
  if (row.flag == RowFlag::under_floor || row.flag == RowFlag::warm_l2)
    text += fmt::format(", the datasheet allows {:.4g} us", least * 1e6);
  return text;
}

struct Counts {
  std::size_t rows = 0;
  std::array<std::size_t, 1 + kFlags.size()> by_flag = {};
  std::array<const MeasuredOperator*, 1 + kFlags.size()> first = {};
};

}  // namespace

std::string import_report(const Import& import, const GpuSpec& gpu) {
  fmt::memory_buffer out;
  const auto say = [&](std::string_view line) {
    out.append(line.data(), line.data() + line.size());
    out.push_back('\n');
  };
  say(fmt::format("{} rows of {} from {}", import.table.rows.size(), gpu.name, import.table.owner));
  say("source:  " + import.table.source);
  say("licence: " + import.table.licence);
  say("");
  for (const ImportedFile& file : import.files) {
    if (!file.left_out.empty()) {
      say(fmt::format("  {:<40} left out: {}", file_name(file.file), file.left_out));
      continue;
    }
    std::string note;
    if (file.rows_of_other_gpus > 0)
      note = fmt::format(", {} of other GPUs", file.rows_of_other_gpus);
    for (const auto& [what, count] : file.without_shape)
      note += fmt::format(", {} that no shape stands for: {}", count, what);
    say(fmt::format("  {:<40} {:>8} rows{}", file_name(file.file), file.rows_read, note));
  }
  say("");
  std::string head = fmt::format("{:<18}{:>9}{:>9}", "operator", "rows", "kept");
  for (const RowFlag flag : kFlags) head += fmt::format("{:>14}", name_of(flag));
  say(head);
  std::vector<Counts> kinds(shape_kinds().size());
  for (const MeasuredOperator& row : import.table.rows) {
    Counts& counts = kinds[row.shape.index()];
    ++counts.rows;
    const auto flag = static_cast<std::size_t>(row.flag);
    ++counts.by_flag[flag];
    if (counts.first[flag] == nullptr) counts.first[flag] = &row;
  }
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    const Counts& counts = kinds[kind];
    if (counts.rows == 0) continue;
    std::string line =
        fmt::format("{:<18}{:>9}{:>9}", shape_kinds()[kind].name, counts.rows, counts.by_flag[0]);
    for (const RowFlag flag : kFlags)
      line += fmt::format("{:>14}", counts.by_flag[static_cast<std::size_t>(flag)]);
    say(line);
  }
  for (const RowFlag flag : kFlags) {
    bool any = false;
    for (const Counts& counts : kinds) {
      const MeasuredOperator* row = counts.first[static_cast<std::size_t>(flag)];
      if (row == nullptr) continue;
      if (!any) say(fmt::format("\n{}, for example:", name_of(flag)));
      any = true;
      say("  " + example(*row, gpu));
    }
  }
  return fmt::to_string(out);
}

}  // namespace fleetsim

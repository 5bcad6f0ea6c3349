// Two passes: widths, then lines.

#include "sim/breakdown/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace fleetsim {
namespace {

/// Characters, not bytes: "µ", "×" and "·" are two bytes each.
std::size_t characters(const std::string& text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

}  // namespace

std::string styled_text(const std::string& text, const char* code, bool color) {
  return color ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
}

std::string TextTable::text(bool color, std::size_t left_from) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], characters(row[i]));
    }
  std::string out;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::string line = " ";
    for (std::size_t i = 0; i < rows_[r].size(); ++i) {
      const std::string pad(widths[i] - characters(rows_[r][i]), ' ');
      const bool left = i == 0 || i >= left_from;
      line += (i == 0 ? " " : "  ") + (left ? rows_[r][i] + pad : pad + rows_[r][i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += (r == 0 ? styled_text(line, "2", color) : line) + "\n";
  }
  return out;
}

}  // namespace fleetsim

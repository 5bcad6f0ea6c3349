#pragma once
// Columns of text for the terminal: the first to the left, the others to the right, as wide as
// their widest cell.

#include <string>
#include <vector>

namespace fleetsim {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head) : rows_{std::move(head)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// The lines, each indented by two blanks; the head dimmed when `color` is set. Widths are
  /// counted in characters, not bytes. Columns from `left_from` on (counted from 0) stand to the
  /// left too.
  std::string text(bool color, std::size_t left_from = static_cast<std::size_t>(-1)) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the head first
};

/// `text` between the terminal's codes when `color` is set.
std::string styled_text(const std::string& text, const char* code, bool color);

}  // namespace fleetsim

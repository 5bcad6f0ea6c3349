#pragma once
// A validation as tables, the one form that terminal, Markdown and page are written from.

#include <string>
#include <vector>

#include "sim/validation/validation.h"

namespace fleetsim {

/// A table with its title and what its reader must know. The first column is text, the others
/// figures; rows have as many cells as `head`. Without rows it is words alone.
struct ValidationTable {
  std::string title, lead;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> notes;  // lines below it
};

/// In the order of the report. `brief`: what fits a terminal; otherwise every class and family.
std::vector<ValidationTable> validation_tables(const Validation& validation, bool brief);

/// One row in words: what was predicted and measured, where the time of its mean iteration goes,
/// what was assumed.
std::string explained(const ValidatedRow& row);
/// "b200 fp8 tp4, 8192/1024 tokens, 64 clients".
std::string configuration_of(const ServiceRow& row);

}  // namespace fleetsim

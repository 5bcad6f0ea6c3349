#pragma once
// Where exceptions end: calls from C and Python get a number and, if they ask, a text.

#include <exception>
#include <string>

#include "hw_models/check.h"
#include "kernels/program/c_interface.h"

namespace fleetsim::kernels {

/// This thread's last error; what fleetsim_last_error() returns.
std::string& last_error_text();

/// Runs `work`: 0, or 1 with its error written down.
template <class Work>
int across_border(const Work& work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    last_error_text() = error.what();
  } catch (...) {
    last_error_text() = "an error without a text";
  }
  return 1;
}

}  // namespace fleetsim::kernels

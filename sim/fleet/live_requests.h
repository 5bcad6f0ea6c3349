#pragma once
// The requests that are somewhere in the fleet: slots with stable addresses, reused when a request
// has left, told apart by a generation number.

#include <cstdint>
#include <deque>
#include <vector>

#include "hw_models/check.h"
#include "sim/engine/engine_request.h"

namespace fleetsim {

class LiveRequests {
 public:
  /// A fresh slot; its vectors keep the capacity that earlier requests gave them.
  EngineRequest& acquire() {
    if (free_.empty()) {
      slots_.emplace_back();
      slots_.back().slot = static_cast<std::int32_t>(slots_.size()) - 1;
      used_.push_back(false);
      free_.push_back(slots_.back().slot);
    }
    const std::int32_t slot = free_.back();
    free_.pop_back();
    used_[static_cast<std::size_t>(slot)] = true;
    EngineRequest& request = slots_[static_cast<std::size_t>(slot)];
    reset(request);
    return request;
  }

  /// Gives the slot back. Nothing may refer to the request any more.
  void release(EngineRequest& request) {
    CHECK(request.steps_in_flight == 0 && request.table.blocks() == 0);
    ++request.generation;
    used_[static_cast<std::size_t>(request.slot)] = false;
    free_.push_back(request.slot);
  }

  EngineRequest& operator[](std::int32_t slot) { return slots_[static_cast<std::size_t>(slot)]; }
  /// Calls visit(request) for every request that still holds a slot, in slot order.
  template <class Visit>
  void for_each(Visit visit) {
    for (EngineRequest& request : slots_) {
      if (used_[static_cast<std::size_t>(request.slot)]) visit(request);
    }
  }

 private:
  static void reset(EngineRequest& request) {
    Request content = std::move(request.request);
    BlockTable table = std::move(request.table);
    const std::int32_t slot = request.slot;
    const std::uint32_t generation = request.generation;
    request = EngineRequest{};
    content.prompt.clear();
    request.request = std::move(content);
    request.table = std::move(table);
    request.slot = slot;
    request.generation = generation;
  }

  std::deque<EngineRequest> slots_;
  std::vector<char> used_;
  std::vector<std::int32_t> free_;
};

}  // namespace fleetsim

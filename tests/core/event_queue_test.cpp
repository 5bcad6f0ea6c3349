// The event queue against hand-worked orders and against a plainly sorted reference.

#include "sim/core/event_queue.h"

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>

#include "sim/core/random.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {
enum class Phase : std::uint8_t { iteration_end, arrival, timeout };
}

TEST_CASE("events come out by time, then phase, then order of scheduling", "[unit]") {
  EventQueue<char, Phase> queue;
  queue.schedule(20, Phase::arrival, 'd');
  queue.schedule(10, Phase::timeout, 'c');
  queue.schedule(10, Phase::arrival, 'a');
  queue.schedule(20, Phase::iteration_end, 'D');
  queue.schedule(10, Phase::arrival, 'b');
  REQUIRE(queue.next_time() == 10);
  std::string order;
  while (!queue.empty()) order += queue.pop().payload;
  REQUIRE(order == "abcDd");
  REQUIRE(queue.now() == 20);
  REQUIRE(queue.popped() == 5);
  REQUIRE(queue.next_time() == kNever);
}

TEST_CASE("within a phase a tie decides before the order of scheduling", "[unit]") {
  EventQueue<char, Phase> queue;
  queue.schedule(10, Phase::arrival, 'c', 7);
  queue.schedule(10, Phase::arrival, 'a', 2);
  queue.schedule(10, Phase::arrival, 'd', 7);
  queue.schedule(10, Phase::arrival, 'b', 2);
  queue.schedule(10, Phase::iteration_end, '0', 99);
  std::string order;
  while (!queue.empty()) order += queue.pop().payload;
  REQUIRE(order == "0abcd");
}

TEST_CASE("an event says its phase, and the present is not the past", "[unit]") {
  EventQueue<int, Phase> queue;
  queue.schedule(5, Phase::timeout, 1);
  REQUIRE(queue.top().order() == Phase::timeout);
  queue.pop();
  queue.schedule(5, Phase::iteration_end, 2);  // now itself is allowed
  REQUIRE(queue.pop().payload == 2);
}

TEST_CASE("the past is refused, and so is popping nothing", "[unit]") {
  EventQueue<int> queue;
  queue.schedule(7, 0, 1);
  queue.pop();
  REQUIRE_THROWS_AS(queue.schedule(6, 0, 2), InternalError);
  REQUIRE_THROWS_AS(queue.pop(), InternalError);
  REQUIRE_THROWS_AS(queue.top(), InternalError);
}

TEST_CASE("payloads that can only be moved pass through the queue", "[unit]") {
  EventQueue<std::unique_ptr<int>> queue;
  for (int i = 9; i >= 0; --i) queue.schedule(i, 0, std::make_unique<int>(i));
  for (int i = 0; i < 10; ++i) REQUIRE(*queue.pop().payload == i);
}

TEST_CASE("random pushes and pops agree with a sorted reference", "[invariant]") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const RandomStream random(seed, "event queue test");
    using Key = std::tuple<SimTime, int, int>;  // time, phase, sequence
    EventQueue<Key> queue;
    std::vector<Key> reference;
    SimTime now = 0;
    for (int step = 0; step < 2000; ++step) {
      const RandomStream draws = random.at(static_cast<std::uint64_t>(step));
      const bool grow = draws.index(100, 0) < (step < 1000 ? 60u : 40u);
      if (grow || reference.empty()) {  // few distinct times and phases: many ties
        const Key key(now + static_cast<SimTime>(draws.index(8, 1)),
                      static_cast<int>(draws.index(3, 2)), step);
        queue.schedule(std::get<0>(key), static_cast<std::uint8_t>(std::get<1>(key)), key);
        reference.push_back(key);
      } else {
        const auto least = std::min_element(reference.begin(), reference.end());
        REQUIRE(queue.next_time() == std::get<0>(*least));
        const auto event = queue.pop();
        REQUIRE(event.payload == *least);
        now = event.time;
        REQUIRE(queue.now() == now);
        reference.erase(least);
      }
      REQUIRE(queue.size() == reference.size());
    }
  }
}

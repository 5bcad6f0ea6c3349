// Numbers with units, and SHA-256, whose answers others have published.

#include "sim/scenario/quantity.h"

#include "tests/catch.h"

namespace fleetsim {
namespace {

double value_of(const char* text, Dimension dimension) {
  const auto parsed = parse_quantity(text, dimension);
  INFO(text);
  REQUIRE(std::holds_alternative<double>(parsed));
  return std::get<double>(parsed);
}

QuantityFault fault_of(const char* text, Dimension dimension) {
  const auto parsed = parse_quantity(text, dimension);
  INFO(text);
  REQUIRE(std::holds_alternative<QuantityFault>(parsed));
  return std::get<QuantityFault>(parsed);
}

}  // namespace

TEST_CASE("times are exact nanoseconds", "[unit]") {
  CHECK(value_of("3s", Dimension::time) == 3e9);
  CHECK(value_of("250ms", Dimension::time) == 25e7);
  CHECK(value_of("20us", Dimension::time) == 2e4);
  CHECK(value_of("30ns", Dimension::time) == 30);
  CHECK(value_of("10min", Dimension::time) == 6e11);
  CHECK(value_of("1.5h", Dimension::time) == 54e11);
  CHECK(value_of("1d", Dimension::time) == 864e11);
  CHECK(value_of("0.1s", Dimension::time) == 1e8);  // 0.1 alone is not a double
  CHECK(value_of("1e-3s", Dimension::time) == 1e6);
}

TEST_CASE("other quantities come in their base unit, correctly rounded", "[unit]") {
  CHECK(value_of("20us", Dimension::seconds) == 0.00002);
  CHECK(value_of("30ns", Dimension::seconds) == 0.00000003);
  CHECK(value_of("2000/s", Dimension::rate) == 2000);
  CHECK(value_of("120/min", Dimension::rate) == 2);
  CHECK(value_of("7200/h", Dimension::rate) == 2);
  CHECK(value_of("80GB", Dimension::bytes) == 80e9);
  CHECK(value_of("80GiB", Dimension::bytes) == 85899345920.0);
  CHECK(value_of("1.5MiB", Dimension::bytes) == 1572864);
  CHECK(value_of("4.8TB/s", Dimension::bandwidth) == 4.8e12);
}

TEST_CASE("what is no quantity is told apart", "[unit]") {
  CHECK(fault_of("600", Dimension::time) == QuantityFault::unit_missing);
  CHECK(fault_of("3weeks", Dimension::time) == QuantityFault::unit_unknown);
  CHECK(fault_of("3 s", Dimension::time) == QuantityFault::unit_unknown);
  CHECK(fault_of("3S", Dimension::time) == QuantityFault::unit_unknown);
  CHECK(fault_of("2000/s", Dimension::time) == QuantityFault::unit_unknown);
  CHECK(fault_of("1e999s", Dimension::time) == QuantityFault::out_of_range);
  CHECK(fault_of("1e99999999999999s", Dimension::time) == QuantityFault::out_of_range);
  for (const char* text : {"", "s", "-", "nan", "inf", "infs", ".5s", "+3s", "0x10s"}) {
    if (std::string(text) == "0x10s")
      CHECK(fault_of(text, Dimension::time) == QuantityFault::unit_unknown);
    else
      CHECK(fault_of(text, Dimension::time) == QuantityFault::not_a_number);
  }
  CHECK(std::holds_alternative<QuantityFault>(parse_number("1.5.2")));
  CHECK(std::holds_alternative<QuantityFault>(parse_number("0x10")));
  CHECK(std::get<double>(parse_number("-2.5e3")) == -2500);
}

TEST_CASE("quantities are written so that they read back the same", "[unit]") {
  CHECK(format_time(0) == "0s");
  CHECK(format_time(1'500'000'000) == "1500ms");
  CHECK(format_time(90 * kNanosecondsPerSecond) == "90s");
  CHECK(format_time(600 * kNanosecondsPerSecond) == "10min");
  CHECK(format_time(1) == "1ns");
  CHECK(format_bytes(80ll << 30) == "80GiB");
  CHECK(format_bytes(80'000'000'001) == "80000000001B");
  for (const SimTime time :
       {SimTime{1}, SimTime{999'999'999}, SimTime{5'400} * kNanosecondsPerSecond})
    CHECK(value_of(format_time(time).c_str(), Dimension::time) == static_cast<double>(time));
  for (const double rate : {2000.0, 1.0 / 3, 1e-7, 123456.789})
    CHECK(value_of(format_in_base_unit(rate, Dimension::rate).c_str(), Dimension::rate) == rate);
  CHECK(value_of(format_in_base_unit(0.00002, Dimension::seconds).c_str(), Dimension::seconds) ==
        0.00002);
}

}  // namespace fleetsim

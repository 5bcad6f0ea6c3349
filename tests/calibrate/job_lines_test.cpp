// The protocol: what is written reads back, and every fault of a job file is found with its line.

#include "kernels/measure/job_lines.h"

#include "kernels/measure/grid.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

const char* const kHeader =
    R"({"schema":"fleetsim.jobs/1","command":"bench","out":"x","budget_s":60,"seed":3})";
const char* const kPoint = R"({"op":"gemm","dtype":"bf16","m":1,"n":4096,"k":4096,"algo":"top"})";

/// "line: message" of every fault, one a line.
std::string faults_of(const std::string& text) {
  std::vector<JobFault> faults;
  parse_jobs(text, faults);
  std::string out;
  for (const JobFault& fault : faults)
    out += std::to_string(fault.line) + ": " + fault.message + "\n";
  return out;
}
std::string fault_in_header(const std::string& header) {
  return faults_of(header + "\n" + kPoint + "\n");
}
std::string fault_in_point(const std::string& point) {
  return faults_of(std::string(kHeader) + "\n" + kPoint + "\n" + point + "\n");
}
std::string fault_of_event(const std::string& line) {
  std::string fault;
  CHECK_FALSE(parse_event(line, fault).has_value());
  return fault;
}

}  // namespace

TEST_CASE("jobs read back as they were written", "[unit]") {
  std::string text = header_line({"a \"folder\"", 61, UINT64_MAX, true}) + "\n";
  const std::vector<Point> grid = bench_grid(GridSize::full, "", 1);
  for (const Point& point : grid) text += point_line(point) + "\n";
  std::vector<JobFault> faults;
  const Jobs jobs = parse_jobs(text, faults);
  CHECK(faults.empty());
  CHECK(jobs.header.out == "a \"folder\"");
  CHECK(jobs.header.budget_s == 61);
  CHECK(jobs.header.seed == UINT64_MAX);
  CHECK(jobs.header.force);
  CHECK(jobs.points == grid);
}

TEST_CASE("a job line looks as it is documented", "[golden]") {
  CHECK(point_line(sound_point(
            "gemm",
            {{"dtype", "bf16"}, {"m", "1"}, {"n", "4096"}, {"k", "4096"}, {"algo", "top"}})) ==
        kPoint);
  CHECK(
      header_line({"DIR", 480, 1, false}) ==
      R"({"schema":"fleetsim.jobs/1","command":"bench","out":"DIR","budget_s":480,"seed":1,"force":false})");
}

TEST_CASE("blank lines, Windows line ends and a missing last line end do no harm", "[unit]") {
  std::vector<JobFault> faults;
  const Jobs jobs =
      parse_jobs(std::string("\n") + kHeader + "\r\n  \n" + kPoint + "\r\n\n" + kPoint, faults);
  CHECK(faults.empty());
  CHECK(jobs.points.size() == 2);
}

TEST_CASE("all faults of a job file are told, each with its line", "[unit]") {
  std::string known;
  for (const OperatorAxes& family : operator_axes())
    known += (known.empty() ? "" : ", ") + family.op;
  CHECK(faults_of(std::string(kHeader) + "\n" + kPoint + "\n{\"op\":\"gem\"}\nnothing\n\n" +
                  R"({"op":"gemm","dtype":"bf16","m":0,"n":4096,"k":"4096","algo":"best"})" +
                  "\n") == "3: unknown operator 'gem'; known are " + known +
                               "\n"
                               "4: not JSON\n"
                               "6: k is the text \"4096\"; a number without quotes is expected\n"
                               "6: m is '0'; a whole number from 1 to 16777216 is expected\n"
                               "6: algo is 'best'; one of top, best8 is expected\n");
}

TEST_CASE("a point of the wrong form is refused, whatever is wrong with it", "[unit]") {
  CHECK(fault_in_point("[1]") == "3: a flat JSON object is expected\n");
  CHECK(fault_in_point("7") == "3: a flat JSON object is expected\n");
  CHECK(fault_in_point("{}") == "3: 'op' is missing: the operator to measure\n");
  CHECK(fault_in_point(R"({"op":7})") == "3: 'op' is missing: the operator to measure\n");
  CHECK(fault_in_point(R"({"op":"gemm","dtype":{"a":1}})") ==
        "3: a flat JSON object is expected\n");
  CHECK(fault_in_point(std::string(kPoint) + "}") == "3: not JSON\n");
  CHECK(fault_in_point("{\"op\":\"g\xff\"}") == "3: not JSON\n");
  CHECK(fault_in_point(R"({"op":"gemm","dtype":"bf16","m":1,"m":2,"n":1,"k":1,"algo":"top"})") ==
        "3: 'm' is given twice\n");
  for (const char* bad : {"1.0", "1e3", "-1", "true", "null", "99999999999999999999"})
    CHECK(
        fault_in_point(std::string(R"({"op":"gemm","dtype":"bf16","n":1,"k":1,"algo":"top","m":)") +
                       bad + "}")
            .find("3: m is '") == 0);
  CHECK(fault_in_point(R"({"op":"gemm","dtype":16,"m":1,"n":1,"k":1,"algo":"top"})")
            .find("3: dtype is '16'; one of") == 0);
  CHECK(fault_in_point(std::string(1'000'001, ' ') + "{").find("3: the line is longer") == 0);
  CHECK(fault_in_point(std::string(100'000, '[')) == "3: not JSON\n");
}

TEST_CASE("a header is refused when its schema, command or a field is not the one expected",
          "[unit]") {
  CHECK(faults_of("").find("1: no jobs: the first line must be a header such as {\"schema\"") == 0);
  CHECK(faults_of("\n\n").find("1: no jobs") == 0);
  CHECK(faults_of(std::string(kHeader) + "\n") == "1: no points follow the header\n");
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = kHeader;
    return fault_in_header(text.replace(text.find(from), from.size(), to));
  };
  CHECK(changed("jobs/1", "jobs/2") ==
        "1: header: schema is 'fleetsim.jobs/2'; this program reads fleetsim.jobs/1\n");
  CHECK(changed("bench", "fit") == "1: header: command is 'fit'; bench is known\n");
  CHECK(changed("\"budget_s\":60,", "") == "1: header: 'budget_s' is missing\n");
  CHECK(changed("60", "0") == "1: header: 'budget_s' must be at least 1\n");
  CHECK(changed("60", "6.5") == "1: header: 'budget_s' is 6.5; a whole number is expected\n");
  CHECK(changed("60", "99999999999999999999").find("1: header: 'budget_s' is ") == 0);
  CHECK(changed("60", "18446744073709551615").find("1: header: 'budget_s' is ") == 0);
  CHECK(changed("\"seed\":3", "\"seed\":-3") ==
        "1: header: 'seed' is -3; a whole number is expected\n");
  CHECK(changed("\"out\":\"x\"", "\"out\":5") == "1: header: 'out' is 5; a text is expected\n");
  CHECK(changed("\"seed\":3", "\"seed\":3,\"sed\":4") == "1: header: unknown field 'sed'\n");
  CHECK(fault_in_header(kPoint).find("1: header: 'schema' is missing") == 0);
}

TEST_CASE("events read back as they were written", "[unit]") {
  std::string fault;
  const auto back = [&](const Event& event) {
    const std::string line = event_line(event);
    CHECK(line.find('\n') == std::string::npos);
    auto parsed = parse_event(line, fault);
    INFO(line << " " << fault);
    REQUIRE(parsed.has_value());
    CHECK(event_line(*parsed) == line);
    return *parsed;
  };
  const MeasuredDevice device = synthetic_facts().device;
  CHECK(std::get<DeviceEvent>(back(DeviceEvent{device, "dir"})).device.l2_bytes == device.l2_bytes);
  CHECK(std::get<ProgressEvent>(back(ProgressEvent{3, 7, "gemm", "a\nb"})).text == "a\nb");
  CHECK(std::get<StoppedEvent>(back(StoppedEvent{"budget", 12})).points_left == 12);
  CHECK(std::get<DoneEvent>(back(DoneEvent{5, "dir"})).rows == 5);
  CHECK(std::get<FailedEvent>(back(FailedEvent{"gemm", "error 0.2"})).op == "gemm");
  CHECK(std::get<WarningEvent>(back(WarningEvent{"µs"})).text == "µs");
  for (const MeasuredRow& row : synthetic_rows()) {
    const MeasuredRow read = std::get<RowEvent>(back(RowEvent{row})).row;
    CHECK(read.point == row.point);
    CHECK(read.l2 == row.l2);
    CHECK(read.clock_mhz == row.clock_mhz);
    CHECK(read.noisy == row.noisy);
    CHECK(read.note == row.note);
  }
}

TEST_CASE("a line that is no event of the protocol is refused with the reason", "[unit]") {
  CHECK(fault_of_event("hello") == "not JSON");
  CHECK(fault_of_event("") == "not JSON");
  CHECK(fault_of_event("{}") == "'event' is missing");
  CHECK(fault_of_event(R"({"event":"sleep"})") == "unknown event 'sleep'");
  CHECK(fault_of_event(R"({"event":"done","rows":"5","out":"x"})") ==
        "'rows' is \"5\"; a whole number is expected");
  CHECK(fault_of_event(R"({"event":"warning","text":"x","more":1})") == "unknown field 'more'");
  CHECK(fault_of_event(R"({"event":"row","op":"gemm"})") == "dtype of gemm is missing");
  std::string row = event_line(RowEvent{synthetic_rows()[5]});
  CHECK(fault_of_event(row.replace(row.find("cold"), 4, "cool")) == "'l2' is cold or warm");
}

TEST_CASE("the device's facts are one line of JSON", "[golden]") {
  CHECK(device_line(synthetic_facts().device) ==
        R"({"name":"Synthetic GPU","sm":90,"sms":132,"l2_bytes":62914560,"mem_bytes":150000000000,)"
        R"("driver":"1.2","cuda":"13.0","runtime":"13.0","vbios":""})");
}

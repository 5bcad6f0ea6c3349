// The page is checked as text here and in a real browser by tests/browser.

#include "sim/report/report_page.h"

#include <cstdlib>
#include <fstream>

#include "sim/report/chart_spec.h"
#include "sim/report/headline.h"
#include "sim/report/report_charts.h"
#include "sim/report/report_data.h"
#include "tests/report/example_result.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

std::size_t count_of(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("the headline says fleet, verdict, worst percentile against its limit, and headroom") {
  auto data = example::document();
  CHECK(headline(data) ==
        "300 × H100: SLO met in the worst minute, p95 e2e 2.91 s of 3 s; missed from +2 % load");
  data["headroom"]["turns_at_percent"] = nullptr;
  data["headroom"]["probed_to_percent"] = 300;
  CHECK(headroom_text(data) == "still met at +300 % load");
  data["headroom"]["met_as_written"] = false;
  data["headroom"]["turns_at_percent"] = -7;
  CHECK(headroom_text(data) == "met up to −7 % load");
  data["headroom"]["complete"] = false;
  CHECK(headroom_text(data).empty());
}

TEST_CASE("a percentile that misses reach is said to be not reached, never a number") {
  auto data = example::document();
  data["slo_met"] = false;
  data["slo"][0]["met"] = false;
  data["slo"][0]["window"]["limits"][0]["worst_window_s"] = nullptr;
  CHECK(headline(data).find("SLO missed in the worst minute, p95 e2e not reached (limit 3 s)") !=
        std::string::npos);
  CHECK(report_html(data).find("<td>not reached</td>") != std::string::npos);
}

TEST_CASE("a figure just above its limit is not rounded to the limit") {
  CHECK(of_limit_text({{"limit_s", 3.0}, {"worst_window_s", 3.0004}}) == "3.0004 s of 3 s");
  CHECK(of_limit_text({{"limit_s", 3.0}, {"worst_window_s", 3.0}}) == "3 s of 3 s");
}

TEST_CASE("the page is one file without any outside reference and says what was not validated") {
  auto data = example::document();
  data["pools"][0]["cost_model"] = "roofline";
  const std::string page = report_html(data);
  CHECK(page.find("Hardware model not yet validated") != std::string::npos);
  const std::string libraries =
      plot_file("vega.min.js") + plot_file("vega-lite.min.js") + plot_file("vega-embed.min.js");
  for (const char* outside : {" src=", "<link rel=\"stylesheet\"", "@import", "url("})
    CHECK(count_of(page, outside) == count_of(libraries, outside));
  CHECK(count_of(page, "{{") == count_of(libraries, "{{"));
  const auto charts = report_charts(data);
  CHECK(charts.size() == 14);
  for (const ReportChart& chart : charts)
    CHECK(count_of(page, "data-chart=\"" + chart.name + "\"") == 1);
}

TEST_CASE("a run without a hardware model says so instead") {
  const std::string page = report_html(example::document());  // priced by `linear`
  CHECK(page.find("No hardware model.") != std::string::npos);
  CHECK(page.find("Hardware model not yet validated") == std::string::npos);
}

TEST_CASE("names from the user's files cannot become markup or end a script") {
  auto data = example::document();
  data["pools"][0]["name"] = "</script><b>pool</b>";
  data["summary"]["pools"][0]["name"] = "</script><b>pool</b>";
  data["question"] = "1 < 2 & \"3\"";
  const std::string page = report_html(data);
  CHECK(page.find("<b>pool</b>") == std::string::npos);
  CHECK(count_of(page, "</script>") == count_of(report_html(example::document()), "</script>"));
  CHECK(page.find("1 &lt; 2 &amp; &quot;3&quot;") != std::string::npos);
}

TEST_CASE("a run without an objective has no verdict anywhere") {
  auto data = example::document();
  data["slo"] = nlohmann::ordered_json::array();
  data["summary"].erase("slo");
  data.erase("headroom");
  for (auto& seed : data["seeds"]) seed["slo"] = nlohmann::ordered_json::array();
  const std::string page = report_html(data);
  CHECK(page.find("SLO") == std::string::npos);
  CHECK(page.find("no objective asked") != std::string::npos);
  CHECK(headline(data).find("300 × H100: 1,599 requests/s served") == 0);
}

TEST_CASE("the opening comment of a scenario is its question") {
  CHECK(opening_comment("# Do 300 GPUs\n#   hold it?\n#\n# Notes\nname: x\n") ==
        "Do 300 GPUs hold it?");
  CHECK(opening_comment("name: x\n# later\n").empty());
}

// Not run by itself: tests/browser/run.sh asks for it to get pages to look at.
TEST_CASE("write example pages", "[.pages]") {
  const char* folder = std::getenv("FLEETSIM_EXAMPLE_PAGES");
  REQUIRE(folder != nullptr);
  auto data = example::document();
  std::ofstream(std::string(folder) + "/met.html", std::ios::binary) << report_html(data);
  data["pools"][0]["cost_model"] = "roofline";
  data["slo_met"] = false;
  data["slo"][0]["met"] = false;
  data["slo"][0]["window"]["limits"][0]["worst_window_s"] = nullptr;
  data["slo"][0]["window"]["limits"][0]["met"] = false;
  data["slo"][0]["windows"][2]["percentile_s"][0] = nullptr;
  data["headroom"]["met_as_written"] = false;
  data["headroom"]["turns_at_percent"] = -4;
  data["summary"]["saturated"] = true;
  std::ofstream(std::string(folder) + "/missed.html", std::ios::binary) << report_html(data);

  // two pools and two classes of requests: colours by pool, a limit each
  auto two = example::document();
  for (auto* pools : {&two["pools"], &two["summary"]["pools"]}) {
    auto spare = pools->at(0);
    spare["name"] = "spare";
    pools->push_back(spare);
  }
  auto points = two["timeseries"];
  for (auto& point : points) point["pool"] = 1;
  for (auto& point : points) two["timeseries"].push_back(point);
  const auto with_class = [](nlohmann::ordered_json& sections) {
    auto batch = sections.at(0);
    batch["class"] = "batch";
    batch["window"]["limits"][0]["metric"] = "ttft";
    sections.push_back(batch);
  };
  with_class(two["slo"]);
  for (auto& seed : two["seeds"]) with_class(seed["slo"]);
  std::ofstream(std::string(folder) + "/pools.html", std::ios::binary) << report_html(two);
}

// The template is cut at its {{places}}. Scripts and styles come from plots/ and are never changed.

#include "sim/report/page.h"

#include <fmt/format.h>

#include "sim/report/chart_spec.h"
#include "sim/report/summary_json.h"

namespace fleetsim {
namespace {

using Json = nlohmann::ordered_json;

/// JSON inside a script element: "</" and "<!--" must not end it.
std::string script_json(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace), safe;
  for (const char c : text) {
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

}  // namespace

std::string html_text(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

std::string section_html(const char* title, const std::string& lead, const std::string& body) {
  return fmt::format(
      "<section><h2>{}</h2>\n<p class=\"lead\">{}</p>\n<div class=\"grid\">\n{}</div></section>\n",
      title, lead, body);
}

std::string tile_html(const std::string& label, const std::string& value, const std::string& note,
                      const std::string& kind) {
  return fmt::format(
      "<div class=\"tile {}\"><div class=\"label\">{}</div><div class=\"value\">{}</div><div "
      "class=\"note\">{}</div></div>\n",
      kind, html_text(label), html_text(value), html_text(note));
}

std::string tile_rows_html(const std::string& tiles) {
  std::size_t count = 0;
  for (std::size_t at = tiles.find("class=\"tile "); at != std::string::npos;
       at = tiles.find("class=\"tile ", at + 1))
    ++count;
  return fmt::format("<div class=\"tiles\" style=\"--columns:{}\">\n{}</div>\n",
                     count <= 7 ? count : (count + 1) / 2, tiles);
}

std::string page_html(const Page& page) {
  const auto content = [&](const std::string& place) -> std::string {
    if (place == "title") return html_text(page.title);
    if (place == "version") return html_text(fleetsim_version());
    if (place == "css") return plot_file("report.css");
    if (place == "header") return page.header;
    if (place == "main") return page.main;
    if (place == "footer")
      return "Written by fleetsim " + html_text(fleetsim_version()) +
             ". This file needs no network.";
    if (place == "charts") return script_json(page.charts);
    if (place == "themes") return script_json(Json::parse(plot_file("themes.json")));
    return plot_file(place);
  };
  const std::string form = plot_file("report.html");
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t open = form.find("{{", at);
    if (open == std::string::npos) return out + form.substr(at);
    const std::size_t close = form.find("}}", open);
    out += form.substr(at, open - at) + content(form.substr(open + 2, close - open - 2));
    at = close + 2;
  }
}

}  // namespace fleetsim

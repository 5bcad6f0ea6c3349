#pragma once
// A self-contained page that works offline: plots/report.html with its places filled. What every
// page of the program is made of, whatever it reports.

#include <nlohmann/json.hpp>
#include <string>

namespace fleetsim {

/// The places of the template. All but `title` are HTML; text from users' files goes through
/// html_text.
struct Page {
  std::string title;         // plain text
  std::string header, main;  // HTML
  nlohmann::ordered_json charts =
      nlohmann::ordered_json::object();  // Vega-Lite specs by the name in data-chart="..."
};

/// The page as one file. It depends on nothing outside itself, and is a pure function of `page`.
std::string page_html(const Page& page);

/// Text as HTML content or attribute value.
std::string html_text(const std::string& text);

/// A section of the page; `lead` and `body` are HTML, cards stand in a grid of two columns.
std::string section_html(const char* title, const std::string& lead, const std::string& body);

/// A figure that is read at a glance. `kind`: "", "met" or "missed" (its colour).
std::string tile_html(const std::string& label, const std::string& value, const std::string& note,
                      const std::string& kind = "");
/// Tiles in rows of equal length: up to seven in one, more in two.
std::string tile_rows_html(const std::string& tiles);

}  // namespace fleetsim

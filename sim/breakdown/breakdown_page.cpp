#include "sim/breakdown/breakdown_page.h"

#include "sim/breakdown/headline.h"
#include "sim/report/page.h"

namespace fleetsim {
std::string breakdown_html(const Breakdown& b) {
  Page page;
  page.title = breakdown_headline(b);
  return page_html(page);
}
}  // namespace fleetsim

# What report.html is made of, inside the program: the page, the chart specs, and the Vega libraries
# that `npm ci --prefix plots` fetches by plots/package-lock.json.
set(vega_files
  plots/node_modules/vega/build/vega.min.js
  plots/node_modules/vega-lite/build/vega-lite.min.js
  plots/node_modules/vega-embed/build/vega-embed.min.js)
foreach(file ${vega_files})
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${file})
    # Everything else configures and builds; sim_report and the program stop here with these words.
    set(message "${file} is missing: run `npm ci --prefix plots`, then cmake again")
    message(WARNING "the report library cannot be built: ${message}")
    add_custom_command(OUTPUT ${PROJECT_SOURCE_DIR}/${file}
      COMMAND ${CMAKE_COMMAND} -E echo "error: ${message}"
      COMMAND ${CMAKE_COMMAND} -E false VERBATIM)
  endif()
endforeach()

file(GLOB report_files CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/plots/*.vl.json
  ${PROJECT_SOURCE_DIR}/plots/report.*
  ${PROJECT_SOURCE_DIR}/plots/themes.json)
fleetsim_embed(sim_report plots ${report_files} ${vega_files})
set_property(TARGET sim_report APPEND PROPERTY COMPILE_DEFINITIONS
  FLEETSIM_VERSION="${PROJECT_VERSION}")

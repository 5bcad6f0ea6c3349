# Writes OUTPUT: the body of build_facts() of kernels/measure/build_facts.h. Run at every build; touches the file only
# when something changed. Where ROOT is no git checkout, the revision is GIVEN_REV (whoever carried the files there vouches
# for it), else "unknown" and dirty.
#   cmake -DROOT=DIR -DOUTPUT=FILE -DNVCC=VERSION -DFLAGS=TEXT [-DGIVEN_REV=REV] -P build_facts.cmake
set(rev "unknown")
set(dirty true)
if(GIVEN_REV)
  set(rev "${GIVEN_REV}")
  set(dirty false)
endif()

find_program(git_program git)
if(git_program)
  # a checkout of its own: ROOT may lie inside somebody else's
  execute_process(COMMAND ${git_program} -C ${ROOT} rev-parse --show-prefix HEAD
    OUTPUT_VARIABLE found ERROR_QUIET RESULT_VARIABLE result OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(result EQUAL 0 AND found MATCHES "^\n?([0-9a-f]+)$")
    set(git_rev "${CMAKE_MATCH_1}")
    execute_process(COMMAND ${git_program} -C ${ROOT} status --porcelain --untracked-files=normal
      OUTPUT_VARIABLE changes ERROR_QUIET RESULT_VARIABLE result)
    if(result EQUAL 0)
      set(rev "${git_rev}")
      if(changes STREQUAL "")
        set(dirty false)
      else()
        set(dirty true)
      endif()
    endif()
  endif()
endif()

set(text "// Written by kernels/build_facts.cmake.
#include \"kernels/measure/build_facts.h\"

namespace fleetsim::kernels {

SoftwareFacts build_facts() { return {\"${rev}\", ${dirty}, \"${NVCC}\", \"\", \"${FLAGS}\"}; }

}  // namespace fleetsim::kernels
")
set(old "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()

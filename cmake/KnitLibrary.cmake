# knit_library(NAME n DIR d SRCS ... [TESTS ...] [FUZZ ...] [LIBS ...])
# One static library per folder. What it links comes from cmake/layers.txt; LIBS are foreign
# libraries. TESTS make one test binary per folder, <name>_test; every FUZZ file is one target
# (built by the fuzz flavour; elsewhere its corpus is replayed as a test).
file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/layers.txt _lines)
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             ${CMAKE_SOURCE_DIR}/cmake/layers.txt)
foreach(_line IN LISTS _lines)
  if(_line MATCHES "^([a-z0-9_/]+):[ ]*(.*)$")
    string(REPLACE "/" "_" _name "${CMAKE_MATCH_1}")
    string(REPLACE "/" "_" _deps "${CMAKE_MATCH_2}")
    string(REPLACE " " ";" _deps "${_deps}")
    set(KNIT_DEPS_${_name} "${_deps}")
  endif()
endforeach()

# Two precompiled headers, one for the product and one for tests. We make them by hand because every
# path then is relative to the build directory: ccache finds an object again from any other clone or
# build directory. For that it goes by the .sum (what the header preprocesses to), not by the .pch.
function(knit_pch name header)
  set(pch pch/${name}.pch)
  file(RELATIVE_PATH source ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/cmake/${header})
  set(compile ${CMAKE_CXX_COMPILER} -x c++-header ${source} -std=c++20 -D_GNU_SOURCE ${KNIT_FLAGS}
      ${KNIT_WARNINGS} ${ARGN} -fpch-instantiate-templates -Xclang -fno-pch-timestamp)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/${pch} ${CMAKE_BINARY_DIR}/${pch}.sum
    COMMAND ${compile} -MD -MF ${pch}.d -MT ${pch} -o ${pch}
    COMMAND sh -c "{ \"$@\" -E -P -o - && \"$1\" --version && echo \"$*\"; } | sed 's|${CMAKE_SOURCE_DIR}||g' | sha256sum > ${pch}.sum" sum ${compile}
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/${header} DEPFILE ${CMAKE_BINARY_DIR}/${pch}.d
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMENT "Precompiling ${header}" VERBATIM)
  add_custom_target(knit_${name} DEPENDS ${CMAKE_BINARY_DIR}/${pch})
endfunction()
knit_pch(pch pch.h)
knit_pch(test_pch pch_test.h ${KNIT_TEST_FLAGS} -DGTEST_HAS_PTHREAD=1)  # as GTest::gtest defines it

# Lets the C++ files SRCS of `target` use a precompiled header.
function(knit_use_pch target name)
  add_dependencies(${target} knit_${name})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-fpch-instantiate-templates>
    "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>"
    "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include-pch pch/${name}.pch>")
  set_source_files_properties(${ARGN} PROPERTIES OBJECT_DEPENDS ${CMAKE_BINARY_DIR}/pch/${name}.pch)
endfunction()

function(knit_library)
  cmake_parse_arguments(A "" "NAME;DIR" "SRCS;TESTS;FUZZ;LIBS;TEST_LIBS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/src/${A_DIR})
  string(REPLACE "/" "_" key "${A_DIR}")
  set(lib knit_${key})
  list(TRANSFORM A_SRCS PREPEND ${dir}/)
  add_library(${lib} STATIC ${A_SRCS})
  target_include_directories(${lib} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_compile_options(${lib} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${KNIT_WARNINGS}>)
  knit_use_pch(${lib} pch ${A_SRCS})
  foreach(dep IN LISTS KNIT_DEPS_${key})
    target_link_libraries(${lib} PUBLIC $<TARGET_NAME_IF_EXISTS:knit_${dep}>)
  endforeach()
  target_link_libraries(${lib} PUBLIC ${A_LIBS})
  if(A_TESTS AND NOT KNIT_FLAVOUR MATCHES "release|fuzz")
    list(TRANSFORM A_TESTS PREPEND ${dir}/)
    knit_test(NAME ${A_NAME}_test SRCS ${A_TESTS} LIBS ${lib} ${A_TEST_LIBS})
  endif()
  foreach(f IN LISTS A_FUZZ)
    get_filename_component(t ${f} NAME_WE)
    if(KNIT_FLAVOUR STREQUAL "fuzz")
      add_executable(${t} ${dir}/${f})
      target_link_libraries(${t} PRIVATE ${lib})
      target_link_options(${t} PRIVATE -fsanitize=fuzzer)
      set_property(GLOBAL APPEND PROPERTY KNIT_FUZZERS ${t})
    endif()
  endforeach()
endfunction()

# knit_test(NAME n SRCS ... LIBS ...): a GoogleTest binary, one CTest entry per binary.
function(knit_test)
  cmake_parse_arguments(A "" "NAME;LABEL" "SRCS;LIBS" ${ARGN})
  add_executable(${A_NAME} ${A_SRCS})
  target_compile_options(${A_NAME} PRIVATE ${KNIT_WARNINGS} ${KNIT_TEST_FLAGS})
  knit_use_pch(${A_NAME} test_pch ${A_SRCS})
  target_include_directories(${A_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${A_NAME} PRIVATE ${A_LIBS} GTest::gtest_main GTest::gmock)
  add_test(NAME ${A_NAME} COMMAND ${A_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${A_NAME} PROPERTIES TIMEOUT 400 LABELS "${A_LABEL}")
endfunction()

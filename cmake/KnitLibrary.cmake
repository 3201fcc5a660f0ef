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

# Two precompiled headers: one for the product, one for tests.
add_library(knit_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_compile_options(knit_pch PRIVATE ${KNIT_WARNINGS} -fpch-instantiate-templates
                       "SHELL:-Xclang -fno-pch-timestamp")
target_precompile_headers(knit_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
add_library(knit_test_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_compile_options(knit_test_pch PRIVATE ${KNIT_WARNINGS} ${KNIT_TEST_FLAGS}
                       -fpch-instantiate-templates "SHELL:-Xclang -fno-pch-timestamp")
target_link_libraries(knit_test_pch PRIVATE GTest::gtest GTest::gmock)
target_precompile_headers(knit_test_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_test.h)

function(knit_library)
  cmake_parse_arguments(A "" "NAME;DIR" "SRCS;TESTS;FUZZ;LIBS;TEST_LIBS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/src/${A_DIR})
  string(REPLACE "/" "_" key "${A_DIR}")
  set(lib knit_${key})
  list(TRANSFORM A_SRCS PREPEND ${dir}/)
  add_library(${lib} STATIC ${A_SRCS})
  target_include_directories(${lib} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_compile_options(${lib} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${KNIT_WARNINGS}>
                         $<$<COMPILE_LANGUAGE:CXX>:-fpch-instantiate-templates>
                         "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
  target_precompile_headers(${lib} REUSE_FROM knit_pch)
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
  target_compile_options(${A_NAME} PRIVATE ${KNIT_WARNINGS} ${KNIT_TEST_FLAGS}
                         -fpch-instantiate-templates "SHELL:-Xclang -fno-pch-timestamp")
  target_precompile_headers(${A_NAME} REUSE_FROM knit_test_pch)
  target_include_directories(${A_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${A_NAME} PRIVATE ${A_LIBS} GTest::gtest_main GTest::gmock)
  add_test(NAME ${A_NAME} COMMAND ${A_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${A_NAME} PROPERTIES TIMEOUT 400 LABELS "${A_LABEL}")
endfunction()

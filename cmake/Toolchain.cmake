# Language level, flags per flavour, ccache and the precompiled headers' conditions.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 17)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)  # -fPIE everywhere: a PCH must match its users
set(CMAKE_BUILD_TYPE "" CACHE STRING "" FORCE)  # flags come from KNIT_FLAVOUR

set(KNIT_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
    -Wnon-virtual-dtor -Woverloaded-virtual -Werror -Wno-missing-designated-field-initializers)
set(KNIT_FLAGS -fPIE -g1 -fno-omit-frame-pointer -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
set(KNIT_LINK -fuse-ld=lld-19 -pie)
if(KNIT_FLAVOUR STREQUAL "dev")
  list(APPEND KNIT_FLAGS -O1 -D_GLIBCXX_ASSERTIONS)
  set(KNIT_TEST_FLAGS -O0)
elseif(KNIT_FLAVOUR STREQUAL "asan")
  list(APPEND KNIT_FLAGS -O1 -D_GLIBCXX_ASSERTIONS -fsanitize=address,undefined
       -fno-sanitize-recover=all)
  list(APPEND KNIT_LINK -fsanitize=address,undefined)
elseif(KNIT_FLAVOUR STREQUAL "tsan")
  list(APPEND KNIT_FLAGS -O1 -fsanitize=thread)
  list(APPEND KNIT_LINK -fsanitize=thread)
elseif(KNIT_FLAVOUR STREQUAL "fuzz")
  list(APPEND KNIT_FLAGS -O1 -D_GLIBCXX_ASSERTIONS -fsanitize=fuzzer-no-link,address,undefined
       -fno-sanitize-recover=all)
  list(APPEND KNIT_LINK -fsanitize=address,undefined)
elseif(KNIT_FLAVOUR STREQUAL "release")
  list(APPEND KNIT_FLAGS -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -DNDEBUG
       -fstack-clash-protection -fcf-protection)
  list(APPEND KNIT_LINK -Wl,-z,relro,-z,now -Wl,--gc-sections)
  list(APPEND KNIT_FLAGS -ffunction-sections -fdata-sections)
else()
  message(FATAL_ERROR "KNIT_FLAVOUR '${KNIT_FLAVOUR}' is not dev, asan, tsan, fuzz or release")
endif()
add_compile_options(${KNIT_FLAGS})
add_link_options(${KNIT_LINK})
add_compile_definitions(_GNU_SOURCE)

find_program(KNIT_CCACHE ccache)
if(KNIT_CCACHE)
  set(KNIT_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_PCH_EXTSUM=1 ${KNIT_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${KNIT_LAUNCHER})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KNIT_LAUNCHER})
endif()

# The libraries of the product, all from Debian 12 packages (tools/packages.txt).
find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(GTest REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)

find_package(fmt 9 REQUIRED)
find_library(KNIT_BOOST_JSON boost_json REQUIRED)

# llhttp: the C sources that Debian's node-llhttp installs (strict mode is asserted in http/h1.cc).
add_library(llhttp STATIC /usr/share/llhttp/api.c /usr/share/llhttp/http.c
            /usr/share/llhttp/llhttp.c)
target_include_directories(llhttp SYSTEM PUBLIC /usr/share/include/llhttp)
target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
target_compile_options(llhttp PRIVATE -w -O2)

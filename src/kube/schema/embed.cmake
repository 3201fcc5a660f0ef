# Writes OUT: a source file with the text of IN as knit::schema::tables::k_NAME.
file(READ "${IN}" text)
file(WRITE "${OUT}" "// Written by embed.cmake.
#include <string_view>
namespace knit::schema::tables {
extern const std::string_view k_${NAME};
const std::string_view k_${NAME} = R\"KNIT(${text})KNIT\";
}  // namespace knit::schema::tables
")

// One table-driven wire codec for every message between Knit's processes and for proxy config.
// The wire is protobuf's (tag varint, varint or length-delimited), so unknown fields are skipped
// and fields can be added. A struct describes itself once:
//
//   struct Put { std::string key; std::uint32_t flags = 0;
//     template <class V, class S> static void fields(V& v, S& s) { v(1, s.key); v(2, s.flags); } };
//
// Supported members: bool, integers, enums, double, std::string, Instant, WallTime, Duration,
// std::optional, std::vector and std::map<std::string, T> of those, and nested structs of this
// kind. Defaults (0, "", empty) are not written, unless the field's own default is another; decode()
// starts from a default-constructed value.
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace knit::codec {

inline constexpr int kMaxDepth = 16;

void put_varint(std::string& out, std::uint64_t v);

/// Reads from a view; any malformed input makes it fail and stay failed.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool done() const { return failed_ || in_.empty(); }
  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  std::uint64_t varint();
  std::string_view bytes();  // length-delimited
  void skip(unsigned wire_type);

 private:
  std::string_view in_;
  bool failed_ = false;
};

template <class T>
std::string encode(const T& value);

namespace detail {

struct AnyVisitor {
  template <class T>
  void operator()(unsigned, T&) {}
};
template <class T>
concept Struct = std::is_class_v<T> && requires(T& t, AnyVisitor& v) { T::fields(v, t); };

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_map : std::false_type {};
template <class T>
struct is_map<std::map<std::string, T>> : std::true_type {};

inline std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
inline std::int64_t unzigzag(std::uint64_t v) {
  return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1);
}

template <class T>
constexpr bool is_scalar() {
  return std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, Instant> ||
         std::is_same_v<T, WallTime> || std::is_same_v<T, Duration>;
}

template <class T>
std::uint64_t to_wire(const T& v) {
  if constexpr (std::is_enum_v<T>) {
    return static_cast<std::uint64_t>(v);
  } else if constexpr (std::is_same_v<T, Instant> || std::is_same_v<T, WallTime>) {
    return zigzag(v.ns);
  } else if constexpr (std::is_same_v<T, Duration>) {
    return zigzag(v.count());
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<std::uint64_t>(v);
  } else if constexpr (std::is_signed_v<T>) {
    return zigzag(v);
  } else {
    return static_cast<std::uint64_t>(v);
  }
}
template <class T>
void from_wire(std::uint64_t w, T& v) {
  if constexpr (std::is_enum_v<T>) {
    v = static_cast<T>(w);
  } else if constexpr (std::is_same_v<T, Instant> || std::is_same_v<T, WallTime>) {
    v.ns = unzigzag(w);
  } else if constexpr (std::is_same_v<T, Duration>) {
    v = Duration(unzigzag(w));
  } else if constexpr (std::is_same_v<T, bool>) {
    v = w != 0;
  } else if constexpr (std::is_same_v<T, double>) {
    v = std::bit_cast<double>(w);
  } else if constexpr (std::is_signed_v<T>) {
    v = static_cast<T>(unzigzag(w));
  } else {
    v = static_cast<T>(w);
  }
}

/// The numbers of the fields whose default is not the wire's: they are written even when zero.
struct DefaultsVisitor {
  std::vector<bool> not_zero;
  template <class T>
  void operator()(unsigned number, const T& v) {
    bool set = false;
    if constexpr (is_scalar<T>()) set = to_wire(v) != 0;
    if constexpr (std::is_same_v<T, std::string>) set = !v.empty();
    if (!set) return;
    if (not_zero.size() <= number) not_zero.resize(number + 1);
    not_zero[number] = true;
  }
};
template <class T>
const std::vector<bool>& fields_with_defaults() {
  static const std::vector<bool> fields = [] {
    DefaultsVisitor visitor;
    const T value{};
    T::fields(visitor, value);
    return visitor.not_zero;
  }();
  return fields;
}

struct Encoder {
  std::string out;
  const std::vector<bool>* with_default = nullptr;

  bool always(unsigned number) const {
    return with_default != nullptr && number < with_default->size() && (*with_default)[number];
  }

  template <class T>
  void item(unsigned number, const T& v) {  // always written
    if constexpr (is_scalar<T>()) {
      put_varint(out, number << 3);
      put_varint(out, to_wire(v));
    } else {
      put_varint(out, (number << 3) | 2);
      if constexpr (std::is_same_v<T, std::string>) {
        put_varint(out, v.size());
        out += v;
      } else {
        const std::string body = encode(v);
        put_varint(out, body.size());
        out += body;
      }
    }
  }
  template <class T>
  void operator()(unsigned number, const T& v) {
    if constexpr (is_vector<T>::value) {
      for (const auto& x : v) {
        using X = typename T::value_type;
        item<X>(number, x);
      }
    } else if constexpr (is_optional<T>::value) {
      if (v) item(number, *v);
    } else if constexpr (is_map<T>::value) {
      for (const auto& [key, x] : v) {
        Encoder entry;
        entry.item(1, key);
        entry.item(2, x);
        put_varint(out, (number << 3) | 2);
        put_varint(out, entry.out.size());
        out += entry.out;
      }
    } else if constexpr (is_scalar<T>()) {
      if (to_wire(v) != 0 || always(number)) item(number, v);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!v.empty() || always(number)) item(number, v);
    } else {
      item(number, v);
    }
  }
};

template <class T>
bool decode_struct(std::string_view in, T& out, int depth);

struct Decoder {
  unsigned number;
  unsigned wire_type;
  Reader& in;
  int depth;
  bool taken = false;

  template <class T>
  void item(T& v) {
    if constexpr (is_scalar<T>()) {
      if (wire_type != 0) return in.fail();
      from_wire(in.varint(), v);
    } else {
      if (wire_type != 2) return in.fail();
      const std::string_view body = in.bytes();
      if constexpr (std::is_same_v<T, std::string>) {
        v.assign(body);
      } else {
        if (!decode_struct(body, v, depth + 1)) in.fail();
      }
    }
  }
  template <class T>
  void operator()(unsigned n, T& v) {
    if (n != number || taken) return;
    taken = true;
    if constexpr (is_vector<T>::value) {
      typename T::value_type x{};
      item(x);
      if (!in.failed()) v.push_back(std::move(x));
    } else if constexpr (is_optional<T>::value) {
      typename T::value_type x{};
      item(x);
      if (!in.failed()) v = std::move(x);
    } else if constexpr (is_map<T>::value) {
      if (wire_type != 2) return in.fail();
      Reader entry(in.bytes());
      std::string key;
      typename T::mapped_type x{};
      while (!entry.done()) {
        const auto tag = entry.varint();
        Decoder d{static_cast<unsigned>(tag >> 3), static_cast<unsigned>(tag & 7), entry, depth};
        d(1, key);
        d(2, x);
        if (!d.taken) entry.skip(d.wire_type);
      }
      if (entry.failed()) return in.fail();
      v[std::move(key)] = std::move(x);
    } else {
      item(v);
    }
  }
};

template <class T>
bool decode_struct(std::string_view body, T& out, int depth) {
  if (depth > kMaxDepth) return false;
  Reader in(body);
  while (!in.done()) {
    const std::uint64_t tag = in.varint();
    if (in.failed()) return false;
    Decoder d{static_cast<unsigned>(tag >> 3), static_cast<unsigned>(tag & 7), in, depth};
    T::fields(d, out);
    if (!d.taken) in.skip(d.wire_type);
  }
  return !in.failed();
}

}  // namespace detail

template <class T>
std::string encode(const T& value) {
  detail::Encoder e;
  e.with_default = &detail::fields_with_defaults<T>();
  T::fields(e, value);
  return std::move(e.out);
}

/// Errors: InvalidArgument when the bytes are malformed or nest deeper than kMaxDepth.
template <class T>
Result<T> decode(std::string_view in) {
  T out{};
  if (!detail::decode_struct(in, out, 0)) {
    return Error(Code::InvalidArgument, "malformed message of " + std::to_string(in.size()) +
                                            " bytes");
  }
  return out;
}

}  // namespace knit::codec

#include "check/input/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>

namespace knit::check::input {
namespace {

using Reader = std::unique_ptr<struct archive, decltype(&archive_read_free)>;

/// Names in messages: printable, and of a bounded length.
std::string shown(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 200)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return name.size() > 200 ? out + "…" : out;
}

std::string_view type_name(struct archive_entry* e) {
  if (archive_entry_hardlink(e) != nullptr) return "a hard link";
  switch (archive_entry_filetype(e)) {
    case AE_IFLNK:
      return "a symbolic link";
    case AE_IFCHR:
    case AE_IFBLK:
      return "a device";
    case AE_IFIFO:
      return "a pipe";
    case AE_IFSOCK:
      return "a socket";
    default:
      return "no regular file";
  }
}

class Reading {
 public:
  Reading(struct archive* reader, const ArchiveLimits& limits) : reader_(reader), limits_(limits) {}

  Archive run() {
    for (std::size_t count = 0;; ++count) {
      struct archive_entry* e = nullptr;
      const int r = archive_read_next_header(reader_, &e);
      if (r == ARCHIVE_EOF) break;
      if (r < ARCHIVE_WARN) {
        damaged();
        break;
      }
      if (count >= limits_.entries) {
        refuse("more than " + std::to_string(limits_.entries) + " entries; the rest was not read");
        break;
      }
      if (!within_expansion(archive_entry_size(e)) || !entry(e)) break;
    }
    return std::move(out_);
  }

 private:
  void refuse(std::string why) {
    if (out_.refused.size() < limits_.refusals) {
      out_.refused.push_back(std::move(why));
    } else if (out_.refused.size() == limits_.refusals) {
      out_.refused.emplace_back("more was refused; it is not listed");
    }
  }
  void damaged() {
    const char* text = archive_error_string(reader_);
    refuse("damaged after " + std::to_string(archive_filter_bytes(reader_, 0)) +
           " bytes: " + (text == nullptr ? "no archive" : shown(text)));
  }
  /// Skipping an entry also expands it, so its claim counts before it is met.
  bool within_expansion(la_int64_t more) {
    const la_int64_t done = archive_filter_bytes(reader_, 0);
    if (more >= 0 && done >= 0 && static_cast<std::uint64_t>(more) <= limits_.expanded_bytes &&
        static_cast<std::uint64_t>(done) <=
            limits_.expanded_bytes - static_cast<std::uint64_t>(more)) {
      return true;
    }
    refuse("expands to more than " + std::to_string(limits_.expanded_bytes >> 20) +
           " MiB; the rest was not read");
    return false;
  }

  /// False: stop here.
  bool entry(struct archive_entry* e) {
    const char* raw = archive_entry_pathname(e);
    if (raw == nullptr) raw = archive_entry_pathname_utf8(e);
    if (raw == nullptr) {
      refuse("an entry whose name is no text");
      return true;
    }
    auto name = clean_entry_name(raw);
    if (!name) {
      refuse("\"" + shown(raw) + "\": " + name.error().message());
      return true;
    }
    const bool regular =
        archive_entry_hardlink(e) == nullptr && archive_entry_filetype(e) == AE_IFREG;
    if (!is_manifest_name(*name)) {
      if (archive_entry_filetype(e) != AE_IFDIR) ++out_.skipped;
      return true;
    }
    if (!regular) {
      if (archive_entry_filetype(e) == AE_IFDIR) return true;
      refuse("\"" + shown(*name) + "\" is " + std::string(type_name(e)) + "; it is not followed");
      return true;
    }
    if (out_.files.size() >= limits_.files) {
      refuse("more than " + std::to_string(limits_.files) + " manifests; the rest was not read");
      return false;
    }
    const la_int64_t size = archive_entry_size(e);
    if (size < 0 || static_cast<std::uint64_t>(size) > limits_.file_bytes) {
      refuse("\"" + shown(*name) + "\" is larger than " + std::to_string(limits_.file_bytes >> 20) +
             " MiB");
      return true;
    }
    return read(*name, static_cast<std::size_t>(size));
  }

  bool read(const std::string& name, std::size_t size) {
    if (size > limits_.total_bytes - total_) {
      refuse("more than " + std::to_string(limits_.total_bytes >> 20) +
             " MiB of manifests; the rest was not read");
      return false;
    }
    std::string text;
    while (text.size() < size) {
      const void* data = nullptr;
      std::size_t n = 0;
      la_int64_t offset = 0;
      const int r = archive_read_data_block(reader_, &data, &n, &offset);
      if (r == ARCHIVE_EOF) break;
      if (r < ARCHIVE_WARN) {
        refuse("\"" + shown(name) + "\" is cut off");
        damaged();
        return false;
      }
      // Sparse files name holes by offsets: none of them is longer than the size that was checked.
      if (offset < 0 || static_cast<std::uint64_t>(offset) < text.size() ||
          static_cast<std::uint64_t>(offset) > size ||
          n > size - static_cast<std::size_t>(offset)) {
        refuse("\"" + shown(name) + "\" has blocks beyond its size");
        return true;
      }
      text.resize(static_cast<std::size_t>(offset), '\0');
      text.append(static_cast<const char*>(data), n);
    }
    total_ += text.size();
    out_.files[name] = std::move(text);  // a later entry replaces an earlier one, as for tar
    return true;
  }

  struct archive* reader_;
  const ArchiveLimits& limits_;
  Archive out_;
  std::size_t total_ = 0;
};

Reader new_reader() {
  Reader reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_tar(reader.get());
  return reader;
}

Archive unopened(struct archive* reader) {
  const char* text = archive_error_string(reader);
  Archive out;
  out.refused.push_back("is no tar archive" +
                        (text == nullptr ? std::string() : ": " + shown(text)));
  return out;
}

}  // namespace

bool looks_like_archive(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return true;
  return head.size() >= 262 && head.substr(257, 5) == "ustar";
}

bool is_manifest_name(std::string_view path) {
  return path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".json");
}

Result<std::string> clean_entry_name(std::string_view raw) {
  if (raw.size() > 4096) return Error(Code::InvalidArgument, "the name is too long");
  if (raw.starts_with('/')) return Error(Code::InvalidArgument, "the path is absolute");
  std::string out;
  std::string_view rest = raw;
  while (!rest.empty()) {
    const auto end = rest.find('/');
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return Error(Code::InvalidArgument, "the path leaves the archive by \"..\"");
    for (const char c : part) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
        return Error(Code::InvalidArgument, "the name holds control characters");
      }
    }
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Archive read_archive(std::string_view bytes, const ArchiveLimits& limits) {
  const Reader reader = new_reader();
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return unopened(reader.get());
  }
  return Reading(reader.get(), limits).run();
}

Archive read_archive(int fd, const ArchiveLimits& limits) {
  const Reader reader = new_reader();
  if (archive_read_open_fd(reader.get(), fd, 1 << 16) != ARCHIVE_OK) return unopened(reader.get());
  return Reading(reader.get(), limits).run();
}

}  // namespace knit::check::input

#include "check/fixes.h"

namespace knit::check {
namespace {

ObjectSet read(const Files& files, bool complete) {
  ObjectSet out;
  out.complete = complete;
  for (const auto& [name, text] : files) out.add_text(name, text);
  return out;
}

std::string identity(const Finding& f) {
  return f.code + "|" + (f.object ? f.object->ref() : "") + "|" + yaml::to_string(f.path) + "|" +
         f.message;
}

bool is_json(std::string_view text) {
  const auto at = text.find_first_not_of(" \t\r\n");
  return at != std::string_view::npos && (text[at] == '{' || text[at] == '[');
}

Result<void> apply(Files& files, const Edit& edit) {
  const auto it = files.find(edit.object->file);
  if (it == files.end()) return Error(Code::NotFound, "it stands in no file");
  if (edit.object->list_index == Item::kNested)
    return Error(Code::InvalidArgument, "it stands in a List within a List");
  yaml::Path path;
  if (edit.object->list_index != SIZE_MAX) path = path / "items" / edit.object->list_index;
  for (const auto& step : edit.path.steps()) {
    if (const auto* key = std::get_if<std::string>(&step)) {
      path = path / std::string_view(*key);
    } else {
      path = path / std::get<std::size_t>(step);
    }
  }
  auto text = edit.op == Edit::Op::Set
                  ? yaml::set(it->second, edit.object->document, path, edit.value)
                  : yaml::erase(it->second, edit.object->document, path);
  if (!text) return text.error();
  it->second = std::move(*text);
  return {};
}

std::multiset<std::string> errors_of(const Report& report) {
  std::multiset<std::string> out;
  for (const auto& f : report.findings) {
    if (f.severity == Severity::Error && !f.suppressed && !f.unknown()) out.insert(identity(f));
  }
  return out;
}

Result<void> apply(Files& files, const Fix& fix) {
  for (const auto& edit : fix.edits) {
    if (const auto it = files.find(edit.object->file); it != files.end() && is_json(it->second))
      return Error(Code::InvalidArgument, "JSON files are not edited");
    KNIT_TRY_VOID(apply(files, edit));
  }
  return {};
}

/// Why the patch is no improvement, or nothing. An error that would appear is put into `appears`.
std::optional<std::string> verdict(const Finding& fixed, const Report& before, const Report& after,
                                   const Finding*& appears) {
  appears = nullptr;
  const auto target = identity(fixed);
  for (const auto& f : after.findings) {
    if (identity(f) == target) return "the finding stays after it";
  }
  if (after.errors.size() > before.errors.size())
    return "the file would not be readable: " + after.errors.back().text;
  const auto old = errors_of(before);
  for (const auto& f : after.findings) {
    if (f.severity != Severity::Error || f.suppressed || f.unknown()) continue;
    if (old.contains(identity(f)) || f.code == fixed.code) continue;
    appears = &f;
    return f.code + " would appear: " + f.message;
  }
  return std::nullopt;
}

}  // namespace

FixOutcome fix_files(const Files& files, const Options& options, bool complete) {
  FixOutcome out;
  Files current = files;
  std::set<std::string> refused;
  Report report = run(read(current, complete), options);
  constexpr std::size_t kMaxSteps = 1000;
  for (std::size_t step = 0; step < kMaxSteps; ++step) {
    const Finding* next = nullptr;
    for (const auto& f : report.findings) {
      if (f.suppressed || f.unknown() || f.fix.type != Fix::Type::Patch || f.fix.edits.empty())
        continue;
      if (refused.contains(identity(f))) continue;
      next = &f;
      break;
    }
    if (next == nullptr) break;
    FixOutcome::Step done{next->code, next->object ? next->object->ref() : "", next->fix.text,
                          false, ""};
    Files candidate = current;
    std::optional<std::string> why;
    if (const auto applied = apply(candidate, next->fix); !applied) why = applied.error().message();
    Report after;
    // What a fix brings to light (strict mTLS: the ports that must stay out of it) is mended with
    // it.
    constexpr int kMostTogether = 8;
    for (int together = 0; !why; ++together) {
      after = run(read(candidate, complete), options);
      const Finding* appears = nullptr;
      why = verdict(*next, report, after, appears);
      if (!why || appears == nullptr || together == kMostTogether ||
          appears->fix.type != Fix::Type::Patch || appears->fix.edits.empty()) {
        break;
      }
      const std::string text = "; " + appears->code + ": " + appears->fix.text;
      if (!apply(candidate, appears->fix)) break;
      done.text += text;
      why.reset();
    }
    if (why) {
      done.why = *why;
      refused.insert(identity(*next));
    } else {
      done.applied = true;
      current = std::move(candidate);
      report = std::move(after);
    }
    out.steps.push_back(std::move(done));
  }
  for (const auto& [name, text] : current) {
    if (files.at(name) != text) out.files[name] = text;
  }
  return out;
}

}  // namespace knit::check

#include "events/filter/like.h"

#include <algorithm>
#include <cstring>

#include "events/filter/text.h"

namespace knit::events {
namespace {
constexpr char kAny = '\xff';
}  // namespace

Like::Like(std::string_view pattern) {
  pieces_.emplace_back();
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const bool escaped =
        c == '\\' && i + 1 < pattern.size() && (pattern[i + 1] == '%' || pattern[i + 1] == '_');
    if (escaped) {
      pieces_.back().text += pattern[++i];
    } else if (c == '%') {
      // Two `%` in a row are one.
      if (pieces_.size() < 2 || !pieces_.back().text.empty()) pieces_.emplace_back();
    } else if (c == '_') {
      pieces_.back().text += kAny;
      pieces_.back().wild = true;
    } else {
      pieces_.back().text += c;
    }
  }
  for (Piece& p : pieces_) p.characters = text::length(p.text);
}

// Whether the piece stands at the start of `text`; `end` is where it ends there.
bool Like::at(const Piece& piece, std::string_view text, std::size_t& end, std::int64_t& budget) {
  if (!piece.wild) {
    budget -= 1 + static_cast<std::int64_t>(piece.text.size() / 16);
    end = piece.text.size();
    return text.starts_with(piece.text);
  }
  end = 0;
  for (const char c : piece.text) {
    --budget;
    if (end >= text.size()) return false;
    if (c == kAny) {
      end += text::first_bytes(text.substr(end));
    } else if (text[end++] != c) {
      return false;
    }
  }
  return true;
}

Like::Verdict Like::matches(std::string_view text, std::int64_t& budget) const {
  std::size_t end = 0;
  if (!at(pieces_.front(), text, end, budget)) return Verdict::No;
  text.remove_prefix(end);
  if (pieces_.size() == 1) return text.empty() ? Verdict::Yes : Verdict::No;
  for (std::size_t i = 1; i + 1 < pieces_.size(); ++i) {  // each at its first place
    const Piece& piece = pieces_[i];
    if (!piece.wild) {
      budget -= static_cast<std::int64_t>(text.size() / 16) + 1;
      // memmem is linear where find() is not.
      const void* found = ::memmem(text.data(), text.size(), piece.text.data(), piece.text.size());
      if (found == nullptr) return Verdict::No;
      text.remove_prefix(static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) +
                         piece.text.size());
    } else {
      while (!at(piece, text, end, budget)) {
        if (budget < 0) return Verdict::OutOfBudget;
        if (text.empty()) return Verdict::No;
        text.remove_prefix(text::first_bytes(text));
      }
      text.remove_prefix(end);
    }
    if (budget < 0) return Verdict::OutOfBudget;
  }
  const Piece& last = pieces_.back();
  if (!last.wild) return text.ends_with(last.text) ? Verdict::Yes : Verdict::No;
  // Only characters as many as the piece has can be its end.
  std::size_t start = text.size();
  for (std::size_t n = last.characters; n > 0; --n) {
    if (start == 0) return Verdict::No;
    --start;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
  }
  if (!at(last, text.substr(start), end, budget)) return Verdict::No;
  return start + end == text.size() ? Verdict::Yes : Verdict::No;
}

}  // namespace knit::events

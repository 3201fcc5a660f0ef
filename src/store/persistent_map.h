// An immutable ordered map with structural sharing: a treap whose updates copy one path. Copies
// are one pointer; any thread may read a copy while another makes newer ones.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

namespace knit::store {

/// `Traits` gives `static const K& key(const V&)`, `static int compare(const K&, const K&)` and
/// `static std::uint64_t hash(const K&)`. The shape depends on the keys alone.
template <class K, class V, class Traits>
class PersistentMap {
  struct Node;
  using Link = std::shared_ptr<const Node>;

 public:
  PersistentMap() = default;

  std::size_t size() const { return count(root_.get()); }
  bool empty() const { return root_ == nullptr; }

  /// nullptr when absent; valid as long as some copy of this map lives.
  const V* find(const K& key) const {
    const Node* n = root_.get();
    while (n != nullptr) {
      const int c = Traits::compare(key, Traits::key(n->value));
      if (c == 0) return &n->value;
      n = c < 0 ? n->left.get() : n->right.get();
    }
    return nullptr;
  }

  /// Inserts or replaces.
  PersistentMap with(V value) const {
    const std::uint64_t priority = Traits::hash(Traits::key(value));
    return PersistentMap(insert(root_, std::move(value), priority));
  }
  PersistentMap without(const K& key) const {
    if (find(key) == nullptr) return *this;
    return PersistentMap(erase(root_, key));
  }

  /// Calls `visit(const V&)` in order from the first key >= `from` until it returns false.
  template <class F>
  void scan_from(const K& from, F visit) const {
    scan(root_.get(), &from, visit);
  }
  template <class F>
  void scan_all(F visit) const {
    scan(root_.get(), nullptr, visit);
  }
  /// How many keys are < `key`.
  std::size_t rank(const K& key) const {
    std::size_t before = 0;
    const Node* n = root_.get();
    while (n != nullptr) {
      if (Traits::compare(Traits::key(n->value), key) < 0) {
        before += count(n->left.get()) + 1;
        n = n->right.get();
      } else {
        n = n->left.get();
      }
    }
    return before;
  }

 private:
  struct Node {
    V value;
    std::uint64_t priority;
    std::size_t size;
    Link left, right;
  };
  explicit PersistentMap(Link root) : root_(std::move(root)) {}

  static std::size_t count(const Node* n) { return n == nullptr ? 0 : n->size; }
  static Link make(V value, std::uint64_t priority, Link left, Link right) {
    const std::size_t size = count(left.get()) + count(right.get()) + 1;
    return std::make_shared<const Node>(
        Node{std::move(value), priority, size, std::move(left), std::move(right)});
  }
  static Link insert(const Link& n, V value, std::uint64_t priority) {
    if (n == nullptr) return make(std::move(value), priority, nullptr, nullptr);
    const int c = Traits::compare(Traits::key(value), Traits::key(n->value));
    if (c == 0) return make(std::move(value), n->priority, n->left, n->right);
    if (c < 0) {
      Link left = insert(n->left, std::move(value), priority);
      if (left->priority > n->priority) {  // rotate right
        return make(left->value, left->priority, left->left,
                    make(n->value, n->priority, left->right, n->right));
      }
      return make(n->value, n->priority, std::move(left), n->right);
    }
    Link right = insert(n->right, std::move(value), priority);
    if (right->priority > n->priority) {  // rotate left
      return make(right->value, right->priority, make(n->value, n->priority, n->left, right->left),
                  right->right);
    }
    return make(n->value, n->priority, n->left, std::move(right));
  }
  static Link merge(const Link& a, const Link& b) {  // every key of a < every key of b
    if (a == nullptr) return b;
    if (b == nullptr) return a;
    if (a->priority > b->priority) {
      return make(a->value, a->priority, a->left, merge(a->right, b));
    }
    return make(b->value, b->priority, merge(a, b->left), b->right);
  }
  static Link erase(const Link& n, const K& key) {
    const int c = Traits::compare(key, Traits::key(n->value));
    if (c == 0) return merge(n->left, n->right);
    if (c < 0) return make(n->value, n->priority, erase(n->left, key), n->right);
    return make(n->value, n->priority, n->left, erase(n->right, key));
  }
  template <class F>
  static bool scan(const Node* n, const K* from, F& visit) {
    if (n == nullptr) return true;
    const bool left = from == nullptr || Traits::compare(Traits::key(n->value), *from) >= 0;
    if (left) {
      if (!scan(n->left.get(), from, visit) || !visit(n->value)) return false;
    }
    return scan(n->right.get(), left ? nullptr : from, visit);
  }

  Link root_;
};

}  // namespace knit::store

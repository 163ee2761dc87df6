// Process-wide map from a content digest to the immutable structure it names. Entries are weak:
// Python objects and compiled executables own structures, the registry never does.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace cholax {

template <class Structure>
class Registry {
 public:
  using Shared = std::shared_ptr<const Structure>;

  static Registry& global() {
    static Registry registry;
    return registry;
  }

  // The structure registered under `digest`, or null.
  Shared find(std::string_view digest) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = entries_.find(std::string(digest));
    return it == entries_.end() ? nullptr : it->second.lock();
  }

  // Registers `structure`; where the digest already names a living one, that one is returned.
  Shared add(std::string_view digest, Shared structure) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (++additions_ % 64 == 0) drop_expired();
    std::weak_ptr<const Structure>& entry = entries_[std::string(digest)];
    if (Shared living = entry.lock()) return living;
    entry = structure;
    return structure;
  }

  // Number of living structures.
  std::size_t size() {
    std::lock_guard<std::mutex> lock(mutex_);
    drop_expired();
    return entries_.size();
  }

 private:
  void drop_expired() {
    for (auto it = entries_.begin(); it != entries_.end();)
      it = it->second.expired() ? entries_.erase(it) : std::next(it);
  }

  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<const Structure>> entries_;
  std::size_t additions_ = 0;
};

}  // namespace cholax

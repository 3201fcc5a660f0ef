#include "node/net/listen_events.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace knit::node::net {

namespace {

constexpr std::uint32_t kRingBytes = 64 << 10;

class Ring final : public ListenEvents {
 public:
  Ring(Fd ring, Fd link, std::size_t page, char* consumer, char* producer)
      : ring_(std::move(ring)),
        link_(std::move(link)),
        page_(page),
        consumer_(consumer),
        producer_(producer) {}
  ~Ring() override {
    ::munmap(consumer_, page_);
    ::munmap(producer_, page_ + 2 * kRingBytes);
  }
  int fd() const override { return ring_.get(); }

  void drain(const std::function<void(const ListenEvent&)>& each) override {
    std::atomic_ref<std::uint64_t> consumed(*reinterpret_cast<std::uint64_t*>(consumer_));
    const auto* produced = reinterpret_cast<const std::uint64_t*>(producer_);
    const char* data = producer_ + page_;
    std::uint64_t at = consumed.load(std::memory_order_acquire);
    while (at < __atomic_load_n(produced, __ATOMIC_ACQUIRE)) {
      const char* record = data + (at & (kRingBytes - 1));
      const std::uint32_t header =
          __atomic_load_n(reinterpret_cast<const std::uint32_t*>(record), __ATOMIC_ACQUIRE);
      if ((header & BPF_RINGBUF_BUSY_BIT) != 0) return;
      const std::uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
      if ((header & BPF_RINGBUF_DISCARD_BIT) == 0 && length == sizeof(ListenEvent)) {
        ListenEvent event;
        std::memcpy(&event, record + BPF_RINGBUF_HDR_SZ, sizeof event);
        event.v6 = event.v6 == AF_INET6 ? 1 : 0;
        each(event);
      }
      at += (length + BPF_RINGBUF_HDR_SZ + 7U) & ~std::uint64_t{7};
      consumed.store(at, std::memory_order_release);
    }
  }

 private:
  Fd ring_, link_;
  std::size_t page_;
  char* consumer_;
  char* producer_;
};

}  // namespace

Result<std::unique_ptr<ListenEvents>> ListenEvents::create(int cgroup) {
  KNIT_TRY(Fd ring, ring_buffer(kRingBytes));
  KNIT_TRY(const Fd program, load_listen_events(ring.get()));
  KNIT_TRY(Fd link, attach_sock_ops(program.get(), cgroup));
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* consumer = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), 0);
  if (consumer == MAP_FAILED) return errno_error("map the listen events", errno);
  void* producer = ::mmap(nullptr, page + 2 * kRingBytes, PROT_READ, MAP_SHARED, ring.get(),
                          static_cast<off_t>(page));
  if (producer == MAP_FAILED) {
    const int error = errno;
    ::munmap(consumer, page);
    return errno_error("map the listen events", error);
  }
  return std::unique_ptr<ListenEvents>(std::make_unique<Ring>(std::move(ring), std::move(link),
                                                              page, static_cast<char*>(consumer),
                                                              static_cast<char*>(producer)));
}

}  // namespace knit::node::net

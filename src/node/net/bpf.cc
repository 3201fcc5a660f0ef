#include "node/net/bpf.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

namespace knit::node::net {

namespace {

static_assert(std::endian::native == std::endian::little, "address masks assume little endian");

int bpf(int command, bpf_attr& attr) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attr, sizeof attr));
}
std::uint64_t ptr(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

/// Instructions with labels that are resolved at the end.
class Assembler {
 public:
  enum Label { Pass, Assign, V6, Drop, kLabels };

  void move(int dst, int src) { put(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0); }
  void set(int dst, std::int32_t imm) { put(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm); }
  void add(int dst, std::int32_t imm) { put(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm); }
  void mask32(int dst, std::uint32_t imm) {
    put(BPF_ALU | BPF_AND | BPF_K, dst, 0, 0, std::bit_cast<std::int32_t>(imm));
  }
  void load32(int dst, int src, std::size_t offset) {
    put(BPF_LDX | BPF_MEM | BPF_W, dst, src, static_cast<std::int16_t>(offset), 0);
  }
  void store32(int dst, std::int16_t offset, int src) {
    put(BPF_STX | BPF_MEM | BPF_W, dst, src, offset, 0);
  }
  void store16(int dst, std::int16_t offset, int src) {
    put(BPF_STX | BPF_MEM | BPF_H, dst, src, offset, 0);
  }
  void store64(int dst, std::int16_t offset, int src) {
    put(BPF_STX | BPF_MEM | BPF_DW, dst, src, offset, 0);
  }
  void store_zero32(int dst, std::int16_t offset) {
    put(BPF_ST | BPF_MEM | BPF_W, dst, 0, offset, 0);
  }
  void load_map(int dst, int fd) {
    put(BPF_LD | BPF_IMM | BPF_DW, dst, BPF_PSEUDO_MAP_FD, 0, fd);
    put(0, 0, 0, 0, 0);
  }
  void call(int helper) { put(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
  void exit() { put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
  void jump(Label to) { jump_to(BPF_JMP | BPF_JA, 0, 0, to); }
  void jump_if32(int op, int reg, std::uint32_t imm, Label to) {
    jump_to(BPF_JMP32 | op | BPF_K, reg, std::bit_cast<std::int32_t>(imm), to);
  }
  void jump_if(int op, int reg, std::int32_t imm, Label to) {
    jump_to(BPF_JMP | op | BPF_K, reg, imm, to);
  }
  /// A forward jump to the place where `here` is called with its result.
  std::size_t jump_if32(int op, int reg, std::uint32_t imm) {
    put(BPF_JMP32 | op | BPF_K, reg, 0, 0, std::bit_cast<std::int32_t>(imm));
    return code_.size() - 1;
  }
  void here(std::size_t from) {
    code_[from].off = static_cast<std::int16_t>(code_.size() - from - 1);
  }
  void label(Label l) { at_[l] = static_cast<int>(code_.size()); }

  Result<Fd> load(std::uint32_t type, std::uint32_t attach_type, const char* name) {
    for (const auto& [from, to] : jumps_) {
      KNIT_CHECK(at_[to] >= 0);
      code_[from].off = static_cast<std::int16_t>(at_[to] - static_cast<int>(from) - 1);
    }
    std::string log(16384, '\0');
    bpf_attr attr{};
    attr.prog_type = type;
    attr.expected_attach_type = attach_type;
    attr.insns = ptr(code_.data());
    attr.insn_cnt = static_cast<std::uint32_t>(code_.size());
    attr.license = ptr("GPL");
    std::strncpy(attr.prog_name, name, sizeof attr.prog_name - 1);
    int fd = bpf(BPF_PROG_LOAD, attr);
    if (fd < 0 && errno != EPERM) {  // once more, for the verifier's words
      attr.log_buf = ptr(log.data());
      attr.log_size = static_cast<std::uint32_t>(log.size());
      attr.log_level = 1;
      fd = bpf(BPF_PROG_LOAD, attr);
    }
    if (fd >= 0) return Fd(fd);
    const int error = errno;
    std::string_view words(log.c_str());
    if (words.size() > 300) words.remove_prefix(words.size() - 300);
    return errno_error("load BPF program " + std::string(name) +
                           (words.empty() ? "" : " (" + std::string(words) + ")"),
                       error);
  }

 private:
  void put(int code, int dst, int src, std::int16_t off, std::int32_t imm) {
    bpf_insn i{};
    i.code = static_cast<std::uint8_t>(code);
    i.dst_reg = static_cast<std::uint8_t>(dst & 15);
    i.src_reg = static_cast<std::uint8_t>(src & 15);
    i.off = off;
    i.imm = imm;
    code_.push_back(i);
  }
  void jump_to(int code, int reg, std::int32_t imm, Label to) {
    jumps_.emplace_back(code_.size(), to);
    put(code, reg, 0, 0, imm);
  }
  std::vector<bpf_insn> code_;
  std::vector<std::pair<std::size_t, Label>> jumps_;
  int at_[kLabels] = {-1, -1, -1, -1};
};

using Asm = Assembler;

/// Gives the connection to the socket in the map; the end of every sk_lookup program here.
void emit_assign(Asm& a, int map) {
  a.label(Asm::Assign);
  a.store_zero32(BPF_REG_10, -4);
  a.load_map(BPF_REG_1, map);
  a.move(BPF_REG_2, BPF_REG_10);
  a.add(BPF_REG_2, -4);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_if(BPF_JEQ, BPF_REG_0, 0, Asm::Drop);
  a.move(BPF_REG_7, BPF_REG_0);
  a.move(BPF_REG_1, BPF_REG_6);
  a.move(BPF_REG_2, BPF_REG_7);
  a.set(BPF_REG_3, 0);
  a.call(BPF_FUNC_sk_assign);
  a.move(BPF_REG_8, BPF_REG_0);
  a.move(BPF_REG_1, BPF_REG_7);
  a.call(BPF_FUNC_sk_release);
  a.jump_if(BPF_JNE, BPF_REG_8, 0, Asm::Drop);
  a.label(Asm::Pass);
  a.set(BPF_REG_0, SK_PASS);
  a.exit();
  a.label(Asm::Drop);
  a.set(BPF_REG_0, SK_DROP);
  a.exit();
}

/// Leaves non-TCP alone and branches on the family: falls through for IPv4.
void emit_start(Asm& a) {
  a.move(BPF_REG_6, BPF_REG_1);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sk_lookup, protocol));
  a.jump_if32(BPF_JNE, BPF_REG_2, IPPROTO_TCP, Asm::Pass);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sk_lookup, family));
  a.jump_if32(BPF_JEQ, BPF_REG_2, AF_INET6, Asm::V6);
  a.jump_if32(BPF_JNE, BPF_REG_2, AF_INET, Asm::Pass);
}

constexpr std::size_t kLocal6 = offsetof(bpf_sk_lookup, local_ip6);

/// Jumps to `to` when the IPv6 destination is `address`.
void emit_if_v6(Asm& a, const Address& address, Asm::Label to) {
  std::size_t skips[3];
  for (std::size_t i = 0; i < 4; ++i) {
    a.load32(BPF_REG_3, BPF_REG_6, kLocal6 + 4 * i);
    if (i < 3) {
      skips[i] = a.jump_if32(BPF_JNE, BPF_REG_3, address.word(i));
    } else {
      a.jump_if32(BPF_JEQ, BPF_REG_3, address.word(i), to);
    }
  }
  for (const auto from : skips) a.here(from);
}

std::uint32_t mask_word(std::size_t length, std::size_t word) {
  std::uint32_t out = 0;
  for (std::size_t bit = 0; bit < 32; ++bit) {
    if (word * 32 + bit >= length) break;
    out |= 1U << (bit / 8 * 8 + (7 - bit % 8));
  }
  return out;
}

}  // namespace

Result<Fd> sockmap_with(int listener) {
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_SOCKMAP;
  attr.key_size = 4;
  attr.value_size = 8;
  attr.max_entries = 1;
  Fd map(bpf(BPF_MAP_CREATE, attr));
  if (!map) return errno_error("create a BPF sockmap", errno);
  KNIT_TRY_VOID(sockmap_update(map.get(), listener));
  return map;
}

Result<void> sockmap_update(int map, int listener) {
  const std::uint32_t key = 0;
  const auto value = static_cast<std::uint64_t>(listener);
  bpf_attr attr{};
  attr.map_fd = static_cast<std::uint32_t>(map);
  attr.key = ptr(&key);
  attr.value = ptr(&value);
  if (bpf(BPF_MAP_UPDATE_ELEM, attr) != 0) return errno_error("put a listener in a sockmap", errno);
  return {};
}

Result<Fd> load_pod_capture(int map, const std::vector<Address>& own) {
  Asm a;
  emit_start(a);
  a.load32(BPF_REG_3, BPF_REG_6, offsetof(bpf_sk_lookup, local_ip4));
  for (const Address& address : own) {
    if (!address.v6) a.jump_if32(BPF_JEQ, BPF_REG_3, address.word(0), Asm::Pass);
  }
  a.mask32(BPF_REG_3, 0xff);  // the first byte of the address
  a.jump_if32(BPF_JEQ, BPF_REG_3, 127, Asm::Pass);
  a.jump(Asm::Assign);
  a.label(Asm::V6);
  Address loopback{.v6 = true, .bytes = {}};
  loopback.bytes[15] = 1;
  emit_if_v6(a, loopback, Asm::Pass);
  for (const Address& address : own) {
    if (address.v6) emit_if_v6(a, address, Asm::Pass);
  }
  emit_assign(a, map);
  return a.load(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, "knit_pod");
}

Result<Fd> load_host_capture(int map, const std::vector<Prefix>& ranges) {
  Asm a;
  emit_start(a);
  // A second fence: connections that came in over a wire are never ours.
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sk_lookup, ingress_ifindex));
  a.jump_if32(BPF_JGT, BPF_REG_2, 1, Asm::Pass);
  for (const Prefix& p : ranges) {
    if (p.base.v6) continue;
    a.load32(BPF_REG_3, BPF_REG_6, offsetof(bpf_sk_lookup, local_ip4));
    a.mask32(BPF_REG_3, mask_word(p.length, 0));
    a.jump_if32(BPF_JEQ, BPF_REG_3, p.base.word(0), Asm::Assign);
  }
  a.jump(Asm::Pass);
  a.label(Asm::V6);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sk_lookup, ingress_ifindex));
  a.jump_if32(BPF_JGT, BPF_REG_2, 1, Asm::Pass);
  for (const Prefix& p : ranges) {
    if (!p.base.v6) continue;
    std::size_t skips[4];
    std::size_t count = 0;
    const std::size_t words = (p.length + 31U) / 32U;
    for (std::size_t i = 0; i < words; ++i) {
      a.load32(BPF_REG_3, BPF_REG_6, kLocal6 + 4 * i);
      a.mask32(BPF_REG_3, mask_word(p.length, i));
      skips[count++] = a.jump_if32(BPF_JNE, BPF_REG_3, p.base.word(i));
    }
    a.jump(Asm::Assign);
    for (std::size_t i = 0; i < count; ++i) a.here(skips[i]);
  }
  a.jump(Asm::Pass);
  emit_assign(a, map);
  return a.load(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, "knit_host");
}

Result<Fd> attach_to_netns(int program, int netns) {
  bpf_attr attr{};
  attr.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attr.link_create.target_fd = static_cast<std::uint32_t>(netns);
  attr.link_create.attach_type = BPF_SK_LOOKUP;
  Fd link(bpf(BPF_LINK_CREATE, attr));
  if (!link) return errno_error("attach the capture program to a network namespace", errno);
  return link;
}

Result<Fd> ring_buffer(std::uint32_t bytes) {
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_RINGBUF;
  attr.max_entries = bytes;
  Fd map(bpf(BPF_MAP_CREATE, attr));
  if (!map) return errno_error("create a BPF ring buffer", errno);
  return map;
}

Result<Fd> load_listen_events(int ring) {
  Asm a;
  a.move(BPF_REG_6, BPF_REG_1);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sock_ops, op));
  a.jump_if32(BPF_JNE, BPF_REG_2, BPF_SOCK_OPS_TCP_LISTEN_CB, Asm::Pass);
  a.load_map(BPF_REG_1, ring);
  a.set(BPF_REG_2, sizeof(ListenEvent));
  a.set(BPF_REG_3, 0);
  a.call(BPF_FUNC_ringbuf_reserve);
  a.jump_if(BPF_JEQ, BPF_REG_0, 0, Asm::Pass);
  a.move(BPF_REG_7, BPF_REG_0);
  a.move(BPF_REG_1, BPF_REG_6);
  a.call(BPF_FUNC_get_netns_cookie);
  a.store64(BPF_REG_7, offsetof(ListenEvent, cookie), BPF_REG_0);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sock_ops, local_port));
  a.store16(BPF_REG_7, offsetof(ListenEvent, port), BPF_REG_2);
  a.load32(BPF_REG_2, BPF_REG_6, offsetof(bpf_sock_ops, family));
  a.store16(BPF_REG_7, offsetof(ListenEvent, v6), BPF_REG_2);
  a.store_zero32(BPF_REG_7, offsetof(ListenEvent, reserved));
  a.move(BPF_REG_1, BPF_REG_7);
  a.set(BPF_REG_2, 0);
  a.call(BPF_FUNC_ringbuf_submit);
  a.label(Asm::Pass);
  a.set(BPF_REG_0, 1);
  a.exit();
  return a.load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, "knit_listen");
}

Result<Fd> attach_sock_ops(int program, int cgroup) {
  bpf_attr attr{};
  attr.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attr.link_create.target_fd = static_cast<std::uint32_t>(cgroup);
  attr.link_create.attach_type = BPF_CGROUP_SOCK_OPS;
  Fd link(bpf(BPF_LINK_CREATE, attr));
  if (!link) return errno_error("attach the listen program to a cgroup", errno);
  return link;
}

}  // namespace knit::node::net

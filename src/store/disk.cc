#include "store/disk.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>

#include <cerrno>

namespace knit::store {
namespace {

constexpr std::uint64_t kFormat = 1;

class Statement {
 public:
  Statement(sqlite3* db, const char* sql) {
    status_ = sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  bool ok() const { return status_ == SQLITE_OK; }
  void bind(int i, std::uint64_t v) {
    sqlite3_bind_int64(statement_, i, static_cast<sqlite3_int64>(v));
  }
  void bind(int i, std::string_view v) {
    sqlite3_bind_text(statement_, i, v.data(), static_cast<int>(v.size()), SQLITE_STATIC);
  }
  void bind_blob(int i, std::string_view v) {
    sqlite3_bind_blob(statement_, i, v.data(), static_cast<int>(v.size()), SQLITE_STATIC);
  }
  /// SQLITE_ROW, SQLITE_DONE or an error.
  int step() { return sqlite3_step(statement_); }
  void reset() { sqlite3_reset(statement_); }
  std::uint64_t number(int column) const {
    return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
  }
  std::string bytes(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string() : std::string(data, static_cast<std::size_t>(size));
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int status_ = SQLITE_OK;
};

Error sqlite_error(sqlite3* db, std::string_view what) {
  const int code = db == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db);
  const std::string text =
      "store: " + std::string(what) + ": " + (db == nullptr ? "out of memory" : sqlite3_errmsg(db));
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Error(Code::ResourceExhausted, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_IOERR:
      return Error(Code::Unavailable, text);
    default:
      return Error(Code::Internal, text);
  }
}

Result<void> finish(Statement& statement, sqlite3* db, std::string_view what) {
  if (!statement.ok()) return sqlite_error(db, what);
  if (statement.step() != SQLITE_DONE) return sqlite_error(db, what);
  return {};
}

}  // namespace

struct Disk::Connection {
  sqlite3* db = nullptr;
  ~Connection() { sqlite3_close_v2(db); }
};

Disk::~Disk() = default;

Error Disk::failure(const char* what) const { return sqlite_error(writer_->db, what); }

Result<void> Disk::exec(const char* sql) {
  if (sqlite3_exec(writer_->db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure(sql);
  return {};
}

Result<std::unique_ptr<Disk>> Disk::open(const std::string& path) {
  std::unique_ptr<Disk> disk(new Disk);
  disk->path_ = path;
  const std::string lock_path = path + ".lock";
  disk->lock_ = Fd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!disk->lock_) return errno_error("store: open " + lock_path, errno);
  if (flock(disk->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::Unavailable, "store: another process uses " + path);
  }
  disk->writer_ = std::make_unique<Connection>();
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &disk->writer_->db, flags, nullptr) != SQLITE_OK) {
    return sqlite_error(disk->writer_->db, "open " + path);
  }
  sqlite3_extended_result_codes(disk->writer_->db, 1);
  sqlite3_busy_timeout(disk->writer_->db, 5'000);
  KNIT_TRY_VOID(disk->exec("PRAGMA journal_mode=WAL"));
  KNIT_TRY_VOID(disk->exec("PRAGMA synchronous=FULL"));
  KNIT_TRY_VOID(disk->exec("BEGIN IMMEDIATE"));
  KNIT_TRY_VOID(
      disk->exec("CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) "
                 "WITHOUT ROWID"));
  KNIT_TRY_VOID(disk->exec(
      "CREATE TABLE IF NOT EXISTS changes(version INTEGER PRIMARY KEY, resource TEXT NOT NULL, "
      "ns TEXT NOT NULL, name TEXT NOT NULL, deleted INTEGER NOT NULL, value BLOB NOT NULL)"));
  KNIT_TRY_VOID(
      disk->exec("CREATE INDEX IF NOT EXISTS changes_key ON changes(resource, ns, name, version)"));
  KNIT_TRY(const std::uint64_t format, disk->meta("format"));
  if (format == 0) {
    KNIT_TRY_VOID(disk->set_meta("format", kFormat));
  } else if (format != kFormat) {
    return Error(Code::Internal, "store: " + path + " has format " + std::to_string(format) +
                                     "; this knit reads format " + std::to_string(kFormat));
  }
  KNIT_TRY_VOID(disk->exec("COMMIT"));
  KNIT_TRY(disk->reserved_, disk->meta("reserved"));
  KNIT_TRY(disk->compacted_, disk->meta("compacted"));
  KNIT_TRY(const std::uint64_t clean, disk->meta("clean"));
  {
    Statement last(disk->writer_->db, "SELECT max(version) FROM changes");
    if (!last.ok() || last.step() != SQLITE_ROW) return disk->failure("read the last version");
    disk->last_ = last.number(0);
  }
  if (clean == disk->reserved_) disk->last_ = std::max(disk->last_, clean);
  disk->reader_ = std::make_unique<Connection>();
  if (sqlite3_open_v2(path.c_str(), &disk->reader_->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK) {
    return sqlite_error(disk->reader_->db, "open " + path);
  }
  sqlite3_busy_timeout(disk->reader_->db, 5'000);
  return disk;
}

Result<std::uint64_t> Disk::meta(const char* name) {
  Statement s(writer_->db, "SELECT value FROM meta WHERE name=?1");
  if (!s.ok()) return failure("read meta");
  s.bind(1, std::string_view(name));
  switch (s.step()) {
    case SQLITE_ROW:
      return s.number(0);
    case SQLITE_DONE:
      return std::uint64_t{0};
    default:
      return failure("read meta");
  }
}

Result<void> Disk::set_meta(const char* name, std::uint64_t value) {
  Statement s(writer_->db, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)");
  s.bind(1, std::string_view(name));
  s.bind(2, value);
  return finish(s, writer_->db, "write meta");
}

Result<void> Disk::set_synchronous(bool full) {
  if (full_ == full) return {};
  KNIT_TRY_VOID(exec(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  full_ = full;
  return {};
}

Result<void> Disk::bound_pages(std::uint64_t pages) {
  const std::lock_guard lock(write_mutex_);
  const std::string sql =
      "PRAGMA max_page_count=" + std::to_string(pages == 0 ? 4294967294ULL : pages);
  return exec(sql.c_str());
}

Result<void> Disk::load(const std::function<Result<void>(DiskRow)>& visit) {
  Statement s(writer_->db,
              "SELECT c.version, c.resource, c.ns, c.name, c.value FROM changes c JOIN "
              "(SELECT max(version) AS v FROM changes GROUP BY resource, ns, name) m "
              "ON c.version = m.v WHERE c.deleted = 0 ORDER BY c.version");
  if (!s.ok()) return failure("load");
  while (true) {
    const int status = s.step();
    if (status == SQLITE_DONE) return {};
    if (status != SQLITE_ROW) return failure("load");
    DiskRow row;
    row.version = s.number(0);
    row.key = {kube::Resource::of(s.bytes(1)), s.bytes(2), s.bytes(3)};
    row.value = s.bytes(4);
    KNIT_TRY_VOID(visit(std::move(row)));
  }
}

Result<void> Disk::write(const std::vector<DiskWrite>& rows, bool durable, std::uint64_t reserve) {
  const std::lock_guard lock(write_mutex_);
  KNIT_TRY_VOID(set_synchronous(durable));
  KNIT_TRY_VOID(exec("BEGIN IMMEDIATE"));
  auto body = [&]() -> Result<void> {
    Statement s(writer_->db,
                "INSERT INTO changes(version, resource, ns, name, deleted, value) "
                "VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
    if (!s.ok()) return failure("write");
    for (const DiskWrite& row : rows) {
      s.bind(1, row.version);
      s.bind(2, row.key->resource.name());
      s.bind(3, std::string_view(row.key->ns));
      s.bind(4, std::string_view(row.key->name));
      s.bind(5, std::uint64_t{row.deleted ? 1u : 0u});
      s.bind_blob(6, row.value);
      if (s.step() != SQLITE_DONE) return failure("write");
      s.reset();
    }
    if (durable) KNIT_TRY_VOID(set_meta("reserved", reserve));
    return {};
  };
  Result<void> done = body();
  if (done) done = exec("COMMIT");
  if (!done) {
    sqlite3_exec(writer_->db, "ROLLBACK", nullptr, nullptr, nullptr);
    return done;
  }
  if (durable) reserved_ = reserve;
  return {};
}

Result<void> Disk::close_cleanly(std::uint64_t last) {
  const std::lock_guard lock(write_mutex_);
  KNIT_TRY_VOID(set_synchronous(true));
  KNIT_TRY_VOID(exec("BEGIN IMMEDIATE"));
  KNIT_TRY_VOID(set_meta("reserved", last));
  KNIT_TRY_VOID(set_meta("clean", last));
  return exec("COMMIT");
}

Result<std::vector<DiskRow>> Disk::read_changes(std::uint64_t from, std::uint64_t to,
                                                std::optional<kube::Resource> resource,
                                                std::size_t limit) {
  const std::lock_guard lock(read_mutex_);
  sqlite3* db = reader_->db;
  Statement s(db, resource ? "SELECT version, resource, ns, name, deleted, value FROM changes "
                             "WHERE version > ?1 AND version <= ?2 AND resource = ?4 "
                             "ORDER BY version LIMIT ?3"
                           : "SELECT version, resource, ns, name, deleted, value FROM changes "
                             "WHERE version > ?1 AND version <= ?2 ORDER BY version LIMIT ?3");
  Statement previous(db,
                     "SELECT version, deleted, value FROM changes WHERE resource = ?1 AND ns = ?2 "
                     "AND name = ?3 AND version < ?4 ORDER BY version DESC LIMIT 1");
  if (!s.ok() || !previous.ok()) return sqlite_error(db, "read changes");
  s.bind(1, from);
  s.bind(2, to);
  s.bind(3, std::uint64_t{limit});
  if (resource) s.bind(4, resource->name());
  std::vector<DiskRow> out;
  while (true) {
    const int status = s.step();
    if (status == SQLITE_DONE) return out;
    if (status != SQLITE_ROW) return sqlite_error(db, "read changes");
    DiskRow row;
    row.version = s.number(0);
    row.key = {kube::Resource::of(s.bytes(1)), s.bytes(2), s.bytes(3)};
    row.deleted = s.number(4) != 0;
    row.value = s.bytes(5);
    previous.bind(1, row.key.resource.name());
    previous.bind(2, std::string_view(row.key.ns));
    previous.bind(3, std::string_view(row.key.name));
    previous.bind(4, row.version);
    const int before = previous.step();
    if (before == SQLITE_ROW && previous.number(1) == 0) {
      row.before_version = previous.number(0);
      row.before = previous.bytes(2);
    } else if (before != SQLITE_ROW && before != SQLITE_DONE) {
      return sqlite_error(db, "read changes");
    }
    previous.reset();
    out.push_back(std::move(row));
  }
}

Result<void> Disk::compact(std::uint64_t version) {
  constexpr std::size_t kBatch = 500;
  while (true) {
    std::uint64_t from = 0;
    {
      const std::lock_guard lock(write_mutex_);
      from = compacted_;
    }
    if (from >= version) return {};
    // Rows up to `from` are the newest of their key: only rows after it can supersede others.
    struct Row {
      std::uint64_t version;
      std::string resource, ns, name;
      bool deleted;
    };
    std::vector<Row> rows;
    const std::lock_guard lock(write_mutex_);
    {
      Statement s(writer_->db,
                  "SELECT version, resource, ns, name, deleted FROM changes "
                  "WHERE version > ?1 AND version <= ?2 ORDER BY version LIMIT ?3");
      if (!s.ok()) return failure("compact");
      s.bind(1, from);
      s.bind(2, version);
      s.bind(3, std::uint64_t{kBatch});
      int status = SQLITE_ROW;
      while ((status = s.step()) == SQLITE_ROW) {
        rows.push_back({s.number(0), s.bytes(1), s.bytes(2), s.bytes(3), s.number(4) != 0});
      }
      if (status != SQLITE_DONE) return failure("compact");
    }
    const std::uint64_t upto = rows.size() < kBatch ? version : rows.back().version;
    KNIT_TRY_VOID(set_synchronous(false));
    KNIT_TRY_VOID(exec("BEGIN IMMEDIATE"));
    auto body = [&]() -> Result<void> {
      Statement drop(writer_->db,
                     "DELETE FROM changes WHERE resource = ?1 AND ns = ?2 AND name = ?3 "
                     "AND version < ?4");
      Statement drop_deleted(writer_->db, "DELETE FROM changes WHERE version = ?1");
      if (!drop.ok() || !drop_deleted.ok()) return failure("compact");
      for (const Row& row : rows) {
        drop.bind(1, std::string_view(row.resource));
        drop.bind(2, std::string_view(row.ns));
        drop.bind(3, std::string_view(row.name));
        drop.bind(4, row.version);
        if (drop.step() != SQLITE_DONE) return failure("compact");
        drop.reset();
        if (!row.deleted) continue;
        drop_deleted.bind(1, row.version);
        if (drop_deleted.step() != SQLITE_DONE) return failure("compact");
        drop_deleted.reset();
      }
      return set_meta("compacted", upto);
    };
    Result<void> done = body();
    if (done) done = exec("COMMIT");
    if (!done) {
      sqlite3_exec(writer_->db, "ROLLBACK", nullptr, nullptr, nullptr);
      return done;
    }
    compacted_ = upto;
  }
}

}  // namespace knit::store

// The built-in image's only program: a small HTTP/1.1 server, and a client for use inside pods.
//
//   hello [--listen PORT]... [--listen6 PORT] [--never-listen] [--exit CODE]
//   hello get [-i] [-H "Name: value"]... http://host[:port]/path
//
// Server: answers "Hello Openshift!" (or $RESPONSE) on $PORT (8080). /headers echoes the request's
// headers one per line, /sleep/MS answers after MS milliseconds, a CloudEvent (anything with ce-id,
// or structured) is written to standard output and answered 202 without a body, anything else is
// greeted. SIGTERM ends it with code 0 once the answers in flight are written.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, MAX_HEAD = 16384, MAX_LISTENERS = 16 };

static volatile sig_atomic_t stopping;
static sigset_t unblocked;  // signals are taken only while waiting
static void on_term(int signo) {
  (void)signo;
  stopping = 1;
}

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("hello: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

static long number(const char *text, const char *what, long max) {
  char *end;
  errno = 0;
  const long n = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != 0 || n < 0 || n > max) fail("%s: bad number '%s'", what, text);
  return n;
}

static long long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- server

enum body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };
struct connection {
  int fd;
  size_t used;           // bytes in head
  char head[MAX_HEAD + 1];
  char *out;             // answer being written
  size_t out_size, out_done;
  long long answer_at;   // 0: now
  enum body body;
  long long body_left;   // BODY_LENGTH: bytes; BODY_CHUNKED: bytes of the present chunk
  int chunk_state;       // 0 size line, 1 data, 2 CRLF after data, 3 trailers
  char line[64];
  size_t line_used;
  int close_after, answering;
};
static struct connection *connections[MAX_CONNECTIONS];
static size_t connection_count;

static int listen_on(int v6_loopback, long port) {
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int one = 1, zero = 0;
  if (fd >= 0) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
    a.sin6_addr = v6_loopback ? in6addr_loopback : in6addr_any;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!v6_loopback) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1024) == 0) return fd;
    close(fd);
  }
  if (!v6_loopback) {
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1024) == 0) return fd;
  }
  fail("cannot listen on port %ld: %s", port, strerror(errno));
  return -1;
}

static void close_connection(size_t i) {
  close(connections[i]->fd);
  free(connections[i]->out);
  free(connections[i]);
  connections[i] = connections[--connection_count];
}

/// The value of header `name` in the NUL-terminated head, copied; 0 when absent.
static int header(const char *head, const char *name, char *value, size_t size) {
  const size_t n = strlen(name);
  const char *line = strstr(head, "\r\n");
  while (line != NULL && line[2] != '\r' && line[2] != 0) {
    line += 2;
    const char *end = strstr(line, "\r\n");
    if (end == NULL) return 0;
    if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
      const char *v = line + n + 1;
      while (*v == ' ' || *v == '\t') ++v;
      const size_t len = (size_t)(end - v) < size - 1 ? (size_t)(end - v) : size - 1;
      memcpy(value, v, len);
      value[len] = 0;
      return 1;
    }
    line = end;
  }
  return 0;
}

/// Makes the answer to the request whose head is `head` (NUL-terminated, ends with CRLF CRLF).
static void answer(struct connection *c, const char *head) {
  const char *response = getenv("RESPONSE");
  const char *path = strchr(head, ' ');
  path = path ? path + 1 : "/";
  const int is_head = strncmp(head, "HEAD ", 5) == 0;
  char value[256];
  const int http10 = strstr(head, " HTTP/1.0\r\n") != NULL;
  c->close_after = http10 || stopping;
  if (header(head, "Connection", value, sizeof value) && strcasestr(value, "close")) c->close_after = 1;
  c->body = BODY_NONE;
  if (header(head, "Transfer-Encoding", value, sizeof value)) {
    c->body = BODY_CHUNKED;
    c->chunk_state = 0;
    c->line_used = 0;
  } else if (header(head, "Content-Length", value, sizeof value)) {
    c->body_left = atoll(value);
    if (c->body_left > 0) c->body = BODY_LENGTH;
  }
  c->answer_at = 0;
  const int headers = strncmp(path, "/headers", 8) == 0 && (path[8] == ' ' || path[8] == '?');
  char id[256] = "";
  const int event = !headers && (header(head, "ce-id", id, sizeof id) ||
                                 (header(head, "Content-Type", value, sizeof value) &&
                                  strncasecmp(value, "application/cloudevents", 23) == 0));
  if (event) {  // a subscriber's answer has no body, or is an event
    char type[256] = "", source[256] = "";
    header(head, "ce-type", type, sizeof type);
    header(head, "ce-source", source, sizeof source);
    printf("event id=%s type=%s source=%s\n", id, type, source);
    fflush(stdout);
  }
  size_t size = strlen(head) + 1024 + (response ? strlen(response) : 0);
  char *body = malloc(size);
  c->out = malloc(size + 1024);
  if (body == NULL || c->out == NULL) fail("out of memory");
  body[0] = 0;
  if (event) {
    body[0] = 0;
  } else if (headers) {
    const char *first = strstr(head, "\r\n") + 2;
    size_t used = 0;
    for (const char *p = first; p[0] != '\r' && p[0] != 0; ++p) {
      if (p[0] != '\r') body[used++] = p[0];
      if (p[0] == '\n') continue;
      if (p[1] == '\r' && p[2] == '\n') {
        body[used++] = '\n';
        p += 2;
      }
    }
    body[used] = 0;
  } else {
    if (strncmp(path, "/sleep/", 7) == 0) c->answer_at = now_ms() + atol(path + 7);
    snprintf(body, size, "%s\n", response ? response : "Hello Openshift!");
  }
  const int n = snprintf(c->out, size + 1024,
                         "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                         "Content-Length: %zu\r\n%s\r\n%s",
                         event ? "202 Accepted" : "200 OK", strlen(body), c->close_after ? "Connection: close\r\n" : "",
                         is_head ? "" : body);
  c->out_size = (size_t)n;
  c->out_done = 0;
  c->answering = 1;
  free(body);
}

/// Skips request body in head[0..used); returns how many bytes were eaten, -1 on bad framing.
static long skip_body(struct connection *c) {
  size_t i = 0;
  while (c->body != BODY_NONE && i < c->used) {
    if (c->body == BODY_LENGTH || c->chunk_state == 1) {
      long long n = (long long)(c->used - i);
      if (n > c->body_left) n = c->body_left;
      i += (size_t)n;
      c->body_left -= n;
      if (c->body_left == 0) {
        if (c->body == BODY_LENGTH) c->body = BODY_NONE;
        else c->chunk_state = 2, c->line_used = 0;
      }
      continue;
    }
    const char ch = c->head[i++];
    if (ch != '\n') {
      if (ch == '\r') continue;
      if (c->line_used + 1 >= sizeof c->line) {
        if (c->chunk_state == 0) return -1;
        continue;
      }
      c->line[c->line_used++] = ch;
      continue;
    }
    c->line[c->line_used] = 0;
    if (c->chunk_state == 0) {
      c->body_left = strtoll(c->line, NULL, 16);
      if (c->body_left < 0) return -1;
      c->chunk_state = c->body_left == 0 ? 3 : 1;
    } else if (c->chunk_state == 2) {
      c->chunk_state = 0;
    } else if (c->line_used == 0) {
      c->body = BODY_NONE;
    }
    c->line_used = 0;
  }
  return (long)i;
}

static void consume(struct connection *c, size_t n) {
  memmove(c->head, c->head + n, c->used - n);
  c->used -= n;
  c->head[c->used] = 0;
}

/// Works on what has arrived; 0 closes the connection.
static int advance(struct connection *c) {
  for (;;) {
    if (c->answering) {
      if (c->body != BODY_NONE) {
        const long eaten = skip_body(c);
        if (eaten < 0) return 0;
        consume(c, (size_t)eaten);
        if (c->body != BODY_NONE) return 1;
      }
      if (c->answer_at > now_ms()) return 1;
      while (c->out_done < c->out_size) {
        const ssize_t n = send(c->fd, c->out + c->out_done, c->out_size - c->out_done, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        c->out_done += (size_t)n;
      }
      free(c->out);
      c->out = NULL;
      c->answering = 0;
      if (c->close_after) return 0;
    }
    c->head[c->used] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL) return c->used < MAX_HEAD;
    const size_t size = (size_t)(end + 4 - c->head);
    char *head = malloc(size + 1);
    if (head == NULL) fail("out of memory");
    memcpy(head, c->head, size);
    head[size] = 0;
    consume(c, size);
    char value[64];
    answer(c, head);
    if (c->body != BODY_NONE && header(head, "Expect", value, sizeof value)) {
      const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
      if (send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) < 0) {
        free(head);
        return 0;
      }
    }
    free(head);
  }
}

static void serve(const int *listeners, size_t listener_count) {
  static struct pollfd polls[MAX_LISTENERS + MAX_CONNECTIONS];
  while (!stopping || connection_count > 0) {
    size_t n = 0;
    int timeout = -1;
    for (size_t i = 0; i < listener_count; ++i) {
      const short events = !stopping && connection_count < MAX_CONNECTIONS ? POLLIN : 0;
      polls[n++] = (struct pollfd){.fd = events ? listeners[i] : -1, .events = events};
    }
    for (size_t i = 0; i < connection_count;) {
      struct connection *c = connections[i];
      if (stopping && !c->answering) {
        close_connection(i);
        continue;
      }
      short events = POLLIN;
      if (c->answering && c->body == BODY_NONE) {
        const long long wait = c->answer_at - now_ms();
        if (wait > 0) {
          events = 0;
          if (timeout < 0 || wait < timeout) timeout = (int)wait;
        } else {
          events = POLLOUT;
        }
      }
      polls[n++] = (struct pollfd){.fd = c->fd, .events = events};
      ++i;
    }
    if (stopping && connection_count == 0) return;
    const size_t polled = connection_count;
    const struct timespec limit = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
    if (ppoll(polls, n, timeout < 0 ? NULL : &limit, &unblocked) < 0) {
      if (errno != EINTR) fail("poll: %s", strerror(errno));
      continue;
    }
    for (size_t i = polled; i-- > 0;) {  // backwards: closing moves the last one here
      struct connection *c = connections[i];
      const short got = polls[listener_count + i].revents;
      int keep = 1;
      if (got & (POLLERR | POLLNVAL)) {
        keep = 0;
      } else if (got & (POLLIN | POLLHUP) && c->used < MAX_HEAD) {
        const ssize_t r = recv(c->fd, c->head + c->used, MAX_HEAD - c->used, 0);
        if (r > 0) c->used += (size_t)r;
        keep = r > 0 || (r < 0 && (errno == EAGAIN || errno == EINTR));
      }
      if (keep && (got != 0 || c->answering)) keep = advance(c);
      if (!keep) close_connection(i);
    }
    for (size_t i = 0; i < listener_count; ++i) {
      if (!(polls[i].revents & POLLIN) || connection_count >= MAX_CONNECTIONS) continue;
      const int fd = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      const int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      struct connection *c = calloc(1, sizeof *c);
      if (c == NULL) fail("out of memory");
      c->fd = fd;
      connections[connection_count++] = c;
    }
  }
}

// ---- client

static int ask_dns(const char *server, const char *name, struct in_addr *out) {
  unsigned char packet[512] = {0x4b, 0x6e, 1, 0, 0, 1};
  size_t n = 12;
  for (const char *p = name; *p;) {
    const size_t len = strcspn(p, ".");
    if (len == 0 || len > 63 || n + len + 6 > sizeof packet) return 0;
    packet[n++] = (unsigned char)len;
    memcpy(packet + n, p, len);
    n += len;
    p += len;
    if (*p == '.') ++p;
  }
  packet[n++] = 0;
  const unsigned char tail[] = {0, 1, 0, 1};
  memcpy(packet + n, tail, 4);
  n += 4;
  const size_t question = n;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  if (inet_pton(AF_INET, server, &to.sin_addr) != 1) return 0;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const struct timeval limit = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  unsigned char reply[1500];
  ssize_t got = -1;
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && send(fd, packet, n, 0) == (ssize_t)n) {
    got = recv(fd, reply, sizeof reply, 0);
  }
  close(fd);
  if (got < (ssize_t)question || (reply[3] & 15) != 0) return 0;
  size_t at = question;
  int answers = reply[6] << 8 | reply[7];
  while (answers-- > 0) {
    while (at < (size_t)got && reply[at] != 0 && reply[at] < 192) at += reply[at] + 1u;
    at += at < (size_t)got && reply[at] >= 192 ? 2 : 1;
    if (at + 10 > (size_t)got) return 0;
    const int type = reply[at] << 8 | reply[at + 1];
    const size_t len = (size_t)(reply[at + 8] << 8 | reply[at + 9]);
    at += 10;
    if (at + len > (size_t)got) return 0;
    if (type == 1 && len == 4) {
      memcpy(out, reply + at, 4);
      return 1;
    }
    at += len;
  }
  return 0;
}

static int resolve(const char *name, struct in_addr *out) {
  if (inet_pton(AF_INET, name, out) == 1) return 1;
  char line[1024], server[64] = "", search[8][256];
  size_t searches = 0;
  long ndots = 1;
  FILE *f = fopen("/etc/hosts", "re");
  while (f != NULL && fgets(line, sizeof line, f)) {
    char *save = NULL;
    char *address = strtok_r(line, " \t\n", &save);
    for (char *w = address; w != NULL && *address != '#'; w = strtok_r(NULL, " \t\n", &save)) {
      if (w != address && strcasecmp(w, name) == 0 && inet_pton(AF_INET, address, out) == 1) {
        fclose(f);
        return 1;
      }
    }
  }
  if (f != NULL) fclose(f);
  f = fopen("/etc/resolv.conf", "re");
  while (f != NULL && fgets(line, sizeof line, f)) {
    char *save = NULL;
    const char *word = strtok_r(line, " \t\n", &save);
    if (word == NULL) continue;
    for (char *w; (w = strtok_r(NULL, " \t\n", &save)) != NULL;) {
      if (strcmp(word, "nameserver") == 0 && server[0] == 0) snprintf(server, sizeof server, "%s", w);
      if (strcmp(word, "search") == 0 && searches < 8) snprintf(search[searches++], 256, "%s", w);
      if (strcmp(word, "options") == 0 && strncmp(w, "ndots:", 6) == 0) ndots = atol(w + 6);
    }
  }
  if (f != NULL) fclose(f);
  if (server[0] == 0) return 0;
  long dots = 0;
  for (const char *p = name; *p; ++p) dots += *p == '.';
  if (dots >= ndots && ask_dns(server, name, out)) return 1;
  for (size_t i = 0; i < searches; ++i) {
    char full[600];
    snprintf(full, sizeof full, "%s.%s", name, search[i]);
    if (ask_dns(server, full, out)) return 1;
  }
  return dots < ndots && ask_dns(server, name, out);
}

static int get(int argc, char **argv) {
  int show_head = 0;
  char extra[4096] = "";
  const char *url = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strcmp(argv[i], "-i") == 0) show_head = 1;
    else if (strcmp(argv[i], "-H") == 0 && i + 1 < argc) {
      const size_t used = strlen(extra);
      snprintf(extra + used, sizeof extra - used, "%s\r\n", argv[++i]);
    } else url = argv[i];
  }
  if (url == NULL || strncmp(url, "http://", 7) != 0) fail("get: want an http:// URL");
  char authority[256], host[256];
  const char *rest = url + 7;
  const size_t len = strcspn(rest, "/?");
  snprintf(authority, sizeof authority, "%.*s", (int)len, rest);
  snprintf(host, sizeof host, "%s", authority);
  const char *path = rest + len;
  long port = 80;
  char *colon = strrchr(host, ':');
  if (colon != NULL) {
    *colon = 0;
    port = number(colon + 1, "port", 65535);
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (!resolve(host, &to.sin_addr)) fail("cannot resolve %s", host);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct timeval limit = {.tv_sec = 60};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
    fail("connect %s port %ld: %s", host, port, strerror(errno));
  }
  static char text[8192];
  const int has_host = strncasecmp(extra, "host:", 5) == 0 || strcasestr(extra, "\nhost:") != NULL;
  const int n = snprintf(text, sizeof text, "GET %s%s HTTP/1.0\r\n%s%s%s%sUser-Agent: hello\r\n\r\n",
                         *path == '/' ? "" : "/", path, has_host ? "" : "Host: ",
                         has_host ? "" : authority, has_host ? "" : "\r\n", extra);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) fail("send: %s", strerror(errno));
  size_t used = 0;
  int in_body = 0, status = 0;
  for (;;) {
    const ssize_t r = recv(fd, text + used, sizeof text - 1 - used, 0);
    if (r < 0) fail("receive: %s", strerror(errno));
    if (r == 0) break;
    used += (size_t)r;
    text[used] = 0;
    if (!in_body) {
      char *end = strstr(text, "\r\n\r\n");
      if (end == NULL) {
        if (used == sizeof text - 1) fail("the answer's head is too long");
        continue;
      }
      sscanf(text, "HTTP/%*s %d", &status);
      if (show_head) fwrite(text, 1, (size_t)(end + 4 - text), stdout);
      fwrite(end + 4, 1, used - (size_t)(end + 4 - text), stdout);
      in_body = 1;
    } else {
      fwrite(text, 1, used, stdout);
    }
    used = 0;
  }
  if (!in_body) fail("%s closed the connection without an answer", authority);
  fflush(stdout);
  if (status >= 400) fprintf(stderr, "hello: status %d\n", status);
  return status >= 400 ? 22 : 0;  // as curl --fail
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "get") == 0) return get(argc - 2, argv + 2);
  int listeners[MAX_LISTENERS];
  size_t count = 0;
  int never = 0;
  const char *port = getenv("PORT");
  struct sigaction action = {.sa_handler = on_term};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGINT);
  sigprocmask(SIG_BLOCK, &blocked, &unblocked);
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--never-listen") == 0) {
      never = 1;
    } else if (i + 1 < argc && strcmp(argv[i], "--exit") == 0) {
      return (int)number(argv[i + 1], "--exit", 255);
    } else if (i + 1 < argc && count + 1 < MAX_LISTENERS && strncmp(argv[i], "--listen", 8) == 0) {
      const int v6 = strcmp(argv[i], "--listen6") == 0;
      if (v6) never = 1;
      listeners[count++] = listen_on(v6, number(argv[i + 1], argv[i], 65535));
      ++i;
    } else {
      fail("unknown argument '%s'", argv[i]);
    }
  }
  if (!never) listeners[count++] = listen_on(0, number(port ? port : "8080", "PORT", 65535));
  fprintf(stdout, "hello: ready\n");
  fflush(stdout);
  if (count == 0) {
    while (!stopping) sigsuspend(&unblocked);
    return 0;
  }
  serve(listeners, count);
  return 0;
}

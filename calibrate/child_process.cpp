// posix_spawn and three pipes under one poll: nothing is read or written that could wait, so that a
// program that does not read its stdin, or writes before reading, never blocks us.

#include "calibrate/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "hw_models/check.h"
#include "hw_models/problems.h"

extern char** environ;

namespace fleetsim {
namespace {

constexpr int kPollMs = 100;                    // how soon a stop is noticed
constexpr std::size_t kLineBytesMax = 1 << 20;  // a longer line is handed out in pieces

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void take(int fd) {
    close();
    fd_ = fd;
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
};

struct Pipe {
  Descriptor reading, writing;
  Pipe() {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0, std::strerror(errno));
    reading.take(ends[0]);
    writing.take(ends[1]);
  }
};

void do_not_wait(const Descriptor& end) {
  CHECK(fcntl(end.get(), F_SETFL, O_NONBLOCK) == 0, std::strerror(errno));
}

/// A broken pipe is an answer of write() while this lives, not the end of the program.
class NoSigpipe {
 public:
  NoSigpipe() {
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, &before_);
  }
  ~NoSigpipe() { sigaction(SIGPIPE, &before_, nullptr); }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  struct sigaction before_ = {};
};

pid_t spawn(const std::string& program, const std::vector<std::string>& arguments, int in, int out,
            int err) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults, none;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    Problems problems;
    problems.add(program, {}, fmt::format("cannot be started: {}", std::strerror(error)));
    throw ConfigError(std::move(problems));
  }
  return pid;
}

/// One stream of the program, cut into lines.
class LineStream {
 public:
  LineStream(Descriptor& end, const std::function<void(const std::string&)>& receive)
      : end_(end), receive_(receive) {}
  /// Reads what is there; closes at the end.
  void read_some() {
    std::array<char, 65536> part;
    const ssize_t bytes = ::read(end_.get(), part.data(), part.size());
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (bytes <= 0) {
      finish();
      return;
    }
    text_.append(part.data(), static_cast<std::size_t>(bytes));
    std::size_t begin = 0;
    for (std::size_t end; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1)
      receive_(text_.substr(begin, end - begin));
    text_.erase(0, begin);
    if (text_.size() > kLineBytesMax) hand_out_rest();
  }
  void finish() {
    end_.close();
    if (!text_.empty()) hand_out_rest();
  }
  const Descriptor& end() const { return end_; }

 private:
  void hand_out_rest() {
    receive_(text_);
    text_.clear();
  }
  Descriptor& end_;
  const std::function<void(const std::string&)>& receive_;
  std::string text_;
};

/// The running program; killed and waited for when somebody throws.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (ended_) return;
    send(SIGKILL);
    waitpid(pid_, &status_, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void send(int signal) const { kill(-pid_, signal); }
  bool ended() {
    if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return ended_;
  }
  int status() const { return status_; }

 private:
  pid_t pid_;
  int status_ = 0;
  bool ended_ = false;
};

void write_some(Descriptor& end, std::string_view& left) {
  const ssize_t bytes = ::write(end.get(), left.data(), left.size());
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (bytes > 0) left.remove_prefix(static_cast<std::size_t>(bytes));
  if (bytes < 0 || left.empty()) end.close();  // it reads no more, or has all
}

}  // namespace

std::string ProcessEnd::text() const {
  if (signal > 0) return fmt::format("was ended by signal {} ({})", signal, strsignal(signal));
  return fmt::format("exited with {}", exit_code);
}

ProcessEnd run_process(const std::string& program, const std::vector<std::string>& arguments,
                       const std::string& input, const ProcessListener& listener,
                       const std::atomic<int>& stops) {
  const NoSigpipe no_sigpipe;
  Pipe in, out, err;
  Child child(spawn(program, arguments, in.reading.get(), out.writing.get(), err.writing.get()));
  in.reading.close();
  out.writing.close();
  err.writing.close();
  for (const Descriptor* end : {&in.writing, &out.reading, &err.reading}) do_not_wait(*end);
  LineStream out_lines(out.reading, listener.out), err_lines(err.reading, listener.err);
  std::string_view left = input;
  if (left.empty()) in.writing.close();

  ProcessEnd end;
  int stops_sent = 0;
  while (true) {
    const int wanted = stops.load();
    if (wanted >= 1 && stops_sent == 0) {
      child.send(SIGINT);
      stops_sent = 1;
      listener.stopping();
    }
    if (wanted >= 2 && stops_sent == 1) {
      child.send(SIGKILL);
      stops_sent = 2;
      end.killed_by_us = true;
    }
    const bool over = child.ended();  // asked first: what it wrote before is still read below
    // poll() leaves out entries with a negative descriptor
    std::array<pollfd, 3> ends = {pollfd{in.writing.get(), POLLOUT, 0},
                                  pollfd{out.reading.get(), POLLIN, 0},
                                  pollfd{err.reading.get(), POLLIN, 0}};
    const int ready = poll(ends.data(), ends.size(), kPollMs);
    if (ready > 0 && ends[0].revents != 0) write_some(in.writing, left);
    if (ready > 0 && ends[1].revents != 0) out_lines.read_some();
    if (ready > 0 && ends[2].revents != 0) err_lines.read_some();
    const bool silent = ready == 0 || (!out.reading.open() && !err.reading.open());
    if (over && silent) break;  // also when a grandchild still holds the pipes
  }
  out_lines.finish();
  err_lines.finish();
  if (WIFSIGNALED(child.status()))
    end.signal = WTERMSIG(child.status());
  else
    end.exit_code = WEXITSTATUS(child.status());
  return end;
}

}  // namespace fleetsim

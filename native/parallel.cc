#include "parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#ifdef __linux__
#include <sched.h>
#endif

namespace soma {
namespace {

// How long a thread without work looks for more before it sleeps: about as long as JavaScript takes between two ops.
constexpr std::chrono::microseconds kLooksFor{100};
constexpr int kThreadsMost = 256;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int processors() {
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) std::thread([this] { work(); }).detach();
  }

  void run(int64_t count, void (*call)(const void*, int64_t), const void* context) {
    // One job at a time; a second caller (another JavaScript thread) works alone.
    std::unique_lock<std::mutex> only(running_, std::try_to_lock);
    if (!only.owns_lock()) {
      for (int64_t share = 0; share < count; share++) call(context, share);
      return;
    }
    call_ = call;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    open_.store(true);
    jobs_.fetch_add(1);
    if (asleep_.load() > 0) {
      { std::lock_guard<std::mutex> guard(sleep_); }  // none is between its last look and its sleep
      wake_.notify_all();
    }
    help();
    // Closed first, then the helpers counted: one that enters later sees that there is nothing for it.
    open_.store(false);
    while (helping_.load() > 0) pause();
    if (failure_ != nullptr) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  void help() {
    for (;;) {
      const int64_t share = next_.fetch_add(1, std::memory_order_relaxed);
      if (share >= count_) return;
      try {
        call_(context_, share);
      } catch (...) {
        // Scratch memory that is not there: told by the caller, once no thread is at work any more.
        std::lock_guard<std::mutex> guard(failing_);
        failure_ = std::current_exception();
      }
    }
  }

  [[noreturn]] void work() {
    uint64_t seen = 0;
    for (;;) {
      const auto until = std::chrono::steady_clock::now() + kLooksFor;
      while (jobs_.load() == seen) {
        for (int i = 0; i < 32 && jobs_.load(std::memory_order_relaxed) == seen; i++) pause();
        if (std::chrono::steady_clock::now() < until) continue;
        std::unique_lock<std::mutex> lock(sleep_);
        asleep_.fetch_add(1);
        wake_.wait(lock, [&] { return jobs_.load() != seen; });
        asleep_.fetch_sub(1);
      }
      seen = jobs_.load();
      helping_.fetch_add(1);
      if (open_.load()) help();
      helping_.fetch_sub(1);
    }
  }

  std::mutex running_;
  void (*call_)(const void*, int64_t) = nullptr;
  const void* context_ = nullptr;
  int64_t count_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<bool> open_{false};
  alignas(64) std::atomic<uint64_t> jobs_{0};
  alignas(64) std::atomic<int> helping_{0};
  std::atomic<int> asleep_{0};
  std::mutex failing_;
  std::exception_ptr failure_;
  std::mutex sleep_;
  std::condition_variable wake_;
};

}  // namespace

int threadCount() {
  static const int count = [] {
    const char* text = std::getenv("OMP_NUM_THREADS");
    const int wanted = text == nullptr ? 0 : std::atoi(text);
    return std::max(1, std::min(kThreadsMost, wanted > 0 ? wanted : processors()));
  }();
  return count;
}

void runShares(int64_t count, void (*run)(const void*, int64_t), const void* context) {
  if (count <= 1 || threadCount() <= 1) {
    for (int64_t share = 0; share < count; share++) run(context, share);
    return;
  }
  // Never destroyed: its threads may look at it until the process ends.
  static Pool& pool = *new Pool(threadCount());
  pool.run(count, run, context);
}

}  // namespace soma

// A wall clock that is SPEECHMILL_TEST_SECONDS_AHEAD of the machine's, for whatever this library is preloaded into.
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

#include <cstdlib>

static long ahead() {
  const char* seconds = getenv("SPEECHMILL_TEST_SECONDS_AHEAD");
  return seconds ? atol(seconds) : 0;
}

extern "C" int clock_gettime(clockid_t clock, struct timespec* now) {
  static auto* real = reinterpret_cast<int (*)(clockid_t, struct timespec*)>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
  return result;
}

extern "C" int gettimeofday(struct timeval* now, void*) noexcept {
  struct timespec exact;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

extern "C" time_t time(time_t* out) noexcept {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

/*
 * Loaded into the server with LD_PRELOAD: a disk that a test makes slow, breaks, or watches.
 *
 * The test and the server share a small file of 32-bit numbers. What the server is doing stands in it even
 * after kill -9: the process that died cannot change it any more.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { RESTORING, ACCEPTING, INSERTING, COMMITTING, CHECKPOINTING };

/* In the order of disk.ts. */
struct shared {
  _Atomic int32_t sync_us; /* how long fsync and fdatasync take more */
  _Atomic int32_t error;   /* the errno of writes and syncs, or 0 */
  _Atomic int32_t ready;   /* the test has seen that the server serves */
  _Atomic int32_t phase;   /* what the server is doing */
  _Atomic int32_t aim;     /* the phase in which the process is to die, or -1 */
  _Atomic int32_t skip;    /* how often that phase, or a step of restoring, may begin before */
  _Atomic int32_t wait_us; /* how long after that phase began: 0 is at once */
  _Atomic int32_t syncs;   /* how many there were */
};

/* Where SQLite locks a byte of FILE-shm while it writes the WAL, and while it copies the WAL into the file:
 * https://sqlite.org/walformat.html#wal_locks */
enum { WRITE_LOCK = 120, CHECKPOINT_LOCK = 121 };

static struct shared *shared;
static char database[4096];
static size_t database_length;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_fcntl)(int, int, ...);

static void nap(int32_t us) {
  struct timespec time = {us / 1000000, us % 1000000 * 1000L};
  while (us > 0 && nanosleep(&time, &time) != 0);
}

__attribute__((constructor)) static void start(void) {
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fcntl = dlsym(RTLD_NEXT, "fcntl");
  const char *path = getenv("DISK_SHARED"), *name = getenv("DISK_DATABASE");
  if (path == NULL || name == NULL) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void *map = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) abort();
  close(fd);
  snprintf(database, sizeof database, "%s", name);
  database_length = strlen(database);
  shared = map;
  /* Deno starts no program with it. */
  unsetenv("LD_PRELOAD");
}

/* What comes after the database's path in the path of a descriptor: "", "-wal", "-shm". NULL for other files. */
static const char *part(int fd) {
  static _Thread_local char path[4096];
  char link[32];
  if (shared == NULL) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < (ssize_t)database_length) return NULL;
  path[length] = '\0';
  return memcmp(path, database, database_length) == 0 ? path + database_length : NULL;
}

static void *die(void *wait_us) {
  nap((int32_t)(intptr_t)wait_us);
  kill(getpid(), SIGKILL);
  return NULL;
}

static void enter(int32_t phase) {
  if (!shared->ready) phase = RESTORING;
  shared->phase = phase;
  if (shared->aim != phase || shared->skip-- > 0) return;
  int32_t aim = phase;
  /* A thread takes longer to start than a short phase takes. */
  if (shared->wait_us == 0) kill(getpid(), SIGKILL);
  if (!atomic_compare_exchange_strong(&shared->aim, &aim, -1)) return;
  pthread_t thread;
  if (pthread_create(&thread, NULL, die, (void *)(intptr_t)shared->wait_us) != 0) abort();
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  int result = real_fcntl(fd, command, argument);
  if (command != F_SETLK || result != 0) return result;
  const char *name = part(fd);
  if (name == NULL || strcmp(name, "-shm") != 0) return result;
  const struct flock *lock = argument;
  int free = lock->l_type == F_UNLCK;
  if (!free && lock->l_type != F_WRLCK) return result;
  if (lock->l_start == WRITE_LOCK) enter(free ? ACCEPTING : INSERTING);
  if (lock->l_start == CHECKPOINT_LOCK) enter(free ? ACCEPTING : CHECKPOINTING);
  return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
  const char *name = part(fd);
  if (name != NULL && strcmp(name, "-wal") == 0 && shared->phase == INSERTING) enter(COMMITTING);
  if (name != NULL && shared->error != 0) {
    errno = shared->error;
    return -1;
  }
  return real_pwrite(fd, bytes, count, offset);
}

static int slowly(int (*real)(int), int fd) {
  if (part(fd) == NULL) return real(fd);
  shared->syncs++;
  nap(shared->sync_us);
  if (shared->error == 0) return real(fd);
  errno = shared->error;
  return -1;
}

int fsync(int fd) { return slowly(real_fsync, fd); }

int fdatasync(int fd) { return slowly(real_fdatasync, fd); }

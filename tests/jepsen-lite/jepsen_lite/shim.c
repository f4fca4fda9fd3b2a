/* A library that is loaded into a node before the C library (LD_PRELOAD), and breaks its disk and counts what it did.

   It stands before the calls that write and sync. While it is told to, calls on files below one folder fail with EIO, or
   take longer. It also counts how often the wall clock was read while that was not the kernel's, which is how
   libfaketime, loaded behind it, is seen to work. What it is told, and what it counts, lies in a file that both sides
   have mapped; shim.py has the same layout. Without that file, or while nothing is wrong, every call goes straight on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    /* told */
    _Atomic uint64_t failing_writes; /* one of so many fails; 0: none */
    _Atomic uint64_t failing_syncs;
    _Atomic uint64_t write_delay_us;
    _Atomic uint64_t sync_delay_us;
    /* counted */
    _Atomic uint64_t writes;
    _Atomic uint64_t syncs;
    _Atomic uint64_t failed_writes;
    _Atomic uint64_t failed_syncs;
    _Atomic uint64_t delayed_calls;
    _Atomic uint64_t skewed_reads;
    _Atomic int64_t skew_ms; /* of the last of these */
    /* told */
    char folder[PATH_MAX]; /* ends with a slash */
};

static struct control *control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("JEPSEN_LITE_SHIM");
    if (path == NULL)
        return;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *place = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (place != MAP_FAILED)
        control = place;
}

static int is_below_folder(int descriptor)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (size <= 0)
        return 0;
    path[size] = 0;
    size_t length = strlen(control->folder);
    return strncmp(path, control->folder, length) == 0 || /* a file in it, or the folder itself */
           (length > 0 && strncmp(path, control->folder, length - 1) == 0 && path[length - 1] == 0);
}

static void wait_us(uint64_t us)
{
    struct timespec left = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    while (syscall(SYS_nanosleep, &left, &left) != 0 && errno == EINTR)
        ;
}

/* Returns whether the call shall fail. */
static int strikes(int descriptor, _Atomic uint64_t *every, _Atomic uint64_t *delay, _Atomic uint64_t *calls,
                   _Atomic uint64_t *failed)
{
    if (control == NULL || (atomic_load(every) == 0 && atomic_load(delay) == 0))
        return 0;
    int kept = errno;
    int fails = 0;
    if (is_below_folder(descriptor)) {
        uint64_t number = atomic_fetch_add(calls, 1) + 1, us = atomic_load(delay), one_of = atomic_load(every);
        if (us > 0) {
            atomic_fetch_add(&control->delayed_calls, 1);
            wait_us(us);
        }
        fails = one_of > 0 && number % one_of == 0;
        if (fails)
            atomic_fetch_add(failed, 1);
    }
    errno = fails ? EIO : kept;
    return fails;
}

#define WRITE_FAILS(descriptor)                                                                                        \
    (control != NULL && strikes(descriptor, &control->failing_writes, &control->write_delay_us, &control->writes,      \
                                &control->failed_writes))
#define SYNC_FAILS(descriptor)                                                                                         \
    (control != NULL && strikes(descriptor, &control->failing_syncs, &control->sync_delay_us, &control->syncs,         \
                                &control->failed_syncs))

#define NEXT(name) ((__typeof__(&name))next(&next_##name, #name))

static void *next(_Atomic(void *) *found, const char *name)
{
    void *function = atomic_load(found);
    if (function == NULL) {
        function = dlsym(RTLD_NEXT, name);
        atomic_store(found, function);
    }
    return function;
}

#define STANDS_BEFORE(type, name, fails, parameters, arguments)                                                        \
    static _Atomic(void *) next_##name;                                                                                \
    type name parameters                                                                                               \
    {                                                                                                                  \
        return fails ? -1 : NEXT(name) arguments;                                                                      \
    }

STANDS_BEFORE(ssize_t, write, WRITE_FAILS(fd), (int fd, const void *from, size_t size), (fd, from, size))
STANDS_BEFORE(ssize_t, writev, WRITE_FAILS(fd), (int fd, const struct iovec *from, int count), (fd, from, count))
STANDS_BEFORE(ssize_t, pwrite, WRITE_FAILS(fd), (int fd, const void *from, size_t size, off_t at),
              (fd, from, size, at))
STANDS_BEFORE(ssize_t, pwrite64, WRITE_FAILS(fd), (int fd, const void *from, size_t size, off64_t at),
              (fd, from, size, at))
STANDS_BEFORE(ssize_t, pwritev, WRITE_FAILS(fd), (int fd, const struct iovec *from, int count, off_t at),
              (fd, from, count, at))
STANDS_BEFORE(ssize_t, pwritev64, WRITE_FAILS(fd), (int fd, const struct iovec *from, int count, off64_t at),
              (fd, from, count, at))
STANDS_BEFORE(ssize_t, pwritev2, WRITE_FAILS(fd), (int fd, const struct iovec *from, int count, off_t at, int flags),
              (fd, from, count, at, flags))
STANDS_BEFORE(ssize_t, pwritev64v2, WRITE_FAILS(fd),
              (int fd, const struct iovec *from, int count, off64_t at, int flags), (fd, from, count, at, flags))
STANDS_BEFORE(int, fsync, SYNC_FAILS(fd), (int fd), (fd))
STANDS_BEFORE(int, fdatasync, SYNC_FAILS(fd), (int fd), (fd))
STANDS_BEFORE(int, syncfs, SYNC_FAILS(fd), (int fd), (fd))

/* Clocks: only looked at. What is read may be libfaketime's. */

enum { BEGUN_READS = 256 };

/* libfaketime leaves names in /dev/shm behind where its process is killed. Once it has begun it needs them no more. */
static void leave_no_names(void)
{
    static _Atomic int reads;
    if (atomic_load(&reads) >= BEGUN_READS || atomic_fetch_add(&reads, 1) + 1 != BEGUN_READS)
        return;
    int kept = errno;
    char name[64];
    snprintf(name, sizeof name, "/dev/shm/faketime_shm_%ld", (long)getpid());
    unlink(name);
    snprintf(name, sizeof name, "/dev/shm/sem.faketime_sem_%ld", (long)getpid());
    unlink(name);
    errno = kept;
}

static _Atomic(void *) next_clock_gettime;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int outcome = NEXT(clock_gettime)(clock, now);
    leave_no_names();
    if (control != NULL && outcome == 0 && clock == CLOCK_REALTIME) {
        struct timespec real;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
        int64_t skew_ms = ((int64_t)now->tv_sec - real.tv_sec) * 1000 + (now->tv_nsec - real.tv_nsec) / 1000000;
        if (skew_ms > 100 || skew_ms < -100) {
            atomic_fetch_add(&control->skewed_reads, 1);
            atomic_store(&control->skew_ms, skew_ms);
        }
    }
    return outcome;
}

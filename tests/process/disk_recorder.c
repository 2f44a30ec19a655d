/* Preloaded into a process of a test: writes down what it does to the files of one folder.

   Records: kind (1 byte), length of the name (2), name, offset (8), length of the bytes (4), bytes.
   Kinds: W write, T truncate, S sync, U unlink, C created. Written after the call has returned, in
   the order in which the calls did.

   FAILED_SYNC=N lets the Nth sync of a write-ahead log fail with EIO, and does not sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static const char *folder;

static void put(const void *bytes, size_t length) { (void)!syscall(SYS_write, out, bytes, length); }

static void record(char kind, const char *name, int64_t at, const void *bytes, uint32_t length) {
    size_t prefix;
    uint16_t size;
    char head[4200];
    if (!folder) {
        folder = getenv("RECORDED_FOLDER");
        out = syscall(SYS_openat, AT_FDCWD, getenv("RECORDED_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    }
    prefix = strlen(folder);
    if (strncmp(name, folder, prefix) || strstr(name, "-shm")) return;
    size = (uint16_t)strlen(name);
    head[0] = kind;
    memcpy(head + 1, &size, 2);
    memcpy(head + 3, name, size);
    memcpy(head + 3 + size, &at, 8);
    memcpy(head + 11 + size, &length, 4);
    put(head, 15 + size);
    if (length) put(bytes, length);
}

static void record_of(char kind, int fd, int64_t at, const void *bytes, uint32_t length) {
    char link[40], name[4097];
    ssize_t size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, name, sizeof name - 1);
    if (size <= 0) return;
    name[size] = 0;
    record(kind, name, at, bytes, length);
}

#define REAL(type, name) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)

typedef ssize_t (*pwrite_call)(int, const void *, size_t, off_t);
static ssize_t do_pwrite(pwrite_call real, int fd, const void *bytes, size_t length, off_t at) {
    ssize_t done;
    pthread_mutex_lock(&lock);
    done = real(fd, bytes, length, at);
    if (done > 0) record_of('W', fd, at, bytes, (uint32_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) {
    REAL(pwrite_call, "pwrite");
    return do_pwrite(real, fd, b, n, at);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off_t at) {
    REAL(pwrite_call, "pwrite64");
    return do_pwrite(real, fd, b, n, at);
}
ssize_t write(int fd, const void *bytes, size_t length) {
    typedef ssize_t (*call)(int, const void *, size_t);
    ssize_t done;
    REAL(call, "write");
    pthread_mutex_lock(&lock);
    done = real(fd, bytes, length);
    if (done > 0) record_of('W', fd, -1, bytes, (uint32_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

static int must_fail(int fd) {
    static int left = -1;
    char link[40], name[4097];
    ssize_t size;
    if (left < 0) left = getenv("FAILED_SYNC") ? atoi(getenv("FAILED_SYNC")) : 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, name, sizeof name - 1);
    if (!left || size < 4 || strncmp(name + size - 4, "-wal", 4)) return 0;
    return --left == 0;
}

typedef int (*sync_call)(int);
static int do_sync(sync_call real, int fd) {
    int done;
    if (must_fail(fd)) {
        errno = EIO;
        return -1;
    }
    done = real(fd);
    pthread_mutex_lock(&lock);
    if (!done) record_of('S', fd, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int fsync(int fd) { REAL(sync_call, "fsync"); return do_sync(real, fd); }
int fdatasync(int fd) { REAL(sync_call, "fdatasync"); return do_sync(real, fd); }

typedef int (*truncate_call)(int, off_t);
static int do_truncate(truncate_call real, int fd, off_t at) {
    int done;
    pthread_mutex_lock(&lock);
    done = real(fd, at);
    if (!done) record_of('T', fd, at, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t at) { REAL(truncate_call, "ftruncate"); return do_truncate(real, fd, at); }
int ftruncate64(int fd, off_t at) { REAL(truncate_call, "ftruncate64"); return do_truncate(real, fd, at); }

int unlink(const char *name) {
    typedef int (*call)(const char *);
    int done;
    REAL(call, "unlink");
    pthread_mutex_lock(&lock);
    done = real(name);
    if (!done) record('U', name, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

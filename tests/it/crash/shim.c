/* A disk that forgets: loaded before the C library into a process, it keeps in a shadow folder what of the
 * process's data folder would be there after a loss of power. Owns the rules of what is durable:
 *
 * - the octets of a file, by fsync or fdatasync of it;
 * - the names in a folder, all of them as they are, by fsync or fdatasync of the folder;
 * - nothing else: neither close, nor time, nor sync_file_range, nor the fsync of another file.
 *
 *   POWER_DATA     the data folder
 *   POWER_SHADOW   the shadow; with nothing in it, all that is in the data folder is durable
 *   SHADOW/files/KEY   octets of a file         KEY: inode and time of birth
 *   SHADOW/dirs/KEY    lines: "f KEY NAME" a file, "d KEY NAME" a folder; dirs/root is the data folder
 *
 *   POWER_FAULTS   a file of rules, looked at each time: lines "sync|write CODE CHANCE PART", where a call fails
 *                  with that errno so many times in a thousand if its file's path has the part. A failed write
 *                  leaves half of its octets. A failed sync forgets them, as the kernel does: a page that could
 *                  not be written is clean from then on, so that only a write of it brings it to the disk.
 *
 * A file below WHOLE octets is copied at each sync, unless one failed. Of a larger one that is copied which was written since
 * the last: the lowest offset is noted at each write, and what is past the copy's end is new in any case. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WHOLE (1 << 20)
#define SLOTS 4096 /* files whose lowest offset is known; one that another drove out is copied whole */
#define BLOCK (256 << 10)
#define PAGE 4096
#define CLEAN INT64_MAX

static char data[PATH_MAX], shadow[PATH_MAX], root[80];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot {
    ino_t inode;
    int64_t low;
    int forgotten; /* a sync of it failed: only what is written is copied */
} slots[SLOTS];

/* The test tells a broken shadow from a spool that lost something by this status. */
static void broken(const char *what) {
    dprintf(2, "power shim: %s: %s\n", what, strerror(errno));
    _exit(97);
}

static void format(char *into, size_t octets, const char *form, ...) {
    va_list rest;
    va_start(rest, form);
    int length = vsnprintf(into, octets, form, rest);
    va_end(rest);
    if (length < 0 || (size_t)length >= octets)
        broken(form);
}

/* Inode numbers are used again, so the time of birth belongs to the key. */
static int key(int at, const char *name, int flags, char into[80], struct statx *found) {
    if (statx(at, name, flags, STATX_BASIC_STATS | STATX_BTIME, found) != 0)
        return -1;
    format(into, 80, "%llu-%lld-%u", (unsigned long long)found->stx_ino, (long long)found->stx_btime.tv_sec,
           found->stx_btime.tv_nsec);
    return 0;
}

static ssize_t real_write(int fd, const void *octets, size_t count) {
    return syscall(SYS_write, fd, octets, count);
}

static void copy_from(int from, int to, int64_t at) {
    static __thread char *block;
    if (block == NULL && (block = malloc(BLOCK)) == NULL)
        broken("memory");
    for (;;) {
        ssize_t have = pread(from, block, BLOCK, at);
        if (have < 0)
            broken("read");
        if (have == 0)
            break;
        if (syscall(SYS_pwrite64, to, block, have, at) != have)
            broken("copy");
        at += have;
    }
    if (syscall(SYS_ftruncate, to, at) != 0)
        broken("truncate");
}

/* The lowest offset that was written to since the last sync. The lock is held. */
static struct slot *slot_of(ino_t inode) {
    struct slot *slot = &slots[inode % SLOTS];
    if (slot->inode != inode)
        *slot = (struct slot){.inode = inode, .low = 0};
    return slot;
}

/* The errno that a rule has for this call, or 0. */
static int fault(const char *call, int fd) {
    char line[PATH_MAX], self[64], path[PATH_MAX], of[8], part[PATH_MAX];
    int code, chance, found = 0, before = errno;
    static __thread unsigned int seed;
    if (root[0] == 0 || getenv("POWER_FAULTS") == NULL)
        return 0;
    FILE *rules = fopen(getenv("POWER_FAULTS"), "re");
    if (rules == NULL) {
        errno = before;
        return 0;
    }
    format(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(self, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (seed == 0)
        seed = (unsigned int)syscall(SYS_gettid) * 2654435761u + (unsigned int)getpid();
    while (found == 0 && fgets(line, sizeof line, rules) != NULL) {
        if (sscanf(line, "%7s %d %d %s", of, &code, &chance, part) == 4 && strcmp(of, call) == 0 &&
            strstr(path, part) != NULL && rand_r(&seed) % 1000 < chance)
            found = code;
    }
    fclose(rules);
    errno = before;
    return found;
}

static void save_file(int fd, const char *name, const struct statx *found) {
    char path[PATH_MAX], self[64];
    struct stat copy;
    format(path, sizeof path, "%s/files/%s", shadow, name);
    int to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    format(self, sizeof self, "/proc/self/fd/%d", fd);
    int from = open(self, O_RDONLY | O_CLOEXEC); /* ours may be for writing only */
    if (to < 0 || from < 0 || fstat(to, &copy) != 0)
        broken(path);
    struct slot *slot = slot_of(found->stx_ino);
    int64_t at = slot->low;
    slot->low = CLEAN; /* before the copy: what is written meanwhile is noted again */
    if (!slot->forgotten && at > copy.st_size)
        at = copy.st_size;
    if (!slot->forgotten && found->stx_size < WHOLE)
        at = 0;
    if (at != CLEAN)
        copy_from(from, to, at - at % PAGE);
    close(from);
    close(to);
}

/* With nothing durable yet, so is all there is: called with everything below as well. */
static void save_names(const char *path, const char *name, int everything) {
    char listing[PATH_MAX], fresh[PATH_MAX], below[PATH_MAX], child[80];
    struct statx found;
    format(listing, sizeof listing, "%s/dirs/%s", shadow, strcmp(name, root) == 0 ? "root" : name);
    format(fresh, sizeof fresh, "%s.new", listing);
    DIR *dir = opendir(path);
    FILE *out = fopen(fresh, "we");
    if (dir == NULL || out == NULL)
        broken(path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (key(dirfd(dir), entry->d_name, AT_SYMLINK_NOFOLLOW, child, &found) != 0)
            continue; /* gone since */
        int folder = S_ISDIR(found.stx_mode);
        fprintf(out, "%c %s %s\n", folder ? 'd' : 'f', child, entry->d_name);
        format(below, sizeof below, "%s/%s", path, entry->d_name);
        if (everything && folder)
            save_names(below, child, 1);
        if (everything && !folder) {
            int fd = open(below, O_RDONLY | O_CLOEXEC);
            if (fd < 0)
                broken(below);
            save_file(fd, child, &found);
            close(fd);
        }
    }
    closedir(dir);
    if (fclose(out) != 0 || rename(fresh, listing) != 0)
        broken(listing);
}

__attribute__((constructor)) static void begin(void) {
    char path[PATH_MAX];
    struct statx found;
    if (getenv("POWER_DATA") == NULL || getenv("POWER_SHADOW") == NULL)
        return;
    if (realpath(getenv("POWER_DATA"), data) == NULL || realpath(getenv("POWER_SHADOW"), shadow) == NULL ||
        key(AT_FDCWD, data, 0, root, &found) != 0)
        broken("no folders");
    format(path, sizeof path, "%s/dirs", shadow);
    if (mkdir(path, 0700) != 0)
        broken(path);
    format(path, sizeof path, "%s/files", shadow);
    if (mkdir(path, 0700) != 0)
        broken(path);
    save_names(data, root, 1);
}

static void save(int fd) {
    char name[80], path[PATH_MAX], self[64];
    struct statx found;
    int before = errno;
    if (root[0] != 0 && key(fd, "", AT_EMPTY_PATH, name, &found) == 0) {
        pthread_mutex_lock(&lock);
        if (S_ISREG(found.stx_mode)) {
            save_file(fd, name, &found);
        } else if (S_ISDIR(found.stx_mode)) {
            format(self, sizeof self, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(self, path, sizeof path - 1);
            path[length < 0 ? 0 : length] = 0;
            if (strncmp(path, data, strlen(data)) == 0)
                save_names(path, name, 0);
        }
        pthread_mutex_unlock(&lock);
    }
    errno = before;
}

/* Is called when the write is done: a sync that comes before need not know of it. */
static void note(int fd, int64_t at) {
    struct stat found;
    int before = errno;
    if (root[0] != 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        pthread_mutex_lock(&lock);
        struct slot *slot = slot_of(found.st_ino);
        if (at < slot->low)
            slot->low = at < 0 ? 0 : at;
        pthread_mutex_unlock(&lock);
    }
    errno = before;
}

static void note_here(int fd, ssize_t written) {
    if (written > 0) {
        int before = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        errno = before;
        if (end >= written)
            note(fd, end - written);
    }
}

ssize_t write(int fd, const void *octets, size_t count) {
    int code = fault("write", fd);
    ssize_t written = real_write(fd, octets, code == 0 ? count : count / 2);
    note_here(fd, written);
    return code == 0 ? written : (errno = code, -1);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    ssize_t written = syscall(SYS_writev, fd, pieces, count);
    note_here(fd, written);
    return written;
}

ssize_t pwrite64(int fd, const void *octets, size_t count, off64_t at) {
    int code = fault("write", fd);
    ssize_t written = syscall(SYS_pwrite64, fd, octets, code == 0 ? count : count / 2, at);
    if (written > 0)
        note(fd, at);
    return code == 0 ? written : (errno = code, -1);
}

ssize_t pwrite(int fd, const void *octets, size_t count, off_t at) { return pwrite64(fd, octets, count, at); }

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) {
    ssize_t written = syscall(SYS_pwritev, fd, pieces, count, (long)at, 0L);
    if (written > 0)
        note(fd, at);
    return written;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) {
    return pwritev64(fd, pieces, count, at);
}

int ftruncate64(int fd, off64_t length) {
    int done = syscall(SYS_ftruncate, fd, length);
    if (done == 0)
        note(fd, length);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* The page cache holds it all, and the power is not really cut: no need to wait for the disk. */
int fsync(int fd) {
    struct stat found;
    if (fstat(fd, &found) != 0)
        return -1;
    int code = fault("sync", fd);
    if (code != 0) {
        pthread_mutex_lock(&lock);
        *slot_of(found.st_ino) = (struct slot){.inode = found.st_ino, .low = CLEAN, .forgotten = 1};
        pthread_mutex_unlock(&lock);
        errno = code;
        return -1;
    }
    save(fd);
    return 0;
}

int fdatasync(int fd) { return fsync(fd); }

int sync_file_range(int fd, off64_t at, off64_t count, unsigned int flags) {
    struct stat found;
    (void)at, (void)count, (void)flags;
    return fstat(fd, &found);
}

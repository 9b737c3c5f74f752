/* Keeps, beside a process, what would survive a loss of power: the content of each file as of its last
 * synchronisation, the entries of each folder as of the folder's. Loaded with LD_PRELOAD by power_loss.rs,
 * which says what the files under STRONGROOM_POWER_LOSS mean and rebuilds a folder from them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Wide enough for three numbers and their separators. */
#define NAME_SIZE 80

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* Inodes are used again, so the time of birth belongs to the name. */
static void name_of(const struct statx *status, char name[NAME_SIZE]) {
    snprintf(name, NAME_SIZE, "%llu-%lld-%u", (unsigned long long)status->stx_ino,
             (long long)status->stx_btime.tv_sec, (unsigned)status->stx_btime.tv_nsec);
}

static void paths(const char *mirror, const char *kind, const char *name, char target[PATH_MAX],
                  char temporary[PATH_MAX]) {
    snprintf(target, PATH_MAX, "%s/%s-%s", mirror, kind, name);
    snprintf(temporary, PATH_MAX, "%s/.%s-%s", mirror, kind, name);
}

/* Copies the open file; the rename makes the copy whole or nothing. */
static void keep_file(const char *mirror, int fd, const char *name) {
    char source[64], target[PATH_MAX], temporary[PATH_MAX];
    static char buffer[1 << 20]; /* under the lock */
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    paths(mirror, "file", name, target, temporary);
    int in = open(source, O_RDONLY | O_CLOEXEC);
    int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0) abort();
    ssize_t count;
    while ((count = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)count) != count) abort();
    if (count < 0) abort();
    close(in);
    close(out);
    if (rename(temporary, target) != 0) abort();
}

/* A line "<name in the mirror> <d or f> <name>" for each entry. */
static void keep_folder(const char *mirror, int fd, const char *name) {
    char source[64], target[PATH_MAX], temporary[PATH_MAX], of_entry[NAME_SIZE];
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    paths(mirror, "folder", name, target, temporary);
    DIR *folder = opendir(source);
    FILE *out = fopen(temporary, "we");
    if (!folder || !out) abort();
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct statx status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (statx(dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &status) != 0)
            continue; /* gone since */
        if (!S_ISDIR(status.stx_mode) && !S_ISREG(status.stx_mode)) continue;
        name_of(&status, of_entry);
        fprintf(out, "%s %c %s\n", of_entry, S_ISDIR(status.stx_mode) ? 'd' : 'f', entry->d_name);
    }
    closedir(folder);
    if (fclose(out) != 0 || rename(temporary, target) != 0) abort();
}

static int synchronise(int (*real)(int), int fd) {
    const char *mirror = getenv("STRONGROOM_POWER_LOSS");
    char name[NAME_SIZE];
    struct statx status;
    pthread_mutex_lock(&one_at_a_time);
    int result = real(fd);
    if (result == 0 && mirror && statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) == 0) {
        name_of(&status, name);
        if (S_ISDIR(status.stx_mode)) keep_folder(mirror, fd, name);
        else if (S_ISREG(status.stx_mode)) keep_file(mirror, fd, name);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return result;
}

int fsync(int fd) {
    return synchronise((int (*)(int))dlsym(RTLD_NEXT, "fsync"), fd);
}

int fdatasync(int fd) {
    return synchronise((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"), fd);
}

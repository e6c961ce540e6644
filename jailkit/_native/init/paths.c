/*
 * paths.c: files inside a root that may be hostile.
 *
 * Every walk is an openat2(2) with RESOLVE_IN_ROOT: a symbolic link in the root, absolute or with any number of
 * "..", is resolved as if the root were "/", by the kernel, in one call. What is created is created by name in the
 * directory so found, with O_EXCL and O_NOFOLLOW.
 */
#include "jail.h"

int open_inside(int root, const char *path, uint64_t flags) {
    struct open_how how = {flags | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)SYS(openat2, root, *path ? path : ".", &how, sizeof how);
}

static int mkdir_one(int root, char *path, char *slash, uint32_t mode) {
    /* `path` up to its last component, or the root itself where there is only one. */
    const char *parent = slash ? path : ".";
    if (slash)
        *slash = 0;
    int dir = open_inside(root, parent, O_PATH | O_DIRECTORY);
    if (slash)
        *slash = '/';
    if (dir < 0)
        return dir;
    int error = (int)SYS(mkdirat, dir, slash ? slash + 1 : path, mode);
    close_fd(dir);
    return error;
}

static int mkdir_path(int root, const char *path, uint32_t mode) {
    char copy[4096];
    char *slash = 0;
    size_t length = text_length(path);
    if (length >= sizeof copy)
        return -ENAMETOOLONG;
    copy_bytes(copy, path, length + 1);
    for (size_t n = 1; n <= length; n++) {
        if (copy[n] != '/' && copy[n] != 0)
            continue;
        char end = copy[n];
        copy[n] = 0;
        int dir = open_inside(root, copy, O_PATH | O_DIRECTORY);
        int error = dir == -ENOENT ? mkdir_one(root, copy, slash, end ? 0755 : mode) : dir;
        close_fd(dir);
        if (error < 0)
            return error;
        copy[n] = end;
        slash = copy + n;
    }
    return 0;
}

static int has_slash(const char *path) {
    while (*path && *path != '/')
        path++;
    return *path == '/';
}

int mkdir_inside(int root, const char *path, uint32_t mode) {
    if (*path && !has_slash(path)) { /* one name: mkdirat(2) follows no link there, and most are new */
        int made = (int)SYS(mkdirat, root, path, mode);
        if (made != -EEXIST)
            return made;
    }
    return mkdir_path(root, path, mode);
}

/* The directory that holds `path`, made where it is missing, and the last component of `path`. */
static int parent_inside(int root, const char *path, const char **name) {
    char copy[4096];
    size_t length = text_length(path), cut = 0;
    if (length >= sizeof copy)
        return -ENAMETOOLONG;
    copy_bytes(copy, path, length + 1);
    for (size_t n = 0; n < length; n++)
        if (copy[n] == '/')
            cut = n;
    *name = path + (cut ? cut + 1 : 0);
    copy[cut] = 0;
    int error = mkdir_inside(root, copy, 0755);
    return error < 0 ? error : open_inside(root, copy, O_PATH | O_DIRECTORY);
}

int write_all(int fd, const char *text, uint64_t size) {
    while (size > 0) {
        long written = SYS(write, fd, text, size);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            return written ? (int)written : -EIO;
        text += written;
        size -= (uint64_t)written;
    }
    return 0;
}

/* A new file; -EEXIST where the name is taken, by whatever. */
static int create_file(int root, const char *path, uint32_t mode) {
    const char *name = path;
    int dir = has_slash(path) ? parent_inside(root, path, &name) : root;
    if (dir < 0)
        return dir;
    int file = (int)SYS(openat, dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, mode);
    if (dir != root)
        close_fd(dir);
    return file;
}

int step_mkdir(struct jail *j, const struct jk_step *s) {
    return mkdir_inside(slot_fd(j, s->at), plan_text(j, s->path), (uint32_t)s->value);
}

int step_chown(struct jail *j, const struct jk_step *s) {
    return (int)SYS(fchownat, slot_fd(j, s->at), plan_text(j, s->path), s->value, s->flags, AT_SYMLINK_NOFOLLOW);
}

int step_target(struct jail *j, const struct jk_step *s) {
    struct stat info;
    long error = SYS(fstat, slot_fd(j, s->slot), &info);
    if (error < 0)
        return (int)error;
    if (S_ISDIR(info.st_mode))
        return mkdir_inside(slot_fd(j, s->at), plan_text(j, s->path), 0755);
    int file = create_file(slot_fd(j, s->at), plan_text(j, s->path), 0644);
    close_fd(file);
    return file == -EEXIST ? 0 : file; /* a link there is followed, inside the root, by whoever attaches */
}

int step_symlink(struct jail *j, const struct jk_step *s) {
    const char *path = plan_text(j, s->path), *name = path;
    int root = slot_fd(j, s->at), dir = has_slash(path) ? parent_inside(root, path, &name) : root;
    if (dir < 0)
        return dir;
    int error = (int)SYS(symlinkat, plan_text(j, s->text), dir, name);
    if (dir != root)
        close_fd(dir);
    return error;
}

int step_file(struct jail *j, const struct jk_step *s) {
    int file = create_file(slot_fd(j, s->at), plan_text(j, s->path), (uint32_t)s->value);
    if (file < 0)
        return file;
    int error = write_all(file, plan_text(j, s->text), s->text_size);
    close_fd(file);
    return error;
}

int step_write(struct jail *j, const struct jk_step *s) {
    int file = open_inside(slot_fd(j, s->at), plan_text(j, s->path), O_WRONLY);
    if (file < 0)
        return file;
    int error = write_all(file, plan_text(j, s->text), s->text_size);
    close_fd(file);
    return error;
}

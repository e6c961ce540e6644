/*
 * paths.c: files inside a root that may be hostile.
 *
 * Every walk is an openat2(2) with RESOLVE_IN_ROOT: a symbolic link in the root, absolute or with any number of
 * "..", is resolved as if the root were "/", by the kernel, in one call. What is created is created by name in the
 * directory so found, which follows no link.
 */
#include "jail.h"

int open_inside(int root, const char *path, uint64_t flags) {
    struct open_how how = {flags | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)SYS(openat2, root, *path ? path : ".", &how, sizeof how);
}

/* The directory that holds `path`, and the last component of `path`; the root itself where there is only one. */
static int open_parent(int root, const char *path, const char **name) {
    char copy[4096];
    size_t cut = 0, length = text_length(path);
    if (length >= sizeof copy)
        return -ENAMETOOLONG;
    copy_bytes(copy, path, length + 1);
    for (size_t n = 0; n < length; n++)
        if (copy[n] == '/')
            cut = n;
    copy[cut] = 0;
    *name = path + (cut ? cut + 1 : 0);
    return cut ? open_inside(root, copy, O_PATH | O_DIRECTORY) : root;
}

/* Make a name by the system call `number`: mkdirat and openat with `what` and `mode`, or symlinkat to `what`. */
static int make_name(long root, long path, int number, long what, long mode) {
    const char *name;
    int parent = open_parent((int)root, text(path), &name);
    if (parent < 0)
        return parent;
    int result = number == __NR_symlinkat ? (int)SYS(symlinkat, what, parent, name)
                                          : (int)sys6(number, parent, (long)name, what, mode, 0, 0);
    if (parent != root)
        close_fd(parent);
    return result;
}

int write_all(int fd, const char *bytes, uint64_t size) {
    while (size > 0) {
        long written = SYS(write, fd, bytes, size);
        if (written <= 0)
            return written ? (int)written : -EIO;
        bytes += written;
        size -= (uint64_t)written;
    }
    return 0;
}

/* A new file; -EEXIST where the name is taken, by whatever. */
static int create_file(const long *arg, long mode) {
    return make_name(arg[0], arg[1], __NR_openat, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, mode);
}

int step_mkdir(struct jail *j, const long *arg) {
    return make_name(arg[0], arg[1], __NR_mkdirat, arg[2], 0);
}

/* What is there already is left to whoever attaches, who follows a link inside the root. */
int step_target(struct jail *j, const long *arg) {
    struct stat info;
    int made = (int)SYS(fstat, arg[2], &info);
    if (made < 0)
        return made;
    made = S_ISDIR(info.st_mode) ? make_name(arg[0], arg[1], __NR_mkdirat, 0755, 0) : create_file(arg, 0644);
    if (!S_ISDIR(info.st_mode))
        close_fd(made);
    return made == -EEXIST || made > 0 ? 0 : made;
}

int step_symlink(struct jail *j, const long *arg) {
    return make_name(arg[0], arg[1], __NR_symlinkat, arg[2], 0);
}

static int fill_and_close(int file, long bytes, long size) {
    int error = file < 0 ? file : write_all(file, text(bytes), (uint64_t)size);
    close_fd(file);
    return error;
}

int step_file(struct jail *j, const long *arg) {
    return fill_and_close(create_file(arg, arg[2]), arg[3], arg[4]);
}

int step_write(struct jail *j, const long *arg) {
    return fill_and_close(open_inside((int)arg[0], text(arg[1]), O_WRONLY), arg[2], arg[3]);
}

int step_find(struct jail *j, const long *arg) {
    return open_inside((int)arg[0], text(arg[1]), (uint64_t)arg[2]);
}

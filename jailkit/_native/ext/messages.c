/* messages.c: bytes and descriptors over a socket. */
#include "ext.h"

#include <sys/mman.h>
#include <sys/wait.h>

int jk_memory_file(const char *bytes, uint64_t size) {
    int file = memfd_create("jailkit", MFD_CLOEXEC);
    ssize_t written = file < 0 ? -1 : write(file, bytes, size);
    int error = written < 0 ? errno : ENOSPC; /* no signal cuts a write to memory short, only a lack of it */
    if (written == (ssize_t)size)
        return file;
    close_fd(&file);
    return -error;
}

int jk_send(int sock, const void *bytes, uint64_t size, const int *fds, int count) {
    char control[CMSG_SPACE((6 + JK_JOINS) * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec from = {(void *)bytes, size};
    struct msghdr message = {
        .msg_iov = &from, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    return sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* PID 1 may be in the hands of a hostile program. A report that no honest one sends is worth as much as its end. */
static int makes_sense(const struct jk_report *report) {
    if (report->kind == JK_REPORT_FAILED)
        return report->error > 0;
    if (report->kind == JK_REPORT_EXITED)
        return WIFEXITED(report->status) || WIFSIGNALED(report->status);
    return report->kind >= JK_REPORT_BORN && report->kind <= JK_REPORT_EXITED;
}

int jk_take(int sock, struct jk_report *report, int *passed_fd) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec into = {report, sizeof *report};
    /* CMSG_LEN: in CMSG_SPACE, which is rounded up, there is room for a second descriptor that nobody would close. */
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
    const int how = MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC; /* the last: the size is that of the whole message */
    *passed_fd = -1;
    ssize_t size = recvmsg(sock, &message, how);
    if (size < 0 && errno == ECONNRESET) /* the peer left something unread; what it said itself comes after this */
        size = recvmsg(sock, &message, how);
    if (size < 0)
        return -errno;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS)
        memcpy(passed_fd, CMSG_DATA(head), sizeof *passed_fd);
    else if (message.msg_flags & MSG_CTRUNC) /* one came, and our own limit left no place for it */
        return -EMFILE;
    if (size == sizeof *report && !(message.msg_flags & MSG_CTRUNC) && makes_sense(report))
        return 1;
    close_fd(passed_fd);
    return 0;
}

int jk_receive(int sock, struct jk_report *report, int *passed_fd, int timeout_ms) {
    struct pollfd ready = {sock, POLLIN, 0};
    *passed_fd = -1;
    int polled = poll(&ready, 1, timeout_ms);
    return polled > 0 ? jk_take(sock, report, passed_fd) : polled == 0 ? -EAGAIN : -errno;
}

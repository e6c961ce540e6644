/* messages.c: bytes and descriptors over a socket. */
#include "ext.h"

#include <sys/mman.h>

int jk_memory_file(const char *bytes, uint64_t size) {
    int file = memfd_create("jailkit", MFD_CLOEXEC);
    while (file >= 0 && size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno != EINTR) {
            int error = errno;
            close(file);
            return -error;
        }
        bytes += written > 0 ? written : 0;
        size -= written > 0 ? (uint64_t)written : 0;
    }
    return file < 0 ? -errno : file;
}

int jk_send(int sock, const void *bytes, uint64_t size, const int *fds, int count) {
    char control[CMSG_SPACE((6 + JK_JOINS) * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec from = {(void *)bytes, size};
    struct msghdr message = {
        .msg_iov = &from, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    return sendmsg(sock, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int jk_receive(int sock, struct jk_report *report, int *passed_fd, int timeout_ms) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec into = {report, sizeof *report};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct pollfd ready = {sock, POLLIN, 0};
    *passed_fd = -1;
    int polled = poll(&ready, 1, timeout_ms);
    if (polled <= 0)
        return polled == 0 ? -EAGAIN : -errno;
    ssize_t size = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && errno == ECONNRESET) /* the peer left something unread; what it said itself comes after this */
        size = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size <= 0)
        return size == 0 ? 0 : -errno;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS)
        memcpy(passed_fd, CMSG_DATA(head), sizeof *passed_fd);
    return size == sizeof *report ? 1 : -EPROTO;
}

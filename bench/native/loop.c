/* See loop.h. */
#define _GNU_SOURCE
#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int epoll;

void loop_begin(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(EPOLL_CLOEXEC);
}

void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* poll() on the epoll, because that itself counts in ms. */
void turn(int64_t ns) {
    struct timespec most = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (ppoll(&(struct pollfd){.fd = epoll, .events = POLLIN}, 1, ns < 0 ? NULL : &most, NULL) <= 0)
        return;
    struct epoll_event ready[512];
    int found = epoll_wait(epoll, ready, 512, 0);
    for (int i = 0; i < found; i++) {
        struct source *source = ready[i].data.ptr;
        source->ready(source, ready[i].events);
    }
}

void watch(struct source *source, uint32_t events) {
    struct epoll_event wish = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, source->fd, &wish) < 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, source->fd, &wish) < 0)
        fail("epoll does not take a connection");
}

/* Each 4000 connections come from another address of 127.0.0.0/8: an address has 28 232 ports for clients, and the
 * kernel searches long for one when most are taken. */
static void take_address(int fd) {
    static uint32_t dialled;
    struct sockaddr_in from = {.sin_family = AF_INET};
    int on = 1;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + dialled++ / 4000);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
        fail("no address for a client");
}

int dial(struct source *source, int port, uint32_t events) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    take_address(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    source->fd = fd;
    watch(source, events);
    return 0;
}

char *whole_file(const char *path) {
    FILE *file = fopen(path, "r");
    size_t room = 1 << 16, length = 0, got;
    char *text = malloc(room);
    if (file == NULL || text == NULL)
        fail("cannot read a file it was given");
    while ((got = fread(text + length, 1, room - 1 - length, file)) > 0)
        if ((length += got) == room - 1 && (text = realloc(text, room *= 2)) == NULL)
            fail("no memory for a file it was given");
    fclose(file);
    text[length] = 0;
    return text;
}

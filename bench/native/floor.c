/* The kernel floor: the least work that delivers an event to N connections.
 *
 * An epoll server that holds every GET as a stream of server-sent events and, on POST /publish, write()s each event
 * of the body to each stream: an object is one event, an array of n objects is n events and n writes per stream.
 * The bytes are those the service sends: one HTTP chunk with an id line and a data line. No log, no users, no checks.
 *
 * Usage: floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FDS = 1 << 17, MOST_REQUEST = 1 << 20, MOST_FRAME = 1 << 17 };

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
    "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    "9\r\n: floor\n\n\r\n";
static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/* A request that has not arrived whole waits in `rest`; a stream needs no memory but its place in `streams`. */
static struct { char *rest; size_t length; int place; } connections[MOST_FDS];
static int streams[MOST_FDS], stream_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void forget(int fd) {
    int place = connections[fd].place;
    if (place >= 0) {
        streams[place] = streams[--stream_count];
        connections[streams[place]].place = place;
    }
    free(connections[fd].rest);
    connections[fd].rest = NULL;
    close(fd);
}

/* A stream's reader may be slow: wait for it, because an event that is cut short would be another event. */
static void send_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = write(fd, bytes, length);
        if (sent < 0 && errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
        else if (sent < 0)
            return; /* gone: epoll will say so */
        else
            bytes += sent, length -= (size_t)sent;
    }
}

/* One write() to each stream, as long as the service's: its ids have 15 characters too. */
static void fan_out(const char *data, int length) {
    static char frame[MOST_FRAME];
    static unsigned long long id = 1700000000000ull;
    int body = 20 + 6 + length + 2; /* "id: ...\n", "data: ...\n", "\n" */
    int size = snprintf(frame, sizeof frame, "%x\r\nid: %llu-0\ndata: %.*s\n\n\r\n", body, id++, length, data);
    if (size >= (int)sizeof frame)
        return;
    for (int i = 0; i < stream_count; i++)
        send_all(streams[i], frame, (size_t)size);
}

/* The benchmark's data holds no quote and no backslash, so the next quote ends it. */
static void publish(const char *body) {
    for (const char *at = body; (at = strstr(at, "\"data\":\"")) != NULL;) {
        at += 8;
        const char *end = strchr(at, '"');
        if (end == NULL)
            return;
        fan_out(at, (int)(end - at));
        at = end;
    }
}

static void hold(int fd) {
    connections[fd].place = stream_count;
    streams[stream_count++] = fd;
    send_all(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1);
}

/* Answer the request if all of it is there. */
static int serve(int fd, const char *text, size_t length) {
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return 0;
    if (strncmp(text, "GET /events", 11) == 0) {
        hold(fd);
        return 1;
    }
    if (strncmp(text, "POST /publish", 13) == 0) {
        const char *header = strcasestr(text, "\r\nContent-Length:");
        size_t body = header == NULL || header > end ? 0 : strtoul(header + 17, NULL, 10);
        if (length < (size_t)(end + 4 - text) + body)
            return 0;
        publish(end + 4);
    }
    send_all(fd, ANSWER, sizeof ANSWER - 1);
    return 1;
}

static void receive(int fd) {
    static char text[MOST_REQUEST];
    size_t length = connections[fd].rest == NULL ? 0 : connections[fd].length;
    memcpy(text, connections[fd].rest == NULL ? "" : connections[fd].rest, length);
    ssize_t got = read(fd, text + length, sizeof text - 1 - length);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            forget(fd);
        return;
    }
    if (connections[fd].place >= 0)
        return; /* a stream has nothing to say */
    length += (size_t)got;
    text[length] = 0;
    free(connections[fd].rest);
    connections[fd].rest = NULL;
    if (serve(fd, text, length))
        return;
    connections[fd].rest = memcpy(malloc(length), text, length);
    connections[fd].length = length;
}

static void accept_all(int listener, int epoll) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MOST_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd].place = -1;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    }
}

static int listen_at(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        die("floor: cannot listen");
    return fd;
}

int main(int count, char **words) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_at(count > 1 ? atoi(words[1]) : 0), epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (;;) {
        struct epoll_event ready[512];
        int found = epoll_wait(epoll, ready, 512, -1);
        for (int i = 0; i < found; i++)
            if (ready[i].data.fd == listener)
                accept_all(listener, epoll);
            else
                receive(ready[i].data.fd);
    }
}

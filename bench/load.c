/* A load client in one process: N EventSource connections and the publishers that feed them.
 *
 * Usage: load PORT STREAM_PATH HEADER_FILE PUBLISH_PATH PUBLISH_HEADER [blind]
 *
 * HEADER_FILE has a header line per connection. Commands come on stdin, a line each, and each is answered by one
 * JSON object on stdout, so that the driver can look at the server's processes between them:
 *
 *   open COUNT PACE                        connect up to COUNT, at most PACE under way
 *   flow PHASE RATE SECONDS PUBLISHERS FILE  POST the body in FILE, each @DATA@ in it being an event; SECONDS 0: until
 *                                          a line comes. Ends when all is delivered, or nothing came for a while
 *   close                                  hang up; each connection keeps the id of its last event
 *   resume PHASE EVENTS PACE               connect all with Last-Event-ID, and wait for EVENTS events on each
 *
 * An event's data is "p=PHASE n=NUMBER t=NANOSECONDS ..."; NUMBER rises from 0 in each phase.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options options;
static int epoll;

void fail(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void turn(int ms) {
    struct epoll_event ready[512];
    int found = epoll_wait(epoll, ready, 512, ms);
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

int dial(struct source *source, uint32_t events) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)options.port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
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

static char *whole_file(const char *path) {
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

static void read_lines(const char *path) {
    size_t room = 0;
    for (char *line = strtok(whole_file(path), "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if ((size_t)options.line_count == room)
            options.lines = realloc(options.lines, (room = room * 2 + 64) * sizeof *options.lines);
        options.lines[options.line_count++] = line;
    }
    if (options.line_count == 0)
        fail("the file of header lines is empty");
}

/* Every answer has the same fields; those that a command does not touch say what was before. */
static void answer(long expected, uint64_t began) {
    uint64_t ended = tally.last > began ? tally.last : now();
    printf("{\"up\": %d, \"failed\": %d, \"why\": \"%s\", \"seconds\": %.6f, ", subscribers_up, subscribers_failed,
           first_failure, (double)(ended - began) / 1e9);
    printf("\"deliveries\": %ld, \"lost\": %ld, \"repeated\": %ld, \"disorder\": %ld, \"stray\": %ld, ",
           tally.deliveries, expected - tally.deliveries, tally.repeated, tally.disorder, tally.stray);
    printf("\"posts\": %ld, \"refused\": %ld, ", posts, refused);
    printf("\"without_id\": %ld, \"dropped\": %ld, \"reconnects\": %ld, \"bytes\": %ld, ", tally.without_id,
           tally.dropped, tally.reconnects, tally.bytes);
    printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", latency_ms(0.5), latency_ms(0.99),
           latency_ms(1));
    fflush(stdout);
}

static void obey(const char *line) {
    char path[512];
    int count, pace, phase, publishers;
    double rate, seconds;
    uint64_t began = now();
    long connections = subscribers_up;
    if (sscanf(line, "open %d %d", &count, &pace) == 2) {
        listen_for(0);
        subscribers_open(count, pace);
        answer(0, began);
    } else if (sscanf(line, "flow %d %lf %lf %d %511s", &phase, &rate, &seconds, &publishers, path) == 5) {
        char *template = whole_file(path);
        listen_for(phase);
        long events = flow(phase, rate, seconds, publishers, template);
        answer(events * connections, began);
        free(template);
    } else if (strcmp(line, "close\n") == 0) {
        subscribers_close();
        answer(0, began);
    } else if (sscanf(line, "resume %d %d %d", &phase, &count, &pace) == 3) {
        listen_for(phase);
        answer(count * subscribers_resume(count, pace), began);
    } else {
        fail("does not know this command");
    }
}

int main(int count, char **words) {
    if (count < 6)
        fail("usage: load PORT STREAM_PATH HEADER_FILE PUBLISH_PATH PUBLISH_HEADER [blind]");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll must see the line that ends a flow */
    epoll = epoll_create1(EPOLL_CLOEXEC);
    options = (struct options){.port = atoi(words[1]), .path = words[2], .publish = words[4], .header = words[5]};
    options.blind = count > 6;
    read_lines(words[3]);
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(line);
    return 0;
}

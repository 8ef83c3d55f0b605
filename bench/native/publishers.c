/* The backends: kept-alive connections that POST events at a fixed rate, one request under way on each. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MOST_ANSWER = 1 << 18, MOST_PUBLISHERS = 64, PATIENCE = 10 /* s */ };

struct publisher {
    struct source source;
    int busy;
    size_t got;
    char answer[MOST_ANSWER];
};

long posts, refused;
static struct publisher *publishers[MOST_PUBLISHERS];
static int stopped;

/* Whether the answer is there as a whole, by its Content-Length. */
static int complete(const struct publisher *publisher) {
    const char *end = strstr(publisher->answer, "\r\n\r\n");
    if (end == NULL)
        return 0;
    const char *header = strcasestr(publisher->answer, "\r\nContent-Length:");
    size_t body = header == NULL || header > end ? 0 : strtoul(header + 17, NULL, 10);
    return publisher->got >= (size_t)(end + 4 - publisher->answer) + body;
}

/* Servers hang up on connections that are idle for some seconds. If an answer was due, the publish was refused. */
static void redial(struct publisher *publisher) {
    close(publisher->source.fd);
    if (dial(&publisher->source, options.port, EPOLLIN) != 0)
        fail("no socket for a publisher");
    refused += publisher->busy;
    publisher->busy = 0;
}

static void answered(struct source *source, uint32_t ready) {
    struct publisher *publisher = (struct publisher *)source;
    (void)ready;
    ssize_t got = read(source->fd, publisher->answer + publisher->got, MOST_ANSWER - 1 - publisher->got);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            redial(publisher);
        return;
    }
    publisher->got += (size_t)got;
    publisher->answer[publisher->got] = 0;
    if (!complete(publisher))
        return;
    publisher->busy = 0;
    if (strncmp(publisher->answer + 9, "20", 2) != 0 && refused++ == 0)
        snprintf(first_failure, sizeof first_failure, "publish status %.3s", publisher->answer + 9);
    if (strcasestr(publisher->answer, "\r\nConnection: close\r\n") != NULL)
        redial(publisher);
}

static void connect_publishers(int count) {
    for (int i = 0; i < count && i < MOST_PUBLISHERS; i++) {
        publishers[i] = calloc(1, sizeof *publishers[i]);
        publishers[i]->source.ready = answered;
        if (dial(&publishers[i]->source, options.port, EPOLLIN) != 0)
            fail("no socket for a publisher");
    }
    turn(50 * MS); /* a loopback connection stands by then */
}

static void hang_up(int count) {
    for (int i = 0; i < count && i < MOST_PUBLISHERS; i++) {
        close(publishers[i]->source.fd);
        free(publishers[i]);
        publishers[i] = NULL;
    }
}

static void publish(struct publisher *publisher, const char *template, int phase) {
    static char path[256], body[MOST_BODY], request[MOST_BODY + 4096];
    events_fill(path, sizeof path, options.publish, phase);
    size_t length = events_fill(body, MOST_BODY, template, phase);
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n%s\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        path, options.port, options.header, length, body);
    publisher->got = 0;
    publisher->busy = 1;
    posts++;
    if (write(publisher->source.fd, request, (size_t)size) != size)
        fail("a publish could not be sent whole");
}

static struct publisher *idle_one(int count) {
    for (int i = 0; i < count; i++)
        if (!publishers[i]->busy)
            return publishers[i];
    return NULL;
}

static int any_busy(int count) {
    for (int i = 0; i < count; i++)
        if (publishers[i]->busy)
            return 1;
    return 0;
}

static void a_line_came(struct source *source, uint32_t ready) {
    char line[64];
    (void)source, (void)ready;
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(0);
    stopped = 1;
}

/* Wait until every connection has every event that was not refused. If nothing comes for PATIENCE, the rest is lost.
 * Gives the deliveries due. */
static long wait_for_all(int count) {
    uint64_t began = now();
    for (;;) {
        uint64_t progress = tally.last > began ? tally.last : began;
        long due = events_due(refused * events_of_each);
        if ((tally.deliveries >= due && !any_busy(count)) || now() - progress > PATIENCE * 1000000000ull)
            return due;
        turn(10 * MS);
    }
}

long flow(int phase, double rate, double seconds, int count, const char *template) {
    static struct source terminal = {.fd = STDIN_FILENO, .ready = a_line_came};
    long total = rate > 0 && seconds > 0 ? (long)(rate * seconds + 0.5) : LONG_MAX;
    posts = refused = stopped = 0;
    events_begin(template);
    connect_publishers(count);
    watch(&terminal, seconds > 0 ? 0 : EPOLLIN);
    uint64_t start = now(), end = seconds > 0 && rate <= 0 ? start + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    while (posts < total && !stopped && now() < end) {
        struct publisher *publisher = idle_one(count);
        for (; publisher != NULL && posts < total && events_left(); publisher = idle_one(count)) {
            if (rate > 0 && (double)(now() - start) / 1e9 * rate < (double)posts)
                break;
            publish(publisher, template, phase);
        }
        turn(publisher == NULL ? 10 * MS : MS);
    }
    long due = wait_for_all(count);
    watch(&terminal, 0);
    hang_up(count);
    return due;
}

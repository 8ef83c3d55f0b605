/* The EventSource connections: they connect, hear, check what they hear, and come back as a browser does. */
#define _GNU_SOURCE
#include "load.h"
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE = 20, RETRY = 2000 }; /* s without any progress; ms before a reconnection, unless the stream says */

enum subscriber_state { IDLE, CONNECTING, ASKED, UP, WAITING, FAILED };

struct subscriber {
    struct source source;
    int index;
    enum subscriber_state state;
    uint64_t retry_at;       /* ns, when WAITING */
    uint64_t major, minor;   /* the last event's id as numbers */
    long number;             /* of the last event in this phase, -1 before the first */
    long reconnects;         /* in this phase */
    struct stream in;
    unsigned char seen[MOST_EVENTS / 8]; /* a bit for each event of this phase */
};

struct tally tally;
int subscribers_up, subscribers_failed;
char first_failure[160];

static struct subscriber **all;
static int opened, under_way, current_phase, resuming;

void listen_for(int phase) {
    current_phase = phase;
    tally = (struct tally){0};
    latency_clear();
    for (int i = 0; i < opened; i++) {
        all[i]->number = -1;
        all[i]->reconnects = 0;
        memset(all[i]->seen, 0, sizeof all[i]->seen);
    }
}

static void check_id(struct subscriber *subscriber) {
    char *end;
    if (subscriber->in.id[0] == 0) {
        tally.without_id++;
        return;
    }
    uint64_t major = strtoull(subscriber->in.id, &end, 10), minor = *end ? strtoull(end + 1, NULL, 10) : 0;
    if (major < subscriber->major || (major == subscriber->major && minor <= subscriber->minor))
        tally.disorder++;
    subscriber->major = major;
    subscriber->minor = minor;
}

static void heard(void *whose, struct stream *stream) {
    struct subscriber *subscriber = whose;
    char *at = stream->data;
    long phase = strncmp(at, "p=", 2) == 0 ? strtol(at + 2, &at, 10) : -1;
    long number = strncmp(at, " n=", 3) == 0 ? strtol(at + 3, &at, 10) : -1;
    if (phase != current_phase || number < 0 || number >= MOST_EVENTS) {
        tally.stray++;
        return;
    }
    check_id(subscriber);
    if (resuming && number <= subscriber->number)
        tally.disorder++;
    subscriber->number = number;
    if (subscriber->seen[number / 8] & 1 << number % 8) {
        tally.repeated++;
        return;
    }
    subscriber->seen[number / 8] |= (unsigned char)(1 << number % 8);
    tally.deliveries++;
    tally.last = now();
    if (strncmp(at, " t=", 3) == 0)
        latency_add(tally.last - strtoull(at + 3, NULL, 10));
}

static void become(struct subscriber *subscriber, enum subscriber_state state) {
    under_way += (state == CONNECTING || state == ASKED) - (subscriber->state == CONNECTING || subscriber->state == ASKED);
    subscribers_up += (state == UP) - (subscriber->state == UP);
    subscribers_failed += (state == FAILED) - (subscriber->state == FAILED);
    subscriber->state = state;
}

/* The connection is over. When resuming it comes back as an EventSource does, unless the status was an error. */
static void lose(struct subscriber *subscriber, const char *why, int code) {
    close(subscriber->source.fd);
    tally.dropped += subscriber->state == UP;
    if (resuming && (subscriber->in.status == 200 || subscriber->in.status == 0)) {
        int ms = subscriber->in.retry > 0 ? subscriber->in.retry : RETRY;
        subscriber->retry_at = now() + (uint64_t)ms * 1000000u;
        become(subscriber, WAITING);
        return;
    }
    if (first_failure[0] == 0)
        snprintf(first_failure, sizeof first_failure, "%s %d", why, code);
    become(subscriber, FAILED);
}

static void ask(struct subscriber *subscriber) {
    char request[8192], resume[64 + ID] = "";
    const char *spot = strstr(options.path, "{}");
    int before = spot == NULL ? (int)strlen(options.path) : (int)(spot - options.path);
    char number[16] = "";
    const char *upgrade = strncmp(options.path, "/ws", 3) != 0 ? "" :
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    if (spot != NULL)
        snprintf(number, sizeof number, "%d", subscriber->index);
    if (resuming && subscriber->in.id[0] != 0)
        snprintf(resume, sizeof resume, "Last-Event-ID: %s\r\n", subscriber->in.id);
    int length = snprintf(request, sizeof request,
                          "GET %.*s%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n%s\r\n%s%s\r\n",
                          before, options.path, number, spot == NULL ? "" : spot + 2, options.port,
                          options.lines[subscriber->index % options.line_count], upgrade, resume);
    if (write(subscriber->source.fd, request, (size_t)length) != length) {
        lose(subscriber, "the request could not be sent", errno);
        return;
    }
    watch(&subscriber->source, EPOLLIN);
    become(subscriber, options.blind ? UP : ASKED);
}

static int accepted(const struct subscriber *subscriber) {
    return subscriber->in.status == 200 || subscriber->in.status == 101;
}

static void read_some(struct subscriber *subscriber) {
    static char bytes[1 << 16];
    ssize_t got = read(subscriber->source.fd, bytes, sizeof bytes);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            lose(subscriber, "closed by the server", got < 0 ? errno : 0);
        return;
    }
    tally.bytes += got;
    stream_feed(&subscriber->in, bytes, (size_t)got, heard, subscriber);
    if (subscriber->state == ASKED && subscriber->in.state != HEAD && accepted(subscriber))
        become(subscriber, UP);
    if (subscriber->in.state != HEAD && !accepted(subscriber))
        lose(subscriber, "status", subscriber->in.status);
    else if (subscriber->in.state == ENDED || subscriber->in.state == BROKEN)
        lose(subscriber, "the stream ended", 0);
}

static void ready(struct source *source, uint32_t events) {
    struct subscriber *subscriber = (struct subscriber *)source;
    if (subscriber->state != CONNECTING) {
        read_some(subscriber);
        return;
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0 || events & EPOLLERR) {
        lose(subscriber, "connect failed, errno", error);
        return;
    }
    ask(subscriber);
}

static void start(struct subscriber *subscriber) {
    stream_begin(&subscriber->in);
    int error = dial(&subscriber->source, options.port, EPOLLOUT);
    become(subscriber, CONNECTING);
    if (error != 0) {
        subscriber->source.fd = -1;
        lose(subscriber, "no socket, errno", error);
    }
}

static void grow(int count) {
    all = realloc(all, (size_t)count * sizeof *all);
    for (int i = opened; i < count; i++) {
        if ((all[i] = calloc(1, sizeof **all)) == NULL)
            fail("no memory for subscribers");
        all[i]->index = i;
        all[i]->number = -1;
        all[i]->source.ready = ready;
    }
}

void subscribers_open(int count, int pace) {
    int idle = 0, settled = -1;
    uint64_t progress = now();
    if (count > opened)
        grow(count);
    opened = count > opened ? count : opened;
    while (subscribers_up + subscribers_failed < opened && now() - progress < PATIENCE * 1000000000ull) {
        for (; idle < opened && under_way < pace; idle++)
            if (all[idle]->state == IDLE)
                start(all[idle]);
        turn(100 * MS);
        if (subscribers_up + subscribers_failed != settled) {
            settled = subscribers_up + subscribers_failed;
            progress = now();
        }
    }
}

static void count_return(struct subscriber *subscriber, uint64_t ns) {
    uint64_t tenth = ns / (100 * MS);
    tally.reconnects++;
    tally.returns[tenth < TENTHS ? tenth : TENTHS - 1]++;
    if (++subscriber->reconnects > tally.most)
        tally.most = subscriber->reconnects;
}

static void start_those_due(int pace, uint64_t began) {
    uint64_t time = now();
    for (int i = 0; i < opened && under_way < pace; i++) {
        int again = all[i]->state == WAITING && all[i]->retry_at <= time;
        if (again)
            count_return(all[i], time - began);
        if (again || all[i]->state == IDLE)
            start(all[i]);
    }
}

static int *told; /* the events that will have been published */

static void a_line_came(struct source *source, uint32_t ready) {
    char line[64];
    (void)ready;
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(0);
    *told = atoi(line);
    watch(source, 0);
}

long subscribers_resume(int *events, int pace) {
    static struct source terminal = {.fd = STDIN_FILENO, .ready = a_line_came};
    uint64_t began = now();
    resuming = 1;
    told = events;
    if (*events == 0)
        watch(&terminal, EPOLLIN);
    for (;;) {
        uint64_t progress = tally.last > began ? tally.last : began;
        int all_here = *events > 0 && tally.deliveries >= (long)*events * (opened - subscribers_failed);
        if (all_here || now() - progress > PATIENCE * 1000000000ull)
            break;
        start_those_due(pace, began);
        turn(10 * MS);
    }
    for (uint64_t end = now() + 200000000u; now() < end;) /* an event too many would come now */
        turn(10 * MS);
    resuming = 0;
    return opened;
}

void hear(long total) {
    uint64_t began = now();
    while (tally.deliveries < total && now() - (tally.last > began ? tally.last : began) < PATIENCE * 1000000000ull)
        turn(10 * MS);
}

void subscribers_close(void) {
    for (int i = 0; i < opened; i++) {
        if (all[i]->state == CONNECTING || all[i]->state == ASKED || all[i]->state == UP)
            close(all[i]->source.fd);
        become(all[i], IDLE);
    }
}

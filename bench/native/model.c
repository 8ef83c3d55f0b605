/* A model's server that costs next to nothing: POST .../chat/completions is answered as OpenAI's API streams it.
 *
 * Usage: model PORT RATE STREAMS
 *
 * A question's "max_tokens" says how many tokens its answer has, RATE how many are sent in a second. Answers speak in
 * turn: the tokens of STREAMS answers that begin one after the other are spread evenly over 1/RATE seconds, those of
 * fewer answers nearly so. A token is " n=NUMBER t=MICROSECONDS", always of the same length; NUMBER rises from 0, the
 * time is that of the monotonic clock when it is sent. A question to the model "pauses" is answered with the response's
 * head and nothing more; one to the model "silent" with nothing at all. GET says that it is up.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_QUESTION = 4096, MOST_PIECE = 1024 };

struct call {
    struct source source;
    struct call *next; /* the next call with the same slot */
    int slot;          /* when it speaks, see `even_step`; -1 while it has nothing to say */
    long said, most;   /* tokens */
    size_t length;
    char question[MOST_QUESTION]; /* the part that has arrived */
};

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                           "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char OTHERS[] = "HTTP/1.1 204 No Content\r\n\r\n";
static const char CHUNK[] = "data: {\"id\":\"chatcmpl-BzT4kq0n7Xc2vL9mYwR5sHd8Ej1Pa\","
                            "\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"speaks\","
                            "\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}]}\n\n";
static const char LAST[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

static struct call **slots;
static int slot_count, step, speaking;
static long begun;

static void be_quiet(struct call *call) {
    if (call->slot < 0)
        return;
    struct call **place = &slots[call->slot];
    while (*place != call)
        place = &(*place)->next;
    *place = call->next;
    call->slot = -1;
    speaking--;
}

static void hang_up(struct call *call) {
    be_quiet(call);
    close(call->source.fd);
    free(call);
}

/* False: the reader is gone, or has not read for so long that the kernel has no more room. */
static int put(struct call *call, const char *text, size_t length) {
    return write(call->source.fd, text, length) == (ssize_t)length;
}

static int say(struct call *call, const char *delta, const char *finish) {
    char event[MOST_PIECE], piece[MOST_PIECE + 16];
    int length = snprintf(event, sizeof event, CHUNK, delta, finish);
    length = snprintf(piece, sizeof piece, "%x\r\n%s\r\n", length, event);
    return put(call, piece, (size_t)length);
}

static void say_token(struct call *call) {
    char delta[64];
    unsigned long long us = now() / 1000;
    snprintf(delta, sizeof delta, "\"content\":\" n=%06ld t=%015llu\"", call->said++, us);
    if (!say(call, delta, "null")) {
        hang_up(call);
    } else if (call->said == call->most) {
        be_quiet(call);
        if (!say(call, "", "\"stop\"") || !put(call, LAST, sizeof LAST - 1))
            hang_up(call);
    }
}

static void answer(struct call *call, const char *body) {
    const char *most = strstr(body, "\"max_tokens\":");
    call->said = 0;
    call->most = most == NULL ? 1 : atol(most + 13);
    if (strstr(body, "\"model\":\"silent\"") != NULL)
        return;
    if (!put(call, HEAD, sizeof HEAD - 1)) {
        hang_up(call);
    } else if (strstr(body, "\"model\":\"pauses\"") == NULL) {
        call->slot = (int)(begun++ * step % slot_count);
        call->next = slots[call->slot];
        slots[call->slot] = call;
        speaking++;
        if (!say(call, "\"role\":\"assistant\",\"content\":\"\"", "null"))
            hang_up(call);
    }
}

/* The next question on a connection comes when the one before is answered. */
static void hear(struct source *source, uint32_t events) {
    struct call *call = (struct call *)source;
    (void)events;
    ssize_t got = read(source->fd, call->question + call->length, MOST_QUESTION - 1 - call->length);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            hang_up(call);
        return;
    }
    call->length += (size_t)got;
    call->question[call->length] = 0;
    const char *end = strstr(call->question, "\r\n\r\n"), *header = strcasestr(call->question, "\r\nContent-Length:");
    size_t body = header == NULL ? 0 : strtoul(header + 17, NULL, 10);
    if (end == NULL || call->length < (size_t)(end + 4 - call->question) + body)
        return;
    call->length = 0;
    if (strncmp(call->question, "POST ", 5) == 0)
        answer(call, end + 4);
    else if (!put(call, OTHERS, sizeof OTHERS - 1))
        hang_up(call);
}

static void take(struct source *listener, uint32_t events) {
    int fd, on = 1;
    (void)events;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct call *call = calloc(1, sizeof *call);
        if (call == NULL)
            fail("no memory for a call");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        call->slot = -1;
        call->source = (struct source){.fd = fd, .ready = hear};
        watch(&call->source, EPOLLIN);
    }
}

static void listen_at(int port) {
    static struct source listener = {.ready = take};
    int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener.fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener.fd, 4096) < 0)
        fail("cannot listen");
    watch(&listener, EPOLLIN);
}

static int common_divisor(int a, int b) {
    return b == 0 ? a : common_divisor(b, a % b);
}

/* The step from one answer's slot to the next one's: near the golden section, which spreads any number of answers, and
 * with no common divisor, so that it meets all slots. */
static int even_step(int slots) {
    int found = (int)(0.618 * slots) + 1;
    while (common_divisor(found, slots) != 1)
        found++;
    return found;
}

/* Each slot speaks once in 1/RATE seconds. */
static void speak_for_ever(uint64_t period) {
    uint64_t start = now(), times = 0;
    for (;;) {
        while (speaking == 0) {
            turn(FOREVER);
            start = now();
            times = 0;
        }
        uint64_t due = start + times * period / (uint64_t)slot_count, time = now();
        turn(due > time ? (int64_t)(due - time) : 0);
        if (now() < due)
            continue;
        for (struct call *call = slots[times++ % (uint64_t)slot_count], *next; call != NULL; call = next) {
            next = call->next;
            say_token(call);
        }
    }
}

int main(int count, char **words) {
    if (count != 4 || atof(words[2]) <= 0 || atoi(words[3]) <= 0)
        fail("usage: model PORT RATE STREAMS");
    loop_begin();
    slot_count = atoi(words[3]);
    step = even_step(slot_count);
    slots = calloc((size_t)slot_count, sizeof *slots);
    listen_at(atoi(words[1]));
    speak_for_ever((uint64_t)(1e9 / atof(words[2])));
}

/* Reads a stream of server-sent events out of an HTTP/1.1 response, in whatever pieces it arrives; or what comes down a
 * WebSocket, if the response is 101. */
#ifndef STREAM_H
#define STREAM_H
#include <stddef.h>

#ifndef LINE
#define LINE 256 /* bytes that are kept of a line, and of an event's data */
#endif

enum { ID = 48 };

enum stream_state { HEAD, CHUNK_SIZE, CHUNK, CHUNK_END, UNTIL_CLOSE, FRAME_HEAD, FRAME, ENDED, BROKEN };

struct stream {
    enum stream_state state;
    int status;    /* of the response, 0 until known */
    int chunked;
    int retry;     /* ms, 0 unless the stream said so */
    size_t left;   /* bytes of this chunk, or frame */
    int after_cr;  /* a LF now belongs to the CR before it */
    int has_data, spoken;
    size_t meta_length, line_length, data_length;
    char meta[LINE]; /* a line of HTTP: of the head, or a chunk's size */
    char line[LINE]; /* a line of the stream */
    char data[LINE]; /* of the event so far; what is longer than the benchmark's own data is cut */
    char next_id[ID]; /* takes effect at the blank line, so that an event that is cut short does not move it */
    char id[ID];      /* the last event's id, kept as in an EventSource */
};

/* Called for each event that has data. */
typedef void on_event(void *whose, struct stream *stream);

/* Begins another response; the id stays. */
void stream_begin(struct stream *stream);
void stream_feed(struct stream *stream, const char *bytes, size_t count, on_event *heard, void *whose);
#endif

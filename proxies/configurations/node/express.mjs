import compression from "compression";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";

const app = express();
app.use(compression());  // it leaves streams alone: they say no-transform
const push = createProxyMiddleware({
  target: "http://127.0.0.1:8001",
  xfwd: true,
  on: {
    error: (error, request, response) => {
      // an EventSource gives up for good at any other status
      const stream = (request.headers.accept ?? "").includes("text/event-stream");
      if (!response.headersSent) response.writeHead(stream ? 200 : 502, { "Content-Type": stream ? "text/event-stream" : "text/plain" });
      response.end(stream ? "retry: 2000\n\n" : "");
    },
  },
});
app.use(push);
app.listen(8080, "127.0.0.1").on("upgrade", push.upgrade);

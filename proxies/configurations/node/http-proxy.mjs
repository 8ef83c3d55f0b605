import http from "node:http";
import httpProxy from "http-proxy";

const proxy = httpProxy.createProxyServer({ target: "http://127.0.0.1:8001", xfwd: true });
// without it a stream goes on after its browser has left
proxy.on("proxyRes", (upstream, request, response) => response.on("close", () => upstream.destroy()));
proxy.on("error", (error, request, response) => {
  // an EventSource gives up for good at any other status
  const stream = (request.headers.accept ?? "").includes("text/event-stream");
  if (!response.headersSent) response.writeHead(stream ? 200 : 502, { "Content-Type": stream ? "text/event-stream" : "text/plain" });
  response.end(stream ? "retry: 2000\n\n" : "");
});
const server = http.createServer((request, response) => proxy.web(request, response));
server.on("upgrade", (request, socket, head) => proxy.ws(request, socket, head));
server.listen(8080, "127.0.0.1");

import http from "node:http";
import httpProxy from "http-proxy";

const proxy = httpProxy.createProxyServer({ target: "http://127.0.0.1:8001" });
proxy.on("error", (error, request, response) => response.writeHead(502).end());
http.createServer((request, response) => proxy.web(request, response)).listen(8080, "127.0.0.1");

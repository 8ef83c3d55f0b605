import compression from "compression";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";

const app = express();
app.use(compression());
app.use(createProxyMiddleware({ target: "http://127.0.0.1:8001" }));
app.listen(8080, "127.0.0.1");

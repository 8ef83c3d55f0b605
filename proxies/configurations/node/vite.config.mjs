export default {
  server: {
    host: "127.0.0.1",
    port: 8080,
    // the object, not the string, keeps the Host that the browser sent
    proxy: {
      "^/(events|publish|tickets|ack|unread|history|presence|connections|v1|ws|push\\.js|healthz|readyz)": {
        target: "http://127.0.0.1:8001",
        ws: true,
      },
    },
  },
};

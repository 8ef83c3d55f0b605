export default {
  server: {
    host: "127.0.0.1",
    port: 8080,
    // the object, not the string, keeps the Host that the browser sent
    proxy: { "/events": { target: "http://127.0.0.1:8001" }, "^/(publish|tickets|ack|v1|readyz|presence)": { target: "http://127.0.0.1:8001" } },
  },
};

export default {
  server: {
    host: "127.0.0.1",
    port: 8080,
    proxy: { "^/(events|publish|tickets|ack|v1|readyz|presence)": "http://127.0.0.1:8001" },
  },
};

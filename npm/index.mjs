import "./push.js";

export const { connect } = globalThis.pushsvc;

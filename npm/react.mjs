// React's hooks for a connection that `connect` made, outside of any component.
import { useEffect, useRef, useState } from "react";

/** Call the listener with each event of the name. @type {typeof import("./react.d.ts").usePushEvent} */
export function usePushEvent(push, name, listener) {
  const newest = useRef(listener);
  useEffect(() => {
    newest.current = listener;
  });
  useEffect(() => push.on(name, (data, event) => newest.current(data, event)), [push, name]);
}

/** The data of the last event of the name. @type {typeof import("./react.d.ts").usePushData} */
export function usePushData(push, name, first) {
  const [data, setData] = useState(first);
  usePushEvent(push, name, setData);
  return data;
}

/** @type {typeof import("./react.d.ts").usePushState} */
export function usePushState(push) {
  const [state, setState] = useState(push.state);
  useEffect(() => {
    setState(push.state);
    return push.onState(setState);
  }, [push]);
  return state;
}

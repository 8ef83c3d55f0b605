import type { Push, PushEvent, State } from "./index.d.ts";

export function usePushEvent(push: Push, name: string, listener: (data: any, event: PushEvent) => unknown): void;
export function usePushData<T>(push: Push, name: string, first: T): T;
export function usePushState(push: Push): State;

/** What a ticket function gives: the answer of POST /tickets, or a URL. Nothing (null): there is no stream any more. */
export type Ticket = { url?: string; cursor?: string; detail?: string } | string | null | undefined;

export type State = "connecting" | "open" | "waiting" | "closed";

/** Events were lost: the page reads its own state again. */
export interface Gap {
  requested: string | null;
  oldest: string | null;
  reason: "trimmed" | "expired" | "reset";
}

export interface PushEvent {
  id: string;
  name: string;
  data: string;
}

export interface Options {
  /** Asks the page's backend for a ticket. An Error's `retryAfter` (seconds) is heeded. */
  ticket: () => Ticket | Promise<Ticket>;
  /** One connection for all tabs of this origin that give the same name: give the user's id where users may change. */
  share?: boolean | string;
  /** Where a tab begins that remembers nothing; `ticket`: at the ticket's cursor. The default is `unread`. */
  since?: "unread" | "now" | "earliest" | "ticket";
  /** Acknowledge what a listener has heard, which moves the user's unread position. The default is true. */
  ack?: boolean;
  /** Remember the cursor over loads of the page, in the tab's sessionStorage. The default is true. */
  remember?: boolean;
}

export interface Push {
  readonly state: State;
  /** `data` is parsed if it is JSON. Call what is returned to hear no more. */
  on(name: string, listener: (data: any, event: PushEvent) => unknown): () => void;
  onGap(listener: (gap: Gap) => unknown): () => void;
  onState(listener: (state: State, why: string) => unknown): () => void;
  close(): void;
}

export function connect(options: Options): Push;

declare global {
  var pushsvc: { connect: typeof connect };
}

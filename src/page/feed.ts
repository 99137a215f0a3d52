import type { MeshStatus } from "../protocol/status.js";
import { type StatusChange, withChange } from "../protocol/status-changes.js";

/** What comes of a mesh. */
export type FeedMessage =
  | { readonly type: "snapshot"; readonly status: MeshStatus }
  | { readonly type: "change"; readonly at: number; readonly change: StatusChange }
  | { readonly type: "connection"; readonly isUp: boolean };

/** Between tabs also: one that has just been opened asks for the status. */
type TabMessage = FeedMessage | { readonly type: "opened" };

/**
 * The events of one mesh. All tabs of a browser share one connection: whichever has the lock reads, and passes on to the others;
 * when it is closed another one gets the lock. Where the browser has no locks, which it has only for a host that it trusts,
 * each tab reads for itself.
 */
export class Feed {
  readonly #mesh: string;
  readonly #onMessage: (message: FeedMessage) => void;
  readonly #channel: BroadcastChannel;
  readonly #closed = new AbortController();
  #source: EventSource | undefined;
  /** As the events up to now make it, in the tab that reads. */
  #status: MeshStatus | undefined;

  constructor(mesh: string, onMessage: (message: FeedMessage) => void) {
    this.#mesh = mesh;
    this.#onMessage = onMessage;
    this.#channel = new BroadcastChannel(`fullmesh ${mesh}`);
    this.#channel.onmessage = ({ data }: MessageEvent<TabMessage>) => this.#fromTab(data);
    if (navigator.locks === undefined) {
      this.#read();
      return;
    }
    const { signal } = this.#closed;
    const held = navigator.locks.request(`fullmesh ${mesh}`, { signal }, () => {
      this.#read();
      return new Promise<void>((release) => signal.addEventListener("abort", () => release(), { once: true }));
    });
    held.catch(() => {});
    this.#channel.postMessage({ type: "opened" } satisfies TabMessage);
  }

  close(): void {
    this.#closed.abort();
    this.#source?.close();
    this.#channel.close();
  }

  #read(): void {
    const source = new EventSource(`events?mesh=${encodeURIComponent(this.#mesh)}`);
    this.#source = source;
    source.addEventListener("snapshot", ({ data }) => {
      this.#pass({ type: "snapshot", status: JSON.parse(data) as MeshStatus });
    });
    source.addEventListener("change", ({ data }) => {
      const { at, ...change } = JSON.parse(data) as StatusChange & { readonly at: number };
      this.#pass({ type: "change", at, change });
    });
    source.onopen = () => this.#pass({ type: "connection", isUp: true });
    source.onerror = () => this.#pass({ type: "connection", isUp: false });
  }

  #pass(message: FeedMessage): void {
    if (message.type === "snapshot") this.#status = message.status;
    else if (message.type === "change" && this.#status !== undefined) {
      this.#status = withChange(this.#status, message.change);
    }
    this.#channel.postMessage(message);
    this.#onMessage(message);
  }

  #fromTab(message: TabMessage): void {
    if (message.type !== "opened") {
      if (this.#source === undefined) this.#onMessage(message);
    } else if (this.#status !== undefined) {
      this.#channel.postMessage({ type: "snapshot", status: this.#status } satisfies TabMessage);
    }
  }
}

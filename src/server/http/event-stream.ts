import type { ServerResponse } from "node:http";
import type { NumberedChange, Observation, Observer } from "./observation.js";

/** What may wait for a slow reader. Beyond that it gets no changes any more, and a new snapshot once it has read. */
const mostWaitingBytes = 1_048_576;

/** Something is sent at least so often, so that proxies and browsers keep the connection. */
const heartbeatMs = 15_000;

/**
 * Server-sent events for one reader: a `snapshot`, then each change by its number. A reader that comes back with the number of
 * the last one that it has gets what it has missed, or a new snapshot if that is not kept any more.
 */
export class EventStream implements Observer {
  readonly #response: ServerResponse;
  readonly #observation: Observation;
  /** Names this life of the server: numbers of another one mean nothing. */
  readonly #life: string;
  readonly #heartbeat: NodeJS.Timeout;
  /** It gets no changes, because a snapshot is due: at the beginning, and while too much waits. */
  #isBehind = true;

  /** `lastEventId`: what the reader says that it has. */
  constructor(response: ServerResponse, observation: Observation, life: string, lastEventId: string | undefined) {
    this.#response = response;
    this.#observation = observation;
    this.#life = life;
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
    const [knownLife, number] = lastEventId?.split("-") ?? [];
    const missed = knownLife === life ? observation.since(Number(number)) : undefined;
    observation.begin(this);
    if (missed === undefined) this.#snapshot();
    else {
      this.#isBehind = false;
      this.changed(missed);
    }
    response.on("drain", () => {
      if (this.#isBehind) this.#snapshot();
    });
    this.#heartbeat = setInterval(() => {
      if (!this.#isBehind) this.#write(":\n\n");
    }, heartbeatMs);
    response.on("close", () => this.#closed());
  }

  changed(changes: readonly NumberedChange[]): void {
    if (this.#isBehind) return;
    this.#write(changes.map(({ number, ...change }) => this.#event("change", number, change)).join(""));
  }

  /** Ends it; the reader comes back by itself. */
  close(): void {
    this.#response.end();
    this.#response.destroy();
  }

  #snapshot(): void {
    // Looking may find changes, which the snapshot has in it.
    const { status, newest } = this.#observation;
    this.#isBehind = false;
    this.#write(this.#event("snapshot", newest, status));
  }

  #event(type: string, number: number, data: object): string {
    return `event: ${type}\nid: ${this.#life}-${number}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #write(text: string): void {
    if (text !== "") this.#response.write(text);
    if (this.#response.writableLength > mostWaitingBytes) this.#isBehind = true;
  }

  #closed(): void {
    clearInterval(this.#heartbeat);
    this.#observation.end(this);
  }
}

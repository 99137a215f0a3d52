import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  FullmeshError,
  join,
  type MeshNode,
  RemoteError,
  type RequestContext,
  type RequestOutcome,
  serve,
} from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, codeOf, failureOf, outcomeOf, unansweringMember } from "./outcomes.js";
import { pair } from "./pair.js";

/** Handles a topic without ever answering, and records who asks. */
function neverAnswer(node: MeshNode, topic: string): Recorder<RequestContext> {
  const inquiries = new Recorder<RequestContext>();
  node.onRequest(topic, (_payload, inquiry) => {
    inquiries.add(inquiry);
    return new Promise(() => {});
  });
  return inquiries;
}

/** Resolves when nobody waits for this reply any more. */
async function abandoned({ signal }: RequestContext): Promise<unknown> {
  if (!signal.aborted) await once(signal, "abort");
  return codeOf(signal.reason);
}

describe("a request", () => {
  it("resolves with what the handler returns, or what its promise resolves with, in any form", async () => {
    const { first, second } = await pair();
    const to = addressOf(second);
    second.onRequest("now", (payload) => payload);
    second.onRequest("later", async (payload) => await Promise.resolve(payload));
    const payloads: unknown[] = [undefined, null, 0, "größe", [1, { a: [true] }], new Date(1_700_000_000_123)];
    for (const topic of ["now", "later"]) {
      const replies = await Promise.all(payloads.map((payload) => first.request(to, topic, payload)));
      expect(replies).toEqual(payloads);
      const bytes = (await first.request(to, topic, Uint8Array.of(1, 2, 255))) as Uint8Array;
      expect([bytes instanceof Uint8Array, [...bytes]]).toEqual([true, [1, 2, 255]]);
      expect(await first.request(to, topic, new Uint8Array(300_000).fill(7))).toHaveLength(300_000);
    }
  });

  it("tells its handler who asks and for what, and is answered though 1,000 others are under way", async () => {
    const { first, second } = await pair();
    second.onRequest("double", (number, { peer, topic }) => [2 * (number as number), peer.address, topic]);
    const [peer] = first.peers;
    const numbers = Array.from({ length: 1_000 }, (_, number) => number);
    const replies = await Promise.all(numbers.map((number) => first.request(peer ?? "", "double", number)));
    expect(replies).toEqual(numbers.map((number) => [2 * number, first.address, "double"]));
  });

  it("that nobody handles fails with NO_HANDLER, also once the handling has ended", async () => {
    const { first, second } = await pair();
    const to = addressOf(second);
    const stop = second.onRequest("here", () => "yes");
    expect(await failureOf(first.request(to, "nowhere"))).toBe("NO_HANDLER");
    expect(await first.request(to, "here")).toBe("yes");
    stop();
    stop();
    expect(await failureOf(first.request(to, "here"))).toBe("NO_HANDLER");
    second.onRequest("here", () => "again");
    stop();
    expect(await first.request(to, "here")).toBe("again");
  });

  it("fails with what the handler throws: its code and message, or HANDLER_FAILED, and both logs can tell", async () => {
    const { first, second, secondLog } = await pair();
    const to = addressOf(second);
    second.onRequest("coded", () => {
      throw Object.assign(new Error("come back later"), { code: "E_LATER", data: { inMs: 5, at: [new Date(7)] } });
    });
    second.onRequest("plain", async () => {
      await Promise.resolve();
      throw new RangeError("x".repeat(5_000));
    });
    second.onRequest("odd", () => {
      throw "just words";
    });
    const coded = await first.request(to, "coded").catch((error: unknown) => error);
    expect(coded).toBeInstanceOf(RemoteError);
    expect(coded).toBeInstanceOf(FullmeshError);
    expect(coded).toMatchObject({ code: "E_LATER", message: "come back later", data: { inMs: 5, at: [new Date(7)] } });
    expect((coded as RemoteError).remedy).toMatch(/^Handle this code where the request is made/);
    await expect(first.request(to, "plain")).rejects.toMatchObject({
      code: "HANDLER_FAILED",
      message: "x".repeat(1_024),
    });
    await expect(first.request(to, "odd")).rejects.toMatchObject({ code: "HANDLER_FAILED", message: "just words" });
    const { address } = first;
    expect(secondLog.items).toMatchObject([
      {
        code: "HANDLER_REFUSED",
        level: "info",
        message: `a request of ${address} to "coded" failed: come back later`,
        remote: address,
      },
      { code: "HANDLER_FAILED", stack: expect.stringContaining("requests.test") },
      { code: "HANDLER_FAILED", message: `a request of ${address} to "odd" failed: just words` },
    ]);
  });

  it("fails with BAD_VALUE for a reply that is no payload, which names the topic and whose reply it is", async () => {
    const { first, second, secondLog } = await pair();
    second.onRequest("map", () => new Map());
    const error = (await first.request(addressOf(second), "map").catch((reason: unknown) => reason)) as FullmeshError;
    const said = `the reply of ${second.address} to "map" cannot be sent: payload is a Map; `;
    expect([error.code, error.message.slice(0, said.length)]).toEqual(["BAD_VALUE", said]);
    expect(secondLog.codes).toEqual(["BAD_VALUE"]);
  });

  it("leaves out the data of an error if that is no value, or too large, and keeps the rest", async () => {
    const { first, second } = await pair();
    const tooLarge = "x".repeat(16_384);
    const data: unknown[] = [new Map(), tooLarge, "x".repeat(16_000), undefined, null, Uint8Array.of(1)];
    second.onRequest("fail", (index) => {
      throw Object.assign(new Error("no"), { code: "NO", data: data[index as number] });
    });
    const received: unknown[] = [];
    for (const index of data.keys()) {
      const error = await first.request(addressOf(second), "fail", index).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "RemoteError", code: "NO", message: "no" });
      received.push((error as RemoteError).data);
    }
    expect(received).toEqual([undefined, undefined, data[2], undefined, null, Uint8Array.of(1)]);
  });

  it("fails with HANDLER_FAILED whatever is thrown, and has its place in work again", async () => {
    const { first, second } = await pair({ limits: { requestsServed: 1 } });
    const thrown: unknown[] = [
      Object.assign(new Error("x"), { message: { a: 1 } }),
      Object.assign(new FullmeshError("BUSY", "x"), { code: "no code at all" }),
      Object.create(null),
    ];
    second.onRequest("now", (index) => {
      throw thrown[index as number];
    });
    second.onRequest("later", async (index) => await Promise.reject(thrown[index as number]));
    const trap = new Proxy(
      {},
      {
        get: () => {
          throw new Error("no such luck");
        },
      },
    );
    second.onRequest("trap", () => trap);
    const messages = ["[object Object]", "x", "something that cannot be shown"];
    for (const topic of ["now", "later"]) {
      for (const [index, message] of messages.entries()) {
        const asked = first.request(addressOf(second), topic, index, { timeoutMs: 2_000 });
        await expect(asked).rejects.toMatchObject({ code: "HANDLER_FAILED", message });
      }
    }
    const asked = first.request(addressOf(second), "trap", undefined, { timeoutMs: 2_000 });
    await expect(asked).rejects.toMatchObject({ code: "HANDLER_FAILED", message: "no such luck" });
  });

  it("does not fail with what the peer may have met elsewhere as if it had been met here", async () => {
    const { first, second } = await pair();
    second.onRequest("ask on", (code) => {
      throw new FullmeshError(code as string, "the one behind me");
    });
    for (const code of ["PEER_DOWN", "TIMED_OUT"]) {
      await expect(first.request(addressOf(second), "ask on", code)).rejects.toMatchObject({
        name: "RemoteError",
        code: "HANDLER_FAILED",
        message: "the one behind me",
      });
    }
  });

  it("hands its handler bytes that hold on to little more than themselves", async () => {
    const { first, second } = await pair();
    second.onRequest("measure", (bytes) => {
      const { length, buffer } = bytes as Uint8Array;
      return [length, buffer.byteLength];
    });
    const asked = Array.from({ length: 500 }, () => first.request(addressOf(second), "measure", new Uint8Array(50)));
    for (const [length, held] of (await Promise.all(asked)) as [number, number][]) {
      expect(length).toBe(50);
      expect(held).toBeLessThanOrEqual(200);
    }
  });

  it("whose reply cannot travel fails with BAD_VALUE or MESSAGE_TOO_LARGE", async () => {
    const { first, second } = await pair();
    second.onRequest("map", () => new Map([[1, 2]]));
    second.onRequest("large", () => new Uint8Array(2 ** 20));
    expect(await failureOf(first.request(addressOf(second), "map"))).toBe("BAD_VALUE");
    expect(await failureOf(first.request(addressOf(second), "large"))).toBe("MESSAGE_TOO_LARGE");
  });

  it("that is aborted rejects at once with the reason as its cause, and the handler's signal says so", async () => {
    const { first, second } = await pair();
    const inquiries = neverAnswer(second, "slow");
    const controller = new AbortController();
    const asked = first.request(addressOf(second), "slow", undefined, { signal: controller.signal });
    const inquiry = await inquiries.nth(1, () => true);
    expect(inquiry.signal.aborted).toBe(false);
    const reason = new Error("changed my mind");
    controller.abort(reason);
    await expect(asked).rejects.toMatchObject({ code: "ABORTED", cause: reason });
    expect(await abandoned(inquiry)).toBe("ABORTED");
    // One that is aborted before it has begun is never asked.
    const late = first.request(addressOf(second), "slow", undefined, { signal: controller.signal });
    expect(await failureOf(late)).toBe("ABORTED");
    second.onRequest("ping", () => "pong");
    await first.request(addressOf(second), "ping");
    expect(inquiries.items).toHaveLength(1);
  });

  it("that takes too long fails with TIMED_OUT, and the handler's signal says so, also when it looks later", async () => {
    const { first, second } = await pair();
    const inquiries = neverAnswer(second, "slow");
    const asked = first.request(addressOf(second), "slow", undefined, { timeoutMs: 20 });
    await expect(asked).rejects.toMatchObject({ code: "TIMED_OUT", message: expect.stringContaining("20 ms") });
    const inquiry = await inquiries.nth(1, () => true);
    // A reply to another request comes behind the cancel.
    second.onRequest("ping", () => "pong");
    await first.request(addressOf(second), "ping");
    expect(await abandoned(inquiry)).toBe("ABORTED");
  });

  it("leaves no listener on its signal, and a hundred of them are no more than one", async () => {
    const { first, second } = await pair();
    second.onRequest("ping", () => "pong");
    const { signal } = new AbortController();
    let listeners = 0;
    let most = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      most = Math.max(most, listeners);
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    await first.request(addressOf(second), "ping", undefined, { signal });
    expect(await failureOf(first.request(addressOf(second), "nowhere", undefined, { signal }))).toBe("NO_HANDLER");
    expect(listeners).toBe(0);
    await Promise.all(
      Array.from({ length: 100 }, () => first.request(addressOf(second), "ping", undefined, { signal })),
    );
    expect([listeners, most]).toEqual([0, 1]);
  });

  it.each([
    ["TIMED_OUT", "never", { timeoutMs: 20 }],
    ["NO_HANDLER", "nobody", {}],
    ["COLOUR", "refused", {}],
    ["PEER_DOWN", "end", {}],
  ])(
    "that fails later with %s has the function that awaits it at the top of its stack",
    async (code, topic, options) => {
      const { first, second } = await pair();
      neverAnswer(second, "never");
      second.onRequest("refused", () => {
        throw Object.assign(new Error("not blue"), { code: "COLOUR" });
      });
      second.onRequest("end", async () => {
        await second.leave();
      });
      const placeOrder = async (): Promise<unknown> => await first.request(addressOf(second), topic, 1, options);
      const error = await placeOrder().catch((failure: unknown) => failure as FullmeshError);
      const { stack = "" } = error as FullmeshError;
      const [top] = stack.match(/^ +at .*$/gm)?.filter((frame) => !frame.includes("node:internal")) ?? [];
      expect([codeOf(error), top]).toEqual([code, expect.stringMatching(/at (async )?placeOrder .*requests\.test/)]);
      const [outcome] = await first.requestAll(topic, 1, options).catch(() => []);
      if (outcome !== undefined && "error" in outcome) expect(outcome.error.stack).toMatch(/requests\.test/);
    },
  );

  it("fails with PEER_DOWN when the peer leaves, and the peer's own with ENDED", async () => {
    const { first, second } = await pair();
    neverAnswer(first, "slow");
    const inquiries = neverAnswer(second, "slow");
    const asked = first.request(addressOf(second), "slow", undefined, { timeoutMs: Number.POSITIVE_INFINITY });
    const inquiry = await inquiries.nth(1, () => true);
    const theirs = second.request(addressOf(first), "slow");
    const failures = [failureOf(asked), failureOf(theirs), abandoned(inquiry)];
    await second.leave();
    expect(await Promise.all(failures)).toEqual(["PEER_DOWN", "ENDED", "ABORTED"]);
    expect(await failureOf(second.request(addressOf(first), "slow"))).toBe("ENDED");
    expect(await failureOf(second.requestAll("slow"))).toBe("ENDED");
  });

  it("fails with PEER_DOWN when the peer's process is killed", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    const node = await join(String(server.address));
    onTestFinished(() => node.leave());
    const member = unansweringMember(String(server.address));
    const address = await member.line((line) => line.includes(":"), "its address");
    const asked = failureOf(node.request(address, "forever"));
    const stream = node.openStream(address, "deaf");
    const failed = once(stream, "error");
    stream.write("hello");
    member.kill("SIGKILL");
    expect(await asked).toBe("PEER_DOWN");
    expect(codeOf((await failed)[0])).toBe("PEER_DOWN");
  });

  it("beyond those that may be under way fails with QUEUE_FULL, and beyond those in work with OVERLOADED", async () => {
    const limits = { requestsInFlight: 3, requestsServed: 2 };
    const { first, second } = await pair({ limits });
    neverAnswer(second, "slow");
    const failures = Array.from({ length: 4 }, () =>
      failureOf(first.request(addressOf(second), "slow", undefined, { timeoutMs: 200 })),
    );
    expect(await Promise.all(failures)).toEqual(["TIMED_OUT", "TIMED_OUT", "OVERLOADED", "QUEUE_FULL"]);
  });

  it("that nobody waits for any more counts as in work until its handler is through with it", async () => {
    const { first, second } = await pair({ limits: { requestsServed: 1 } });
    const inquiries = new Recorder<RequestContext>();
    const finishes: (() => void)[] = [];
    second.onRequest("stubborn", (_payload, inquiry) => {
      inquiries.add(inquiry);
      return new Promise<void>((resolve, reject) => {
        finishes.push(finishes.length === 0 ? resolve : () => reject(new Error("no")));
      });
    });
    const ask = async (): Promise<void> => {
      const controller = new AbortController();
      const asked = failureOf(first.request(addressOf(second), "stubborn", "x", { signal: controller.signal }));
      const inquiry = await inquiries.nth(finishes.length + 1, () => true);
      controller.abort();
      await Promise.all([asked, abandoned(inquiry)]);
      expect(await failureOf(first.request(addressOf(second), "stubborn", "x"))).toBe("OVERLOADED");
    };
    await ask();
    finishes[0]?.();
    await ask();
    finishes[1]?.();
    second.onRequest("ping", () => "pong");
    expect(await first.request(addressOf(second), "ping")).toBe("pong");
  });

  it("is refused with a code for what is no request, as a rejection and not as an exception", async () => {
    const { first, second } = await pair();
    const to = addressOf(second);
    const { request } = { request: (...args: unknown[]) => first.request(...(args as [string, string])) };
    expect(await failureOf(request("127.0.0.1:1", "x"))).toBe("UNKNOWN_PEER");
    expect(await failureOf(request(undefined, "x"))).toBe("BAD_OPTION");
    expect(await failureOf(request(to, 7))).toBe("BAD_OPTION");
    expect(await failureOf(request(to, "x", () => {}))).toBe("BAD_VALUE");
    expect(await failureOf(request(to, "x", new Uint8Array(2 ** 20)))).toBe("MESSAGE_TOO_LARGE");
    for (const options of [{ timeoutMs: -1 }, { timeoutMs: Number.NaN }, { timeOutMs: 1 }, { signal: 7 }]) {
      expect(await failureOf(request(to, "x", undefined, options))).toBe("BAD_OPTION");
    }
    second.onRequest("x", () => "y");
    expect(outcomeOf(() => second.onRequest("x", () => "z"))).toBe("WRONG_STEP");
    expect(outcomeOf(() => second.onRequest("y", 7 as unknown as () => void))).toBe("BAD_OPTION");
    expect(outcomeOf(() => second.onRequest("a".repeat(256), () => "z"))).toBe("BAD_OPTION");
  });
});

/** The replies, or the codes of the errors, of several peers. */
function briefly(outcomes: readonly RequestOutcome[]): unknown[] {
  return outcomes.map((outcome) => ("error" in outcome ? outcome.error.code : outcome.reply));
}

describe("a request to all peers", () => {
  it("comes back with a reply or an error of each, in the order of joining, and CLASSIC_PEER of a classic one", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    const nodes: MeshNode[] = [];
    for (const dialect of ["native", "native", "native", "classic"] as const) {
      const node = await join(String(server.address), { dialect });
      onTestFinished(() => node.leave());
      nodes.push(node);
    }
    await Promise.all(nodes.map((node) => node.complete({ size: 4 })));
    const [first, second, third, fourth] = nodes;
    if (first === undefined) throw new Error("there is no first");
    second?.onRequest("twice", (payload) => [payload, payload]);
    neverAnswer(third as MeshNode, "twice");
    const outcomes = await first.requestAll("twice", "x", { timeoutMs: 50 });
    expect(outcomes.map(({ peer }) => peer.address)).toEqual([second?.address, third?.address, fourth?.address]);
    expect(briefly(outcomes)).toEqual([["x", "x"], "TIMED_OUT", "CLASSIC_PEER"]);
    const signal = AbortSignal.abort();
    expect(briefly(await first.requestAll("twice", "x", { signal }))).toEqual(["ABORTED", "ABORTED", "CLASSIC_PEER"]);
    expect(await failureOf(first.requestAll("twice", Symbol("x")))).toBe("BAD_VALUE");
    // A classic node has nobody to ask.
    expect(briefly((await fourth?.requestAll("twice")) ?? [])).toEqual(Array(3).fill("CLASSIC_PEER"));
  });

  it("settles when the peers that are asked go down, and asks nobody where nobody is", async () => {
    const { first, second } = await pair();
    const inquiries = neverAnswer(second, "slow");
    const asked = first.requestAll("slow");
    await inquiries.nth(1, () => true);
    await second.leave();
    expect(briefly(await asked)).toEqual(["PEER_DOWN"]);
    // The link may end before the directory says so.
    while (first.peers.length > 0) await once(first, "directory");
    expect(await first.requestAll("slow")).toEqual([]);
  });
});

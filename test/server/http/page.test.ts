import axe from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { join } from "../../../src/node/join.js";
import { MeshNode } from "../../../src/node/mesh-node.js";
import { type ListeningServer, serve } from "../../../src/server/rendezvous-server.js";
import { eventOf, fullmesh } from "../../cli/command-line.js";
import { type CuttingProxy, proxyBefore } from "../../support/proxy.js";
import { splitAddress } from "../../support/sockets.js";
import { findTool, requireTool } from "../../support/tools.js";

let browser: Browser | undefined;

beforeAll(async () => {
  const executablePath = findTool("chromium");
  if (executablePath === undefined) return;
  // As root, which CI is, Chromium has no sandbox.
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
afterAll(async () => {
  await browser?.close();
});

async function shownServer(): Promise<ListeningServer> {
  const server = await serve({ listen: "127.0.0.1:0", http: "127.0.0.1:0", logger: false });
  onTestFinished(() => server.close());
  return server;
}

async function member(server: ListeningServer, name: string): Promise<MeshNode> {
  const node = await join(server.address, { logger: false, name });
  onTestFinished(() => node.leave());
  return node;
}

/** A member that the others reach through a proxy. */
async function memberBehindProxy(server: ListeningServer, name: string): Promise<CuttingProxy> {
  let port = 0;
  const proxy = await proxyBefore(() => port);
  const node = new MeshNode({ advertise: proxy.address, logger: false, name });
  onTestFinished(() => node.leave());
  await node.connectToServer(server.address);
  await node.initListeningSocket("127.0.0.1", 0);
  port = splitAddress(await node.sockListen()).port;
  await node.registerWithServer();
  return proxy;
}

/** A tab with the page, which fails the test if the page logs an error or asks for anything elsewhere. */
async function tab(context: TestContext, server: ListeningServer, within?: BrowserContext): Promise<Page> {
  requireTool(context, "chromium");
  const page = await (within ?? (browser as Browser)).newPage();
  const faults: string[] = [];
  page.on("pageerror", ({ message }) => faults.push(message));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`http://${server.httpAddress}/`) && !request.url().startsWith("data:")) {
      faults.push(`asks for ${request.url()}`);
    }
  });
  onTestFinished(async () => {
    await page.close();
    expect(faults).toEqual([]);
  });
  await page.goto(`http://${server.httpAddress}/`);
  return page;
}

/** Resolves when this part of the page contains the text. */
async function shows(page: Page, selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 20_000 });
}

/** Moves the pointer over the picture until it is over a pair. */
async function pointAtPair(page: Page): Promise<void> {
  const box = await page.locator("#canvas").boundingBox();
  if (box === null) throw new Error("there is no picture");
  for (let y = 0.02; y < 1; y += 0.02) {
    for (let x = 0.02; x < 1; x += 0.02) {
      await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
      if ((await page.locator("#selected-title").textContent())?.includes(" and ") === true) return;
    }
  }
  throw new Error("there is no pair in the picture");
}

/** Runs in the page: what axe finds there. */
const complaints = `axe.run().then(({ violations }) =>
  violations.map(({ id, impact, nodes }) => [impact, id, ...nodes.map(({ html }) => html)].join(" ")))`;

/** Runs in the page: how often it has drawn once nothing lights up any more, 120 frames later, and after the pointer has moved. */
const countedDrawings = `(async () => {
  let count = 0;
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...area) {
    count += 1;
    clear.apply(this, area);
  };
  const frames = async (most) => {
    for (let frame = 0; frame < most; frame += 1) await new Promise(requestAnimationFrame);
  };
  for (let before = -1; before !== count; ) {
    before = count;
    await frames(30);
  }
  const counts = [count];
  await frames(120);
  counts.push(count);
  document.querySelector("canvas").dispatchEvent(new PointerEvent("pointermove", { clientX: 100, clientY: 100 }));
  await frames(3);
  return [...counts, count];
})()`;

describe("the page in Chromium", () => {
  it("shows a join, a link, a member that leaves, and one that is killed, with its reason", async (context) => {
    const server = await shownServer();
    await member(server, "one");
    const page = await tab(context, server);
    await shows(page, "#members", "one");
    const two = await member(server, "two");
    await shows(page, "#members", "two");
    await shows(page, "#state", "complete");
    await shows(page, "#story", "one and two are linked");
    await two.leave();
    await shows(page, "#story", "two has left");
    const three = fullmesh(["join", server.address, "--json", "--name", "three"]);
    await eventOf(three, "registered");
    await shows(page, "#members", "three");
    three.kill("SIGKILL");
    await shows(page, "#story", "three was lost");
    await shows(page, "#story", "ECONNREFUSED");
  });

  it("shows a pair that is cut, with who should dial and why not, and that it is linked again", async (context) => {
    const server = await shownServer();
    const page = await tab(context, server);
    await shows(page, "#counts", "0 members");
    const proxies = [await memberBehindProxy(server, "one"), await memberBehindProxy(server, "two")];
    await shows(page, "#state", "complete");
    for (const proxy of proxies) {
      proxy.isShut = true;
      proxy.cut();
    }
    await shows(page, "#state", "not complete");
    await shows(page, "#missing", "one should dial two");
    await shows(page, "#missing", "attempt");
    for (const proxy of proxies) proxy.isShut = false;
    await shows(page, "#state", "complete");
    await shows(page, "#counts", "2 members, 1 of 1 links");
  });

  it("says of the pair that is pointed at what both ends have said, their round trip, and after a cut who has said what", async (context) => {
    const server = await shownServer();
    const page = await tab(context, server);
    const asked: string[] = [];
    page.on("request", (request) => {
      if (request.url().includes("/pair.json")) asked.push(request.url());
    });
    const proxies = [await memberBehindProxy(server, "one"), await memberBehindProxy(server, "two")];
    await shows(page, "#state", "complete");
    expect(asked).toEqual([]);
    await pointAtPair(page);
    await shows(page, "#selected-title", "one and two");
    for (const name of ["one", "two"]) {
      await shows(
        page,
        "#selected p",
        new RegExp(`^${name} said \\d+ s ago: up, attempt \\d+; round trip [\\d.]+ ms, 0 bytes queued`),
      );
    }
    for (const proxy of proxies) {
      proxy.isShut = true;
      proxy.cut();
    }
    await shows(page, "#selected p", /^one said \d+ s ago: (dialing|refused|hello|broken), attempt \d+: ./);
    await shows(page, "#selected p", /^two said \d+ s ago: (dialing|broken), attempt \d+: ./);
    await page.mouse.move(0, 0);
    await shows(page, "#selected-title", "Point at a member");
    const before = asked.length;
    for (const proxy of proxies) proxy.isShut = false;
    await shows(page, "#state", "complete");
    expect(asked.length - before).toBeLessThanOrEqual(1);
  });

  it("has nothing to complain of for those who read it with other means", async (context) => {
    const server = await shownServer();
    await member(server, "one");
    await member(server, "two");
    const page = await tab(context, server);
    await shows(page, "#state", "complete");
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(axe.source);
      expect(await page.evaluate(complaints)).toEqual([]);
    }
  });

  it("draws nothing while nothing happens", async (context) => {
    const server = await shownServer();
    await member(server, "one");
    await member(server, "two");
    const page = await tab(context, server);
    await shows(page, "#state", "complete");
    await shows(page, "#members", "two");
    const drawings = (await page.evaluate(countedDrawings)) as readonly [number, number, number];
    const [atRest, later, pointedAt] = drawings;
    expect(later).toBe(atRest);
    expect(pointedAt).toBe(later + 1);
  });

  it("goes back step by step, plays what has happened, and follows again", async (context) => {
    const server = await shownServer();
    const page = await tab(context, server);
    await shows(page, "#counts", "0 members");
    await member(server, "one");
    await member(server, "two");
    await shows(page, "#state", "complete");
    const first = page.locator("#position");
    await first.focus();
    await page.keyboard.press("Home");
    await shows(page, "#counts", "0 members");
    // The first step may be that the server counts one connection more.
    while ((await page.locator("#counts").textContent())?.startsWith("0 members") === true) {
      await page.locator("#forward").click();
    }
    await page.locator("#play").click();
    await shows(page, "#counts", "2 members, 1 of 1 links");
    await page.locator("#live").click();
    await shows(page, "#live[aria-pressed=true]", "Live");
  });

  it("tells of a member by its button, and by the keyboard on the picture", async (context) => {
    const server = await shownServer();
    await member(server, "one");
    await member(server, "two");
    const page = await tab(context, server);
    await shows(page, "#state", "complete");
    await page.locator("#members button", { hasText: "two" }).click();
    await shows(page, "#selected-title", "two");
    await shows(page, "#selected", "linked with all others");
    await page.locator("#canvas").focus();
    await page.keyboard.press("ArrowRight");
    await shows(page, "#selected-title", "one");
    await page.keyboard.press("Escape");
    await shows(page, "#selected-title", "Point at a member");
  });

  it("shows names as text, whatever is in them", async (context) => {
    const server = await shownServer();
    await member(server, "<img src=x onerror=alert(1)>");
    await member(server, "abc\u202egnp.exe");
    const page = await tab(context, server);
    await shows(page, "#members", "<img src=x onerror=alert(1)>");
    await shows(page, "#members", "abc\ufffdgnp.exe");
    expect(await page.locator("img").count()).toBe(0);
  });

  it("reads one stream of events for two tabs, and the other one reads when the first is closed", async (context) => {
    requireTool(context, "chromium");
    const server = await shownServer();
    const together = await (browser as Browser).newContext();
    onTestFinished(() => together.close());
    const streams: Page[] = [];
    together.on("request", (request) => {
      if (request.url().includes("/events")) streams.push(request.frame().page());
    });
    const first = await tab(context, server, together);
    await shows(first, "#counts", "0 members");
    const second = await tab(context, server, together);
    await member(server, "one");
    await shows(first, "#members", "one");
    await shows(second, "#members", "one");
    expect(streams).toEqual([first]);
    await first.close();
    await member(server, "two");
    await shows(second, "#members", "two");
    expect(streams).toEqual([first, second]);
  });
});
